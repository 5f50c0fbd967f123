"""Finding models: by name, alias, variant, words and filters; several catalogs side by side; the index that answers."""

from __future__ import annotations

import hashlib
import http.server
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from zoo import index, registry, schema, yamltree
from zoo.bundle import excerpt
from zoo.entry import TASKS, ModelEntry, Weights, entry_of, plain
from zoo.errors import BadInput, EntryError, FetchError, UnknownModel
from zoo.home import home
from zoo.names import FormerName

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = yamltree.parse((ROOT / "registry.yaml").read_bytes(), "built-in")
DIGEST = "sha256:" + "ab" * 32


def entry_text(name: str = "net", *, extra: str = "", publisher: str = "us", architecture: str = "a/b") -> str:
    return f"""\
{name}:
  title: The net {name}
  task: image-classification
  architecture: {architecture}
{extra}  weights:
    v1:
      publisher: {publisher}
      files: {{weights: [{{path: a.pth, digest: '{DIGEST}', size: 1000, sources: [https://example.org/a.pth]}}]}}
"""


@pytest.fixture
def catalogs(tmp_path, monkeypatch, empty_home):
    """Write catalogs and have them count; the home is empty, so nothing else does."""

    def stated(*texts: str) -> list[Path]:
        paths = [tmp_path / f"catalog{i}.yaml" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        monkeypatch.setenv("ZOO_CATALOGS", ",".join(map(str, paths)))
        return paths

    return stated


# ---- the built-in catalog ------------------------------------------------------------------------------------------


def entries() -> dict[str, ModelEntry]:
    return dict(schema.catalog(BUILT_IN, "built-in").entries)


def all_weights() -> list[tuple[ModelEntry, Weights]]:
    return [(entry, weights) for entry in entries().values() for weights in entry.weights.values()]


@pytest.mark.parametrize(("entry", "weights"), all_weights(), ids=lambda x: getattr(x, "name", getattr(x, "tag", "")))
def test_every_weight_states_where_it_is_and_how_it_is_pinned(entry, weights):
    for files in weights.files.values():
        for file in files:
            assert file.sources
            assert file.digest or file.published or file.sources[0].startswith("hf:"), (
                "pinned, or by a host that publishes digests"
            )
            assert not weights.tested or file.digest, "what was fetched is known"


@pytest.mark.parametrize("entry", [e for e in entries().values() if e.architecture], ids=lambda e: e.name)
def test_every_architecture_that_an_entry_names_is_there(entry):
    assert (ROOT / "zoo" / "architectures" / f"{entry.architecture}.onnx.gz").is_file()


@pytest.mark.parametrize("table", sorted({w.rename for _, w in all_weights() if w.rename}))
def test_every_table_that_renames_tensors_is_there(table):
    from zoo.architectures import rename_path

    assert rename_path(table).is_file()


@pytest.mark.parametrize(
    ("entry", "weights"),
    [(e, w) for e, w in all_weights() if "image" in w.input],
    ids=lambda x: getattr(x, "name", getattr(x, "tag", "")),
)
def test_every_preprocessing_is_one_that_the_tasks_understand(entry, weights):
    from zoo.tasks import processor

    processor(
        entry.task, input=weights.input, output=weights.output, labels=weights.dataset or ["a"]
    )  # a recogniser's alphabet stands in its file


def test_the_tasks_are_those_of_the_processors():
    from zoo.tasks import TASKS as PROCESSORS

    assert set(TASKS) == set(PROCESSORS)


@pytest.mark.parametrize("entry", entries().values(), ids=lambda e: e.name)
def test_an_entry_survives_json_and_yaml(entry):
    assert entry == entry_of(plain(entry))
    text = excerpt([(entry, weights) for weights in entry.weights.values()] or [(entry, None)])
    assert {entry.name: entry} == schema.catalog(yamltree.parse(text.encode(), "built-in"), "built-in").entries


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name", "tag"),
    [
        ("resnet50", "resnet50", "imagenet1k-v2"),
        ("resnet50:imagenet1k-v1", "resnet50", "imagenet1k-v1"),
        ("ResNet50:IMAGENET1K_V1", "resnet50", "imagenet1k-v1"),
        ("mobilenet_v3_large", "mobilenet-v3-large", "imagenet1k-v2"),
        ("torchvision/vit_b_16", "vit-b-16", "imagenet1k-v1"),
        ("resnet50.a1_in1k", "timm/resnet50", "a1-in1k"),
        ("timm/resnet50", "timm/resnet50", "a1-in1k"),
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm-l6", "v2"),
        ("ppocr", "ppocr", None),
    ],
)
def test_a_name_a_variant_and_an_alias_find_what_they_mean(asked, name, tag):
    entry, weights = registry.resolve(asked)
    assert (name, tag) == (entry.name, weights.tag if weights else None)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("resnt50", "Did you mean 'resnet50', 'timm/resnet50'"),
        ("minilm", "Did you mean 'minilm-l6', 'paraphrase-minilm-l3'?"),
        ("resnet50:imagenet1k-v3", "'resnet50' has no weights 'imagenet1k-v3'. It has imagenet1k-v2, imagenet1k-v1."),
        ("ppocr:v4", "made of other models"),
        ("qqqqqqqqqqqqqqqqq", "`zoo list` shows what there is"),
        ("", "zoo list"),
        ("a" * 10_000, "zoo list"),
        ("x'; DROP TABLE model; --", "zoo list"),
    ],
)
def test_a_wrong_name_answers_with_the_nearest(asked, words):
    with pytest.raises(UnknownModel) as caught:
        registry.resolve(asked)
    assert words in str(caught.value)
    assert str(caught.value).count("'") <= 2 * 4 + asked.count("'") * 2, "at most three names, and the one asked for"


