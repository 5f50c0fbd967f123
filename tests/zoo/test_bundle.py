"""Kits for machines without a network."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zoo import schema, yamltree
from zoo.bundle import bundle, excerpt, graphs_of, unbundle
from zoo.entry import License, ModelEntry, Weights, plain
from zoo.errors import BadInput, DigestMismatch, DiskFull, Malformed, NotFound, ReadOnly, Refused, ZooError
from zoo.store import Store

DATA, TOKENIZER = b"weights" * 10_000, b"tokenizer" * 1000
NAME = "toy:v1"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def item(host, make_file):
    """An entry whose weights are pinned wholly and whose tokenizer is pinned by eight digits."""
    whole = make_file(DATA, host.put("/a.bin", DATA))
    weak = make_file(
        TOKENIZER,
        host.put("/t.json", TOKENIZER),
        path="tokenizer.json",
        digest=None,
        size_bytes=None,
        published=f"sha256-8:{digest(TOKENIZER)[7:15]}",
    )
    weights = Weights(
        "v1",
        "us",
        {"weights": (whole,), "tokenizer": (weak,)},
        License("Apache-2.0", stated="repository"),
        metrics={"top1": 75.5},
        input={"image": {"size": (224, 224), "interpolation": "bicubic", "mean": (0.5,), "std": (0.5,)}},
        tested=date(2026, 11, 23),
        aliases=("toy-one",),
    )
    entry = ModelEntry("toy", "Toy", "image-classification", "us/toy", {"v1": weights}, paper="https://arxiv.org/abs/1")
    return entry, weights


@pytest.fixture
def graph(tmp_path):
    path = tmp_path / "toy.onnx.gz"
    path.write_bytes(b"graph" * 100)
    return {"us/toy.onnx.gz": path}


@pytest.fixture
def kit(item, graph, store, tmp_path):
    return bundle([item], store, tmp_path / "kit.tar", graphs=graph)


@pytest.fixture
def far(tmp_path):
    """The store of a machine without a network."""
    return Store(tmp_path / "far")


def test_what_was_bundled_is_served_elsewhere_without_a_request(kit, item, far, no_network):
    brought = unbundle(kit, far)
    assert brought.models == (NAME,)
    for file in (one for files in item[1].files.values() for one in files):
        assert far.fetch(file, name=NAME).read_bytes() in (DATA, TOKENIZER)
    assert [path.read_bytes() for path in brought.graphs] == [b"graph" * 100]
    assert brought.graphs == (far.root / "architectures/us/toy.onnx.gz",)
    assert [stored.name for stored in far.list()] == [NAME]
    assert far.verify() == []
    assert list(far.parts.iterdir()) == []


def test_the_catalog_of_a_kit_is_read_as_any_other(kit, item, far):
    path = unbundle(kit, far).catalog
    assert path is not None
    assert path.parent == far.root / "catalogs"
    entry, weights = item
    (read,) = schema.catalog(yamltree.parse(path.read_bytes(), str(path)), str(path)).entries.values()
    pinned = replace(weights.files["tokenizer"][0], digest=digest(TOKENIZER), size_bytes=len(TOKENIZER))
    expected = replace(weights, files={**weights.files, "tokenizer": (pinned,)})
    assert plain(read) == plain(replace(entry, weights={"v1": expected}, catalog=str(path)))


def test_entries_that_are_known_are_left_to_their_catalog(kit, item, far, store, tmp_path):
    assert unbundle(kit, far, is_known=lambda name: name == "toy").catalog is None
    entry, weights = item
    both = bundle([item, (replace(entry, name="second", aliases=("toy",)), weights)], store, tmp_path / "both.tar")
    path = unbundle(both, far, is_known=lambda name: name in ("toy", "toy-one")).catalog
    assert path is not None
    (read,) = schema.catalog(yamltree.parse(path.read_bytes(), str(path)), str(path)).entries.values()
    assert (read.name, read.aliases, read.weights["v1"].aliases) == ("second", (), ())


def test_a_model_of_models_is_bundled_with_its_parts(item, store, tmp_path, far):
    whole = ModelEntry("pair", "Pair", "ocr", None, {}, parts={"detect": "toy"})
    path = unbundle(bundle([(whole, None), item], store, tmp_path / "kit.tar"), far).catalog
    assert path is not None
    assert set(json.loads(path.read_bytes())) == {"yields", "pair", "toy"}


def test_equal_content_is_an_equal_file(kit, item, graph, store, tmp_path):
    again = bundle([item], store, tmp_path / "again.tar", graphs=graph)
    assert kit.read_bytes() == again.read_bytes()
    assert str(tmp_path).encode() not in kit.read_bytes()


def test_licences_are_in_it_for_a_person_to_read(kit):
    with tarfile.open(kit) as tar:
        text = tar.extractfile("licenses.txt").read().decode()
    assert "toy:v1: Toy, published by us\n  weights: Apache-2.0 (stated: repository)\n  paper: https://arx" in text


def test_unbundling_twice_changes_nothing(kit, far):
    first = unbundle(kit, far)
    before = sorted(far.root.rglob("*"))
    assert unbundle(kit, far) == first
    assert sorted(far.root.rglob("*")) == before


def test_a_bundle_that_cannot_be_made_leaves_no_file(item, store, tmp_path, host, small_disk):
    entry, weights = item
    host.pages.clear()
    with pytest.raises(NotFound):
        bundle([item], store, tmp_path / "kit.tar")
    assert not list(tmp_path.glob("*kit*"))
    with pytest.raises(BadInput, match="is a folder"):
        bundle([item], store, tmp_path)
    host.put("/a.bin", DATA), host.put("/t.json", TOKENIZER)
    disk = small_disk(32 * 1024)
    with pytest.raises(DiskFull, match=r"kit.tar: no room left"):
        bundle([item], store, disk / "kit.tar")
    assert list(disk.iterdir()) == []


def test_graphs_are_found_by_the_entries_architecture(item):
    entry, weights = item
    lite = replace(entry, architecture="timm/tf_efficientnet_lite0")
    found = graphs_of([(lite, weights), (entry, weights)])
    assert list(found) == ["timm/tf_efficientnet_lite0.onnx.gz"]
    assert found["timm/tf_efficientnet_lite0.onnx.gz"].is_file()


def test_other_bytes_than_the_first_fetch_found_are_refused(kit, item, far, host, store, tmp_path):
    changed = b"another" * 1000
    host.put("/t.json", changed)
    weak = replace(item[1].files["tokenizer"][0], published=None)
    far.fetch(weak, name=NAME)
    with pytest.raises(DigestMismatch, match="as first fetched"):
        unbundle(kit, far)
    assert far.blob(digest(DATA)) is None


def test_another_graph_of_a_known_name_is_refused(kit, far):
    path = far.root / "architectures/us/toy.onnx.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other")
    with pytest.raises(DigestMismatch, match="graphs never change"):
        unbundle(kit, far)
    assert path.read_bytes() == b"other"


def rewritten(kit: Path, change: Any = None, members: Any = None) -> bytes:
    """The kit with its manifest through `change` and its (name, data) members through `members`."""
    with tarfile.open(kit) as tar:
        parts = [(info.name, tar.extractfile(info).read()) for info in tar.getmembers()]
    manifest = json.loads(parts[0][1])
    if change:
        change(manifest)
    parts[0] = ("manifest.json", json.dumps(manifest).encode())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for one in members(parts) if members else parts:
            name, data, *kind = one
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind:
                info.type, info.linkname, info.size = kind[0], "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def rename(old: str, new: str) -> Any:
    """A member under another name, in manifest and tar."""

    def change(manifest: Any) -> None:
        manifest["members"][new] = manifest["members"].pop(old)

    return {"change": change, "members": lambda parts: [(new if n == old else n, d) for n, d in parts]}


def evil(entry: dict[str, Any]) -> Any:
    def change(manifest: Any) -> None:
        manifest["members"] |= entry

    return change


GRAPH = "architectures/us/toy.onnx.gz"
BLOB = f"blobs/{digest(DATA)[7:]}"
HUGE = {f"blobs/{'0' * 64}": {"digest": f"sha256:{'0' * 64}", "size_bytes": 10**15}}
HOSTILE = {
    "climbs out": (rename(GRAPH, "architectures/../../../evil.onnx.gz"), Refused),
    "climbs out of blobs": (rename(BLOB, "blobs/../evil"), Refused),
    "absolute": (rename(GRAPH, "/etc/evil"), Refused),
    "hidden": (rename(GRAPH, "architectures/.ssh/keys"), Refused),
    "another room": (rename(GRAPH, "refs/evil.json"), Refused),
    "a blob of another name": (rename(BLOB, f"blobs/{'0' * 64}"), Refused),
    "a member that the manifest does not have": ({"members": lambda parts: [*parts, ("extra", b"x")]}, Refused),
    "a member twice": ({"members": lambda parts: [*parts, parts[-1]]}, Refused),
    "a member missing": ({"members": lambda parts: parts[:-1]}, Malformed),
    "a link": ({"members": lambda p: [(n, d, tarfile.SYMTYPE) if n == GRAPH else (n, d) for n, d in p]}, Refused),
    "a hard link": ({"members": lambda p: [(n, d, tarfile.LNKTYPE) if n == GRAPH else (n, d) for n, d in p]}, Refused),
    "other bytes": ({"members": lambda p: [(n, d[:-1] + b"!") if n == BLOB else (n, d) for n, d in p]}, DigestMismatch),
    "fewer bytes": ({"members": lambda p: [(n, d[:-1]) if n == GRAPH else (n, d) for n, d in p]}, Refused),
    "no manifest": ({"members": lambda parts: parts[1:]}, Malformed),
    "manifest not first": ({"members": lambda parts: [*parts[1:], parts[0]]}, Malformed),
    "a size beyond the file": ({"change": evil(HUGE)}, Malformed),
    "a negative size": ({"change": evil({"catalog.yaml": {"digest": digest(b""), "size_bytes": -1}})}, Malformed),
    "a size that is a word": (
        {"change": evil({"catalog.yaml": {"digest": digest(b""), "size_bytes": "1"}})},
        Malformed,
    ),
    "no version": ({"change": lambda m: m.pop("version")}, Malformed),
    "a later version": ({"change": lambda m: m.update(version=2)}, Malformed),
    "no catalog": ({"change": lambda m: m["members"].pop("catalog.yaml")}, Malformed),
    "a file that is not inside": (
        {"change": lambda m: m["models"][NAME]["files"][0].update(digest=digest(b""))},
        Malformed,
    ),
    "a file whose path is a number": ({"change": lambda m: m["models"][NAME]["files"][0].update(path=7)}, Malformed),
    "models that are a list": ({"change": lambda m: m.update(models=[])}, Malformed),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_kit_leaves_no_trace(kit, far, tmp_path, case):
    how, error = HOSTILE[case]
    (tmp_path / "evil.tar").write_bytes(rewritten(kit, **how))
    with pytest.raises(error) as caught:
        unbundle(tmp_path / "evil.tar", far)
    assert "evil.tar" in caught.value.message
    assert "\n" not in str(caught.value)
    left = [path for path in far.root.rglob("*") if path.is_file()]
    assert left == []


def test_a_catalog_with_a_mistake_is_refused_by_its_line(kit, far, tmp_path):
    text = b'{"toy": {"title": "Toy", "taks": "ocr"}}'

    def change(manifest: Any) -> None:
        manifest["members"]["catalog.yaml"] = {"digest": digest(text), "size_bytes": len(text)}

    def members(parts: Any) -> Any:
        return [(name, text if name == "catalog.yaml" else data) for name, data in parts]

    (tmp_path / "evil.tar").write_bytes(rewritten(kit, change, members))
    with pytest.raises(ZooError, match="taks"):
        unbundle(tmp_path / "evil.tar", far)
    assert [path for path in far.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("size", [0, 100, 512, 1024, 5000, 30_000, 60_000, 81_000])
def test_a_kit_that_is_cut_off_leaves_no_trace(kit, far, tmp_path, size):
    (tmp_path / "cut.tar").write_bytes(kit.read_bytes()[:size])
    with pytest.raises(ZooError) as caught:
        unbundle(tmp_path / "cut.tar", far)
    assert "cut.tar" in caught.value.message
    assert [path for path in far.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("data", [b"", b"nothing" * 1000, b"\x1f\x8b" + b"x" * 1000, b"PK\x03\x04" + b"x" * 1000])
def test_what_is_no_kit_is_said(far, tmp_path, data):
    (tmp_path / "no.tar").write_bytes(data)
    with pytest.raises(Malformed, match=r"no.tar: .*not a bundle"):
        unbundle(tmp_path / "no.tar", far)
    with pytest.raises(BadInput, match="No such file"):
        unbundle(tmp_path / "none.tar", far)


def test_a_full_disk_and_a_read_only_home_are_one_error_each(kit, small_disk):
    disk = small_disk(48 * 1024)
    with pytest.raises(DiskFull):
        unbundle(kit, Store(disk / "home"))
    assert [path for path in disk.rglob("*") if path.is_file()] == []
    small_disk.lock(disk)
    with pytest.raises(ReadOnly):
        unbundle(kit, Store(disk / "other"))


def test_an_excerpt_says_nothing_that_is_not_stated(item):
    facts = json.loads(excerpt([item]))["toy"]
    assert set(facts) == {"title", "task", "architecture", "paper", "weights"}
    assert set(facts["weights"]["v1"]) == {
        *("publisher", "files", "license", "metrics", "input", "tested", "aliases"),
    }
    assert facts["weights"]["v1"]["files"]["tokenizer"][0].keys() == {"path", "published", "sources"}
