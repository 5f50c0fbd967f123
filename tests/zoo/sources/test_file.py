"""Files of this machine."""

from __future__ import annotations

import os

import pytest

from zoo.errors import FetchError, NotFound
from zoo.sources import file

DATA = bytes(range(256)) * 8192


def read(url: str, path: str = "a.bin", **how: object) -> bytes:
    with file.stream(url, path=path, **how) as stream:
        return b"".join(stream.chunks)


@pytest.mark.parametrize(
    "form", ["file:{}/a b.bin", "file://{}/a%20b.bin", "file://localhost{}/a%20b.bin", "file:{}/mirror/"]
)
def test_forms(tmp_path, form):
    (tmp_path / "a b.bin").write_bytes(DATA)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/a.bin").write_bytes(DATA)
    assert read(form.format(tmp_path)) == DATA


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.bin").write_bytes(DATA)
    assert read("file:~/a.bin") == DATA


def test_the_rest_of_a_file_and_a_changed_one_from_its_beginning(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    with file.stream(f"file:{path}", path="") as stream:
        version = stream.validator
    assert read(f"file:{path}", offset=1000) == DATA[1000:]
    assert read(f"file:{path}", offset=1000, validator=version) == DATA[1000:]
    assert read(f"file:{path}", offset=1000, validator="other") == DATA
    assert read(f"file:{path}", offset=len(DATA) + 1) == DATA


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(NotFound, match="does not exist"):
        read(f"file:{tmp_path}/none")
    with pytest.raises(NotFound, match=r"empty/a.bin does not exist"):
        (tmp_path / "empty").mkdir()
        read(f"file:{tmp_path}/empty")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(NotFound, match="not a regular file"):
            read(f"file:{path}")
    with pytest.raises(FetchError, match="cannot be read"):
        read(f"file:{tmp_path}/{'x' * 5000}")