def test_info_of_a_variant_is_the_entry_with_that_alone():
    assert ["imagenet1k-v1"] == list(registry.info("resnet50:imagenet1k-v1").weights)
    assert ["imagenet1k-v2", "imagenet1k-v1"] == list(registry.info("resnet50").weights)


def test_a_former_name_works_and_warns_of_the_name_of_today(catalogs):
    catalogs(entry_text(extra="  formerly: [old_net]\n"))
    with pytest.warns(FormerName, match="'Old-Net' is a former name of 'net'"):
        entry, _ = registry.resolve("Old-Net")
    assert "net" == entry.name


def test_a_deprecated_model_works_and_warns_with_its_note(catalogs):
    catalogs(entry_text(extra="  deprecated: use resnet50\n"))
    with pytest.warns(DeprecationWarning, match="'net' is deprecated: use resnet50"):
        registry.info("net")


def test_a_name_of_today_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.info("resnet50")
        registry.models()


# ---- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "filters", "expected"),
    [
        ("minilm", {}, ["minilm-l6", "paraphrase-minilm-l3"]),
        ("resnet*", {}, ["resnet50", "timm/resnet50"]),
        ("*EfficientNet_Lite?", {}, ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]),
        ("torchvision mobilenet", {}, ["mobilenet-v3-large", "mobilenet-v3-small"]),
        ("resnet50.a1_in1k", {}, ["timm/resnet50"]),
        ("no such thing", {}, []),
        (None, {"task": "text-classification"}, ["distilbert-sst2"]),
        (None, {"license": "non-commercial"}, ["vit-b-16"]),
        ("resnet50", {"license": "permissive"}, ["timm/resnet50"]),
        ("resnet50", {"license": "unknown"}, ["resnet50"]),
        (None, {"license": "mit"}, ["emotion", "roberta-base", "timm/swin-tiny-patch4-window7-224"]),
        (None, {"publisher": "FER"}, ["emotion"]),
        (None, {"max_params": "60K"}, ["emotion"]),
        (None, {"max_params": 58423}, ["emotion"]),
        (None, {"max_params": 58422}, []),
        (None, {"min_top1": 82}, ["convnext-tiny"]),
        (None, {"min_top1": 81, "license": "non-commercial"}, ["vit-b-16"]),
        (None, {"max_size": "1MB"}, ["emotion", "ppocr-v2-cls"]),
        ("ppocr", {"tested": True, "max_size": "20 MiB"}, ["ppocr", "ppocr-v2-cls", "ppocr-v4-det", "ppocr-v4-rec"]),
        ("ppocr", {"tested": False}, []),
        ("minilm-l6", {"framework": "torch"}, ["minilm-l6"]),
    ],
)
def test_filters_add_up(query, filters, expected):
    assert expected == [entry.name for entry in registry.models(query, **filters)]
    assert expected == [row.name for row in registry.rows(query, **filters)]


