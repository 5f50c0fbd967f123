"""The store on disk: what is built, listed, verified, pruned."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zoo import parts
from zoo.errors import BadInput, Damaged, DiskFull, ReadOnly, StoreError
from zoo.home import home
from zoo.store import Store, default_store

ONE, TWO = b"one" * 1000, b"two" * 1000


@pytest.fixture
def filled(host, store, make_file):
    """Two models: they share a blob, and the second has one of its own."""
    shared, own = make_file(ONE, host.put("/one", ONE)), make_file(TWO, host.put("/two", TWO), path="tokenizer.json")
    store.fetch(shared, name="first:v1")
    store.fetch(shared, name="second:v1")
    store.fetch(own, name="second:v1")
    return store, shared.digest, own.digest


def test_default_store_is_where_the_variables_say(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("ZOO_SHARED", os.pathsep.join([str(tmp_path / "b"), str(tmp_path / "c"), ""]))
    assert default_store().roots == (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.delenv("ZOO_SHARED")
    assert default_store().roots == (home(),)


def test_nothing_is_created_before_something_is_written(tmp_path):
    store = Store(tmp_path / "home")
    digest = f"sha256:{'0' * 64}"
    assert store.blob(digest) is None
    assert store.built("key") is None
    assert (store.list(), store.verify(), store.prune(), store.remove("x"), store.size().total) == ([], [], [], [], 0)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 64])
def test_what_is_no_digest_is_no_path(store, digest):
    with pytest.raises(BadInput, match="is no digest"):
        store.blob(digest)


def test_list_and_size_say_what_is_stored(filled):
    store, shared, own = filled
    assert [(one.name, [file.digest for file in one.files], one.size_bytes) for one in store.list()] == [
        ("first:v1", [shared], 3000),
        ("second:v1", [own, shared], 6000),
    ]
    assert store.size().blobs == 6000
    assert store.size().total == 6000


def test_remove_leaves_what_another_model_uses(filled):
    store, shared, own = filled
    assert store.remove("second", dry_run=True) == [store.blob_path(own)]
    assert store.blob(own) is not None
    assert store.remove("second") == [store.blob_path(own)]
    assert store.blob(own) is None
    assert store.blob(shared) is not None
    assert [one.name for one in store.list()] == ["first:v1"]
    assert store.remove("first:v1") == [store.blob_path(shared)]
    assert store.remove("first:v1") == []


def test_a_name_is_no_prefix_of_another(filled):
    store, _, _ = filled
    assert store.remove("fir") == []
    assert store.remove("first:v") == []


def test_verify_names_a_damaged_blob_and_its_models(filled, told):
    store, shared, _ = filled
    assert store.verify(told) == []
    assert told.bytes == 6000
    path = store.blob_path(shared)
    path.chmod(0o644)
    path.write_bytes(ONE[:-1] + b"!")
    (damage,) = store.verify()
    assert (damage.path, damage.digest, damage.names) == (path, shared, ("first:v1", "second:v1"))
    assert damage.found.startswith("sha256:")
    assert path.exists()


def test_a_ref_that_is_no_record_is_named(filled):
    store, _, _ = filled
    ref = next(store.refs.glob("*.json"))
    ref.write_text("{")
    with pytest.raises(Damaged, match=ref.name):
        store.list()


def test_prune_takes_what_nobody_uses(filled, tmp_path):
    store, shared, own = filled
    store.remove("first")
    for ref in store.refs.glob("*.json"):
        if own in ref.read_text():
            ref.unlink()
    assert store.prune(keep=[own], dry_run=True) == []
    assert store.prune(dry_run=True) == [store.blob_path(own)]
    assert store.blob(own) is not None
    assert store.prune() == [store.blob_path(own)]
    assert store.blob(own) is None
    assert store.blob(shared) is not None


def test_prune_takes_abandoned_parts_and_leaves_those_in_use(store):
    store.parts.mkdir(parents=True)
    mine, left = parts.new(store.parts, "a" * 64), parts.new(store.parts, "b" * 64)
    left.release()
    old = store.parts / ".0123.tmp"
    old.write_text("")
    os.utime(old, (time.time() - 2 * parts.STALE_S,) * 2)
    (store.parts / ".4567.tmp").write_text("")
    assert sorted(store.prune()) == sorted([left.folder, old])
    assert mine.folder.is_dir()
    mine.discard()


def test_prune_takes_old_builds(store):
    for key in ("old", "new", "kept"):
        with store.build(key) as folder:
            (folder / "model.onnx").write_bytes(b"x")
    for key in ("old", "kept"):
        os.utime(store.root / "built" / key, (time.time() - 40 * 86400,) * 2)
    assert store.prune(keep=["kept"]) == [store.root / "built" / "old"]
    assert store.built("old") is None
    assert store.built("new") is not None


def test_a_build_is_there_whole(store):
    with store.build("key-1.0") as folder:
        (folder / "sub").mkdir()
        (folder / "sub/model.onnx").write_bytes(b"model")
        assert store.built("key-1.0") is None
    assert (store.built("key-1.0") / "sub/model.onnx").read_bytes() == b"model"
    assert list(store.parts.iterdir()) == []


def test_a_failed_build_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.build("key") as folder:
        (folder / "half").write_bytes(b"half")
        1 / 0  # noqa: B018
    assert store.built("key") is None
    assert list(store.parts.iterdir()) == []


def test_the_loser_of_a_race_uses_what_the_winner_built(store):
    with store.build("key") as slow:
        (slow / "by").write_text("slow")
        with store.build("key") as fast:
            (fast / "by").write_text("fast")
    assert (store.built("key") / "by").read_text() == "fast"
    assert list(store.parts.iterdir()) == []


def test_what_a_shared_store_built_is_used(store, tmp_path):
    with store.build("key") as folder:
        (folder / "x").write_text("x")
    assert Store(tmp_path / "mine", [store.root]).built("key") == store.root / "built/key"


@pytest.mark.parametrize("key", ["", "../x", ".hidden", "a/b", "x" * 300])
def test_what_is_no_key_is_no_path(store, key):
    with pytest.raises(BadInput, match="is no key"):
        store.built(key)
    with pytest.raises(BadInput, match="is no key"), store.build(key):
        pass


def test_a_build_on_a_full_disk_is_one_error_and_leaves_nothing(small_disk):
    store = Store(small_disk(64 * 1024) / "home")
    with pytest.raises(DiskFull, match="no room left"), store.build("key") as folder:
        (folder / "large").write_bytes(b"x" * 128 * 1024)
    assert store.built("key") is None
    assert list(store.parts.iterdir()) == []
    with pytest.raises(FileNotFoundError), store.build("key") as folder:
        (folder / "nowhere" / "file").write_bytes(b"")


def test_a_build_in_a_read_only_home_is_one_error(small_disk):
    disk = small_disk(64 * 1024)
    small_disk.lock(disk)
    with pytest.raises(ReadOnly, match="Read-only file system"), Store(disk / "home").build("key"):
        pass


def test_a_home_that_cannot_be_is_one_error(tmp_path):
    with pytest.raises(StoreError), Store(Path("/proc/nowhere")).build("key"):
        pass


def test_a_part_of_a_living_owner_is_not_taken(tmp_path):
    mine = parts.new(tmp_path, "key")
    assert parts.claim(tmp_path, "key") is None
    mine.bytes.write_bytes(b"12345")
    assert parts.growth(tmp_path, "key") == 5
    mine.release()
    other = parts.claim(tmp_path, "key")
    assert other is not None
    assert other.bytes.read_bytes() == b"12345"
    assert not mine.folder.exists()
    assert parts.claim(tmp_path, "key") is None
    assert parts.claim(tmp_path, "another") is None


def test_the_largest_abandoned_part_is_taken(tmp_path):
    for n in (3, 7, 5):
        part = parts.new(tmp_path, "key")
        part.bytes.write_bytes(b"x" * n)
        part.release()
    taken = parts.claim(tmp_path, "key")
    assert taken is not None
    assert taken.bytes.stat().st_size == 7


def test_a_part_of_another_machine_is_taken_when_it_is_old(tmp_path):
    part = parts.new(tmp_path, "key")
    part.bytes.write_bytes(b"123")
    part.release()
    foreign = part.folder.rename(tmp_path / "key.other0machine.abcdef")
    assert parts.claim(tmp_path, "key") is None
    for path in (foreign, *foreign.iterdir()):
        os.utime(path, (time.time() - 2 * parts.STALE_S,) * 2)
    taken = parts.claim(tmp_path, "key")
    assert taken is not None
    assert taken.bytes.read_bytes() == b"123"
