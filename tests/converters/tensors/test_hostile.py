"""Files made to harm: each ends in one clean error that says what and where, within a second and 200 MB."""

from __future__ import annotations

import re
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
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def read_and_expect(path: Path, content: bytes, expected: str) -> FileError:
    """The clean error that a file of that content gives, in bounded time and memory."""
    path.write_bytes(content)
    before, start = forget_peak(), time.process_time()
    with pytest.raises(FileError) as caught:
        tensors.read(path)
    assert time.process_time() - start < MAX_SECONDS
    assert peak_bytes() - before < MAX_BYTES
    message = str(caught.value)
    assert re.search(expected, message), message
    assert path.name in message
    assert len(message) < 1_000
    assert "\n" not in message
    return caught.value


def peak_bytes() -> int:
    """The most memory that this process has had; 0 where the system doesn't tell."""
    if not STATUS.exists():
        return 0
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))


def forget_peak() -> int:
    """Begin the peak anew from what the process has now, and say how much that is."""
    if CLEAR.exists():
        CLEAR.write_text("5")  # proc(5)
    return peak_bytes()


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


def test_nothing_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_package.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    stream = b"\x80\x02}X\x05\x00\x00\x00modelcevil_package\nNet\n)\x81s."
    read_and_expect(tmp_path / "x.pth", archives.zipped({"x/data.pkl": stream}), "no tensors")
    assert "evil_package" not in sys.modules


def test_an_unknown_file_is_said_to_be_one(tmp_path: Path) -> None:
    read_and_expect(tmp_path / "x.pth", b"hello, this is text", "not a model or weights file of a format that is known")
    read_and_expect(tmp_path / "empty.pth", b"", "not a model or weights file")
    read_and_expect(tmp_path / "other.zip", archives.zipped({"a.txt": b"a"}), "not a model or weights file")


def test_a_torchscript_archive_is_refused_as_a_program(tmp_path: Path) -> None:
    content = archives.zipped({"x/data.pkl": archives.EMPTY_PICKLE, "x/code/__torch__.py": b"import os"})
    error = read_and_expect(tmp_path / "x.pt", content, "TorchScript")
    assert isinstance(error, Refused)


def test_malformed_and_refused_are_apart(tmp_path: Path) -> None:
    cut = archives.zipped({"x/data.pkl": b"\x80\x02}q\x00("})
    assert isinstance(read_and_expect(tmp_path / "x.pth", cut, "ends inside"), Malformed)