def test_a_model_is_listed_with_the_weights_that_pass_and_no_others():
    (entry,) = registry.models(license="non-commercial")
    assert ["imagenet1k-swag-linear-v1"] == list(entry.weights)
    (row,) = registry.rows(license="non-commercial")
    assert "vit-b-16:imagenet1k-swag-linear-v1" == row.spec, "the bare name would be other weights"


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (
            {"task": "image-clasification"},
            "no model has the task 'image-clasification'  Did you mean 'image-classification'",
        ),
        ({"license": "permisive"}, "Did you mean 'permissive'"),
        ({"publisher": "torchvison"}, "Did you mean 'torchvision'"),
        ({"max_params": "many"}, "expected an amount such as 25M"),
        ({"max_size": "-1"}, "expected an amount"),
        ({"sort": "nme"}, "can't sort by 'nme'  Did you mean 'name'"),
        ({"sort": "--name"}, "can't sort by"),
    ],
)
def test_a_filter_that_nothing_could_pass_is_an_error(filters, words):
    with pytest.raises(BadInput) as caught:
        registry.models(**filters)
    assert words in str(caught.value)


def test_names_are_sorted_as_people_count(catalogs):
    catalogs("".join(entry_text(name) for name in ("net101", "net50", "net9-b", "net9-a", "lab/net50")))
    assert ["net9-a", "net9-b", "net50", "lab/net50", "net101"] == [
        row.name for row in registry.rows("net b*") or registry.rows("the net")
    ]


@pytest.mark.parametrize("sort", [*registry.SORTS])
def test_sorting_puts_the_unknown_last_both_ways(sort):
    column = {"size": "size_bytes"}.get(sort, sort)
    for word in (sort, f"-{sort}"):
        values = [getattr(row, column) for row in registry.rows(sort=word)]
        known = [value for value in values if value is not None]
        assert known == values[: len(known)]
        if sort != "name":
            key = str.lower if sort == "publisher" else None
            assert sorted(known, key=key, reverse=word != sort) == known


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10M", 1e7),
        ("1.5k", 1500),
        (7, 7),
        ("2GiB", 2**31),
        ("1_000", 1000),
        ("3 MB", 3e6),
        ("7B", 7e9),
        ("12 gb", 12e9),
    ],
)
def test_amounts_are_read_as_people_write_them(text, value):
    assert value == registry.amount(text)


# ---- several catalogs ----------------------------------------------------------------------------------------------


def test_a_users_catalog_stands_beside_the_built_in_one(catalogs):
    (path,) = catalogs(entry_text())
    assert str(path) == registry.info("net").catalog
    assert "built-in" == registry.info("resnet50").catalog


def test_a_folder_and_the_home_are_catalogs_too(tmp_path, monkeypatch, empty_home):
    for folder, name in ((empty_home / "catalogs", "of-home"), (tmp_path / "lab", "of-folder")):
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(entry_text(name))
        (folder / "notes.txt").write_text("no catalog")
        (folder / ".hidden.yaml").write_text("no: catalog")
    monkeypatch.setenv("ZOO_CATALOGS", f"{os.pathsep}{tmp_path / 'lab'}{os.pathsep}")
    assert ["of-folder", "of-home"] == [row.name for row in registry.rows("the net")]


def test_a_namespace_keeps_two_models_of_one_name_apart(catalogs):
    catalogs(f"namespace: mylab\n{entry_text('resnet50')}")
    assert ("mylab/resnet50", "resnet50") == (registry.info("mylab/resnet50").name, registry.info("resnet50").name)
    assert "built-in" == registry.info("resnet50").catalog


@pytest.mark.parametrize("name", ["resnet50", "the-net", "timm/resnet50"])
def test_a_name_that_is_taken_is_never_shadowed_in_silence(catalogs, name):
    catalogs(entry_text(extra="  aliases: [the_net]\n"), entry_text(name))
    with pytest.raises(EntryError) as caught:
        registry.info("net")
    assert "catalog1.yaml:1: " in str(caught.value)
    assert f"the name {name!r} is taken by" in str(caught.value)
    assert "namespace" in str(caught.value)


