"""zoo.lock: what a project uses, and that later fetches are held to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from zoo import lock
from zoo.entry import ModelEntry, Weights
from zoo.errors import BadInput, DigestMismatch, Malformed, ReadOnly

DATA, OTHER = b"weights" * 1000, b"changed" * 1000
NAME = "toy:v1"


@pytest.fixture
def item(host, make_file):
    """An entry with one file that its catalog pins wholly and one that it pins by eight digits."""
    whole = make_file(DATA, host.put("/a.bin", DATA))
    digits = hashlib.sha256(OTHER).hexdigest()[:8]
    weak = make_file(
        OTHER, host.put("/b.bin", OTHER), path="b.bin", digest=None, size_bytes=None, published=f"sha256-8:{digits}"
    )
    weights = Weights("v1", "us", {"weights": (whole,), "tokenizer": (weak,)})
    return ModelEntry("toy", "Toy", "image-classification", "us/toy", {"v1": weights}), weights


def test_a_lock_says_digest_size_and_sources_of_every_file(host, store, item, tmp_path):
    path = lock.write([item], store)
    assert path == tmp_path / "here/zoo.lock"
    assert lock.read(path) == {
        NAME: {
            "weights.bin": lock.Locked(f"sha256:{hashlib.sha256(DATA).hexdigest()}", 7000, (host.url("/a.bin"),)),
            "b.bin": lock.Locked(f"sha256:{hashlib.sha256(OTHER).hexdigest()}", 7000, (host.url("/b.bin"),)),
        }
    }
    assert [one.path for one in host.seen] == ["/b.bin"]  # only what the catalog does not pin wholly
    assert path.read_bytes() == lock.write([item], store).read_bytes()


def test_other_models_stay_in_the_lock(store, item):
    entry, weights = item
    lock.write([item], store)
    path = lock.write([(replace(entry, name="second"), weights)], store)
    assert list(lock.read(path)) == ["second:v1", NAME]


def test_a_fetch_is_held_to_the_lock_from_any_folder_below(store, item, host, monkeypatch, make_file):
    lock.write([item], store)
    Path("sub/sub").mkdir(parents=True)
    monkeypatch.chdir("sub/sub")
    changed = make_file(OTHER, host.url("/b.bin"))
    with pytest.raises(DigestMismatch) as caught:
        store.fetch(changed, name=NAME)
    assert "zoo.lock and the catalog differ over weights.bin" in caught.value.message
    assert caught.value.hint == f"`zoo lock {NAME}` takes the catalog's."
    assert store.fetch(changed, name="another:v1").read_bytes() == OTHER
    monkeypatch.setenv("ZOO_LOCK", "/nowhere/zoo.lock")
    with pytest.raises(BadInput, match=r"/nowhere/zoo.lock: the lock file cannot be read"):
        store.fetch(changed, name=NAME)


def test_locking_again_takes_the_catalogs(store, item, host, make_file):
    entry, weights = item
    lock.write([item], store)
    changed = replace(weights, files={"weights": (make_file(OTHER, host.url("/b.bin"), size_bytes=None),)})
    path = lock.write([(entry, changed)], store)
    assert lock.read(path)[NAME]["weights.bin"].digest == f"sha256:{hashlib.sha256(OTHER).hexdigest()}"
    assert list(lock.read(path)[NAME]) == ["weights.bin"]


def test_a_lock_pins_what_the_catalog_does_not_and_lends_its_sources(store, item, host, make_file):
    lock.write([item], store)
    bare = make_file(DATA, "file:/gone", digest=None, size_bytes=None)
    held = store.pinned(bare, NAME)
    assert (held.digest, held.size_bytes) == (f"sha256:{hashlib.sha256(DATA).hexdigest()}", 7000)
    assert held.sources == ("file:/gone", host.url("/a.bin"))
    assert store.fetch(bare, name=NAME).read_bytes() == DATA


def test_a_lock_that_is_not_what_the_author_publishes_is_refused(store, item, make_file):
    lock.write([item], store)
    with pytest.raises(DigestMismatch, match="sha256-8:00000000"):
        store.pinned(make_file(DATA, published="sha256-8:00000000"), NAME)


def test_a_source_with_a_secret_stays_out_of_the_lock(store, item, make_file):
    entry, _ = item
    sources = ("https://me:hunter2@host/a", "https://host/a?token=hunter2", "https://host/a")
    weights = Weights("v1", "us", {"weights": (make_file(DATA, *sources),)})
    path = lock.write([(entry, weights)], store)
    assert lock.read(path)[NAME]["weights.bin"].sources == ("https://host/a",)
    assert "hunter2" not in path.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("<<<<<<< HEAD", "not JSON"),
        ("[]", "not a lock file of version 1"),
        ('{"version": 2, "models": {}}', "not a lock file of version 1"),
        ('{"version": 1, "models": {"toy:v1": 7}}', "model 'toy:v1': its files are not a table"),
        ('{"version": 1, "models": {"toy:v1": {"a": {"digest": "sha256:0"}}}}', "file 'a': its digest is not"),
        (json.dumps({"version": 1, "models": {"t": {"a": {"digest": f"sha256:{'0' * 64}"}}}}), "its size_bytes is not"),
    ],
)
def test_a_lock_that_is_none_is_one_error(store, make_file, text, words):
    Path("zoo.lock").write_text(text)
    with pytest.raises(Malformed, match=words) as caught:
        store.fetch(make_file(DATA), name=NAME)
    assert "zoo.lock" in caught.value.message


def test_a_lock_in_a_read_only_folder_is_one_error(store, item, small_disk):
    disk = small_disk(64 * 1024)
    small_disk.lock(disk)
    with pytest.raises(ReadOnly, match=r"zoo.lock cannot be written"):
        lock.write([item], store, disk / "zoo.lock")
