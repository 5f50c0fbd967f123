"""Files made to harm: each ends in one clean error that says what and where, within a second and 200 MB."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile import archives, jsons, pickles
from zoo.converters import tensors
from zoo.errors import FileError, Malformed, Refused

LEGACY_PREFIX = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."  # torch's magic number and version
)
MAX_SECONDS = 5.0  # one on a machine of one's own
MAX_BYTES = 200 << 20


def read_and_expect(path: Path, content: bytes, expected: str) -> FileError:
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(FileError) as caught:
        tensors.read(path)
    assert time.process_time() - start < MAX_SECONDS
    message = str(caught.value)
    assert re.search(expected, message), message
    assert path.name in message
    assert len(message) < 2_000
    assert "\n" not in message
    return caught.value


@pytest.mark.parametrize(("stream", "expected"), [c[1:] for c in pickles.every()], ids=[c[0] for c in pickles.every()])
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_hostile_pickle_is_refused_in_either_container(
    tmp_path: Path, container: str, stream: bytes, expected: str
) -> None:
    keys = b"\x80\x02]." if stream.endswith(b".") else b""  # no storages follow
    legacy = LEGACY_PREFIX + stream + keys
    read_and_expect(
        tmp_path / "x.pth", archives.zipped({"x/data.pkl": stream}) if container == "zip" else legacy, expected
    )


@pytest.mark.parametrize(
    ("content", "expected"), [c[1:] for c in archives.every()], ids=[c[0] for c in archives.every()]
)
def test_a_zip_archive_that_lies_is_an_error(tmp_path: Path, content: bytes, expected: str) -> None:
    read_and_expect(tmp_path / "x.pth", content, expected)


@pytest.mark.parametrize(("header", "expected"), jsons.safetensors(), ids=str)
def test_a_safetensors_header_that_lies_is_an_error(tmp_path: Path, header: bytes, expected: str) -> None:
    read_and_expect(tmp_path / "x.safetensors", header, expected)


def test_what_is_refused_is_named_with_its_place_in_the_file(tmp_path: Path) -> None:
    content = archives.zipped({"x/data.pkl": pickles.call("os", "system")})
    error = read_and_expect(
        tmp_path / "x.pth", content, "refused: torch pickle: 'os.system' is not part of a state_dict"
    )
    assert isinstance(error, Refused)
    assert content[error.offset : error.offset + 10] == b"cos\nsystem"


def test_nothing_is_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    command = f"touch {marker}".encode()
    argument = b"X" + len(command).to_bytes(4, "little") + command
    content = archives.zipped({"x/data.pkl": pickles.call("os", "system", argument)})
    read_and_expect(tmp_path / "x.pth", content, "not part of a state_dict")
    assert not marker.exists()


def test_nothing_that_a_file_names_is_imported(tmp_path: Path) -> None:
    (tmp_path / "evil_package.py").write_text("raise SystemExit('imported')")
    stream = b"\x80\x02}X\x05\x00\x00\x00modelcevil_package\nNet\n)\x81s."
    path = tmp_path / "x.pth"
    path.write_bytes(archives.zipped({"x/data.pkl": stream}))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from zoo.converters import tensors; from zoo.errors import Refused\n"
        f"try: tensors.read({str(path)!r})\n"
        "except Refused as error: print(error); assert 'evil_package' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no tensors" in done.stdout


def test_an_unknown_file_is_said_to_be_one(tmp_path: Path) -> None:
    read_and_expect(tmp_path / "x.pth", b"hello, this is text", "not a model or weights file of a format that is known")
    read_and_expect(tmp_path / "empty.pth", b"", "not a model or weights file")
    read_and_expect(tmp_path / "other.zip", archives.zipped({"a.txt": b"a"}), "not a model or weights file")


def test_a_torchscript_archive_is_refused_as_a_program(tmp_path: Path) -> None:
    content = archives.zipped({"x/data.pkl": archives.EMPTY_PICKLE, "x/code/__torch__.py": b"import os"})
    error = read_and_expect(tmp_path / "x.pt", content, "TorchScript")
    assert isinstance(error, Refused)


def test_all_of_them_together_stay_within_200_mb(tmp_path: Path) -> None:
    """In a process of its own, whose peak is looked at after each."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.hostile import archives, jsons, pickles
from zoo.converters import tensors
from zoo.errors import FileError
def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
path = Path({str(tmp_path)!r}) / "x"
cases = [(name, archives.zipped({{"x/data.pkl": data}})) for name, data, _ in pickles.every()]
cases += [(name, data) for name, data, _ in archives.every()] + [(e, data) for data, e in jsons.safetensors()]
path.write_bytes(archives.zipped({{"x/data.pkl": archives.EMPTY_PICKLE}}))
tensors.read(path)
open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
before = peak()
for name, data in cases:
    path.write_bytes(data)
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    try: tensors.read(path)
    except FileError: pass
    assert peak() - before < {MAX_BYTES}, (name, peak() - before)
    print(f"{{(peak() - before) >> 20:6}} MB  {{name}}")
"""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process is read from /proc, which ../shared machines have")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_malformed_and_refused_are_apart(tmp_path: Path) -> None:
    cut = archives.zipped({"x/data.pkl": b"\x80\x02}q\x00("})
    assert isinstance(read_and_expect(tmp_path / "x.pth", cut, "ends inside"), Malformed)