def test_two_names_that_differ_in_nothing_but_spelling_clash_within_a_catalog(catalogs):
    catalogs(entry_text("net-b") + entry_text("other", extra="  aliases: [Net_B]\n"))
    with pytest.raises(EntryError, match="the name 'Net_B' is taken by 'net-b'"):
        registry.models()


def test_a_catalog_that_says_so_replaces(catalogs):
    path = catalogs(f"replaces: [resnet50]\n{entry_text('resnet50')}")[0]
    assert str(path) == registry.info("resnet50").catalog
    with pytest.raises(UnknownModel):
        registry.resolve("torchvision/resnet50")


def test_a_namespaced_catalog_that_says_so_takes_the_bare_name_too(catalogs):
    catalogs(f"namespace: mylab\nreplaces: [resnet50]\n{entry_text('resnet50')}")
    assert "mylab/resnet50" == registry.info("resnet50").name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"replaces: [resnt50]\n{entry_text('resnet50')}",
            "no earlier catalog has the model 'resnt50' to replace. Did you mean 'resnet50'",
        ),
        (f"replaces: [resnet50]\n{entry_text('net')}", "replaces 'resnet50', and has no entry of that name itself"),
    ],
)
def test_replacing_what_is_not_there_is_an_error(catalogs, text, words):
    catalogs(text)
    with pytest.raises(EntryError) as caught:
        registry.models()
    assert words in str(caught.value)


def test_a_yielding_catalog_adds_only_what_is_new(catalogs):
    known = registry.info("resnet50")
    more = replace(known.weights["imagenet1k-v1"], tag="v9")
    other = replace(
        known, weights={"imagenet1k-v1": replace(known.weights["imagenet1k-v1"], publisher="them"), "v9": more}
    )
    mine = replace(known, name="mine", aliases=("resnet50", "my_own"))
    catalogs(excerpt([(entry, weights) for entry in (other, mine) for weights in entry.weights.values()]))
    entry = registry.info("resnet50")
    assert (["imagenet1k-v2", "imagenet1k-v1", "v9"], "torchvision") == (
        list(entry.weights),
        entry.weights["imagenet1k-v1"].publisher,
    )
    assert "mine" == registry.info("my-own").name


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("{a: net, b: nett}", "field 'parts.b': no model of the name 'nett'. Did you mean 'net'"),
        ("{a: net:v2}", "'net' has no weights 'v2'; it has v1"),
        ("{a: whole}", "'whole' is a model of parts itself"),
    ],
)
def test_a_part_that_names_no_model_is_an_error(catalogs, parts, words):
    catalogs(f"{entry_text()}whole: {{title: a, task: ocr, parts: {parts}}}\n")
    with pytest.raises(EntryError) as caught:
        registry.models()
    assert words in str(caught.value)
    assert "catalog0.yaml:9: entry 'whole'" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{tmp}/nothing.yaml", "nothing.yaml: no such file or folder; $ZOO_CATALOGS names it"),
        ("https://example.org/models.yaml", "has to be pinned"),
        ("https://example.org/models.yaml#sha256=abcd", "has to be pinned"),
        ("https://example.org/models.yaml#sha256=" + "AB" * 32, "has to be pinned"),
    ],
)
def test_a_catalog_that_can_not_count_is_an_error(tmp_path, monkeypatch, value, words):
    monkeypatch.setenv("ZOO_CATALOGS", value.format(tmp=tmp_path))
    with pytest.raises(EntryError) as caught:
        registry.models()
    assert words in str(caught.value)


def test_a_catalog_at_an_address_is_fetched_once_and_held_to_its_digest(tmp_path, monkeypatch, empty_home):
    (tmp_path / "served").mkdir()
    text = entry_text().encode()
    (tmp_path / "served" / "models.yaml").write_bytes(text)
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            asked.append(self.path)

    handler = partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/models.yaml"
        monkeypatch.setenv("ZOO_CATALOGS", f"{address}#sha256={hashlib.sha256(text).hexdigest()}")
        assert address == registry.info("net").catalog
        assert asked
        asked.clear()
        assert "net" == registry.info("net").name
        assert [] == asked
        monkeypatch.setenv("ZOO_CATALOGS", f"{address}#sha256={'ab' * 32}")
        with pytest.raises(FetchError):
            registry.info("net")
        server.shutdown()


def test_files_and_addresses_are_told_apart_in_the_variable(tmp_path, monkeypatch):
    from zoo.catalogs import sources

    pin = "#sha256=" + "ab" * 32
    path = tmp_path / "a.yaml"
    path.write_text("")
    monkeypatch.setenv("ZOO_CATALOGS", f"https://host:8080/a.yaml{pin}{os.pathsep}{path},http://other/b.yaml{pin}")
    assert ["https://host:8080/a.yaml", str(path), "http://other/b.yaml"] == [each.label for each in sources()[1:]]


# ---- the index -----------------------------------------------------------------------------------------------------


def test_an_index_follows_its_catalog(catalogs):
    (path,) = catalogs(entry_text())
    assert "The net net" == registry.info("net").title
    path.write_text(path.read_text().replace("The net net", "Another"))
    assert "Another" == registry.info("net").title


def test_a_mistake_in_a_catalog_is_told_every_time_until_it_is_mended(catalogs):
    (path,) = catalogs(entry_text(extra="  colour: red\n"))
    for _ in range(2):
        with pytest.raises(EntryError, match="field 'colour': no such field"):
            registry.rows()
    path.write_text(entry_text())
    assert registry.info("net")


def test_an_index_is_made_once(empty_home):
    registry.rows()
    (made,) = (empty_home / "index").iterdir()
    before = made.stat().st_mtime_ns
    registry.rows()
    assert [(made, before)] == [(each, each.stat().st_mtime_ns) for each in (empty_home / "index").iterdir()]


@pytest.mark.parametrize("damage", [b"", b"no database", "half", "middle"])
def test_a_damaged_index_is_made_again(empty_home, damage):
    expected = registry.rows()
    (made,) = (empty_home / "index").iterdir()
    data = made.read_bytes()
    broken = {"half": data[: len(data) // 2], "middle": data[:8192] + b"\xff" * (len(data) - 8192)}
    made.chmod(0o600)
    made.write_bytes(broken.get(damage, damage) if isinstance(damage, str) else damage)
    assert expected == registry.rows()


def test_old_indexes_are_dropped(catalogs, empty_home):
    for i in range(index.KEPT + 3):
        catalogs(entry_text(f"net{i}"))
        registry.rows()
    assert index.KEPT == len(list((empty_home / "index").iterdir()))
    assert "net10" == registry.info("net10").name


def test_where_nothing_can_be_written_the_index_is_made_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "home"))
    assert "resnet50" == registry.info("resnet50").name


def test_two_processes_that_make_the_index_at_once_agree(empty_home):
    code = "from zoo import registry; print(len(registry.rows()))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [f"{len(registry.rows())}\n"] * 2 == outputs
    assert 1 == len(list((empty_home / "index").iterdir())), "no temporary file is left"


def test_the_index_of_a_wheel_is_the_same_bytes_each_time_and_is_used(tmp_path):
    for name in ("a", "b"):
        registry.compile_index(ROOT / "registry.yaml", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with sqlite3.connect(tmp_path / "a") as made, index.connect() as used:
        stamp = "SELECT value FROM meta WHERE key = 'stamp'"
        assert used.execute(stamp).fetchone() == made.execute(stamp).fetchone()


def test_the_home_is_where_platformdirs_has_it(monkeypatch, tmp_path):
    import platformdirs

    for cache in (None, str(tmp_path), "relative", ""):
        monkeypatch.delenv("ZOO_HOME", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if cache is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert platformdirs.user_cache_path("polyzoo", appauthor=False) == home()


# ---- the guide -----------------------------------------------------------------------------------------------------


def test_the_guide_names_every_field_and_its_example_is_a_catalog():
    guide = (ROOT / "docs" / "registry.md").read_text()
    fields = [
        name
        for table in (schema.HEAD, schema.ENTRY_FIELDS, schema.WEIGHTS_FIELDS, schema.FILE_FIELDS)
        for name in table
    ]
    assert [] == [name for name in fields if f"`{name}`" not in guide and f"{name}: " not in guide]
    head, example = (block.partition("```")[0] for block in guide.split("```yaml\n")[1:])
    assert ("resnet50",) == schema.catalog(
        yamltree.parse(f"{head}{entry_text('resnet50')}".encode(), "x"), "x"
    ).replaces
    assert ["flower-net"] == list(schema.catalog(yamltree.parse(example.encode(), "x"), "x").entries)
