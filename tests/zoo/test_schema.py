"""A catalog's mistakes: each is one EntryError that says file, line, entry, field, and what was expected."""

from __future__ import annotations

import pytest

from zoo import schema, yamltree
from zoo.errors import EntryError

SOUND = """\
net:
  title: A net
  task: image-classification
  architecture: timm/resnet50
  params: 25557032
  aliases: [the_net]
  weights:
    v1:
      publisher: us
      files:
        weights:
          - path: net-11ad3fa6.pth
            digest: sha256:11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca
            size: 102540417
            published: sha256-8:11ad3fa6
            sources: [https://example.org/net-11ad3fa6.pth]
      license: {weights: Apache-2.0, stated: package}
      dataset: imagenet-1k
      metrics: {top1: 80.858}
      input: {image: {size: [224, 224], resize: 232, interpolation: bilinear, mean: [0.5], std: [1]}}
      tested: 2026-01-31
"""


def read(text: str | bytes) -> schema.Catalog:
    data = text if isinstance(text, bytes) else text.encode()
    return schema.catalog(yamltree.parse(data, "models.yaml"), "models.yaml")


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, old
    return SOUND.replace(old, new)


def test_a_sound_entry_becomes_the_values_that_it_states():
    entry = read(SOUND).entries["net"]
    weights = entry.weights["v1"]
    assert ("A net", "timm/resnet50", 25557032, ("the_net",)) == (
        entry.title,
        entry.architecture,
        entry.params,
        entry.aliases,
    )
    assert ("2026-01-31", 102540417, "permissive") == (str(weights.tested), weights.size_bytes, weights.license.kind)
    expected = {"size": [224, 224], "resize": 232, "interpolation": "bilinear", "mean": [0.5], "std": [1]}
    assert {"image": expected} == weights.input
    assert weights.of("weights")[0].pin == "whole SHA-256"
    assert weights.of("tokenizer") == ()


MISTAKES = [  # (what stands there, what it becomes, line, field, words of the message)
    ("  title: A net\n", "  titel: A net\n", 2, "titel", "no such field. Did you mean 'title'"),
    ("  title: A net\n", "", 1, "title", "missing"),
    ("  title: A net\n", "  title: 5\n", 2, "title", "expected text, found the number 5; put it in quotes"),
    ("  title: A net\n", "  title: ''\n", 2, "title", "expected text, found none"),
    ("title: A net", 'title: "\\e[31mA net"', 2, "title", "without control characters, found '\\x1b'"),
    ("title: A net", 'title: "A\\nnet"', 2, "title", "without control characters"),
    ("image-classification", "image-clasification", 3, "task", "Did you mean 'image-classification'"),
    ("timm/resnet50", "resnet50", 4, "architecture", "owner/name"),
    ("25557032", "25.5M", 5, "params", "expected a whole number greater than 0, found the text '25.5M'"),
    ("25557032", "-1", 5, "params", "greater than 0"),
    ("25557032", "9" * 30, 5, "params", "whole number"),
    ("80.858", "1e999", 19, "weights.v1.metrics.top1", "expected a number"),
    ("25557032", "true", 5, "params", "found true"),
    ("[the_net]", "the_net", 6, "aliases", "expected a list, found the text 'the_net'"),
    ("[the_net]", "[the net]", 6, "aliases[0]", "expected a name"),
    ("    v1:\n", "    V 1:\n", 8, "weights.V 1", "lower-case"),
    ("      publisher: us\n", "", 8, "weights.v1.publisher", "missing"),
    ("        weights:\n", "        wieghts:\n", 11, "weights.v1.files.wieghts", "Did you mean 'weights'"),
    ("net-11ad3fa6.pth\n", "../net.pth\n", 12, "weights.v1.files.weights[0].path", "without '..'"),
    ("net-11ad3fa6.pth\n", "/etc/passwd\n", 12, "weights.v1.files.weights[0].path", "leading '/'"),
    ("sha256:11ad", "sha256:11AD", 13, "weights.v1.files.weights[0].digest", "64 hex digits, lower case"),
    ("deab379ca", "deab379c", 13, "weights.v1.files.weights[0].digest", "64 hex digits"),
    (
        "sha256:11ad3fa62ca7",
        "sha256:22ad3fa62ca7",
        15,
        "weights.v1.files.weights[0].published",
        "is not the beginning of",
    ),
    ("102540417", "98MB", 14, "weights.v1.files.weights[0].size", "whole number"),
    ("sha256-8:11ad3fa6", "sha256-8:11ad3f", 15, "weights.v1.files.weights[0].published", "sha256-<n>:<n hex digits>"),
    (
        "[https://example.org",
        "[htps://example.org",
        16,
        "weights.v1.files.weights[0].sources[0]",
        "no source of the scheme 'htps'",
    ),
    ("[https://example.org/net-11ad3fa6.pth]", "[]", 16, "weights.v1.files.weights[0].sources", "at least one source"),
    (
        "https://example.org/net-11ad3fa6.pth",
        "package:net",
        16,
        "weights.v1.files.weights[0].sources[0]",
        "expected something like",
    ),
    ("https://example.org/net-11ad3fa6.pth", "hf:us/net/x", 16, "weights.v1.files.weights[0].sources[0]", "hf:timm/"),
    ("Apache-2.0", "apache-2.0", 17, "weights.v1.license.weights", "SPDX spells it 'Apache-2.0'"),
    ("Apache-2.0", "free for all", 17, "weights.v1.license.weights", "as SPDX spells it"),
    (
        "{weights: Apache-2.0, stated: package}",
        "MIT",
        17,
        "weights.v1.license",
        "expected a mapping with weights, code",
    ),
    ("80.858", "808.58", 19, "weights.v1.metrics.top1", "percent between 0 and 100"),
    ("80.858", "good", 19, "weights.v1.metrics.top1", "expected a number, found the text 'good'"),
    ("resize: 232", "rezise: 232", 20, "weights.v1.input.image.rezise", "Did you mean 'resize'"),
    ("[224, 224]", "[224]", 20, "weights.v1.input.image.size", "expected 2 items, found 1"),
    (
        "interpolation: bilinear",
        "interpolation: cubic",
        20,
        "weights.v1.input.image.interpolation",
        "Did you mean 'bicubic'",
    ),
    (", std: [1]", "", 20, "weights.v1.input.image.std", "missing"),
    ("2026-01-31", "yesterday", 21, "weights.v1.tested", "expected a day such as 2026-01-31"),
    ("  architecture: timm/resnet50\n", "", 10, "weights.v1.files.weights", "need the entry's field 'architecture'"),
    ("        weights:\n", "        model:\n", 11, "weights.v1.files.model", "a model file has its own graph"),
    (
        "        weights:\n",
        "        labels:\n",
        10,
        "weights.v1.files",
        "expected files of the role weights, or of the role model",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"), MISTAKES, ids=[f"{m[3]}-{m[1].strip()[:24]}" for m in MISTAKES]
)
def test_a_mistake_names_file_line_entry_and_field_and_says_what_was_expected(old, new, line, field, words):
    with pytest.raises(EntryError) as caught:
        read(changed(old, new))
    error = caught.value
    assert ("models.yaml", line, "net", field) == (error.file, error.line, error.entry, error.field)
    assert words in str(error)
    assert str(error).startswith(f"models.yaml:{line}: entry 'net': field '{field}': ")


NOT_YAML = [  # (text, line, words)
    ("a: [1,\nb", 2, "not YAML"),
    ("a: 1\n\tb: 2", 2, "not YAML"),
    ("net:\n  title: a\n  task: ocr\n  title: b\n", 4, "'title' stands here again; it was stated in line 2"),
    ("net: &x {title: a}\nother: *x\n", 1, "anchors (&) and aliases (*) are not read here"),
    ("a: *b\n", 1, "anchors (&) and aliases (*) are not read here"),
    ("net: !!python/object/apply:os.system [id]\n", 1, "tags are not read here"),
    ("net:\n  <<: {title: a}\n", 2, "merging (<<) is not read here"),
    ("net: {title: a}\n---\nnet: {title: a}\n", 2, "a second document starts here"),
    ("[a, b]\n", 1, "expected a mapping of names to models, found a list"),
    ("just text\n", 1, "expected a mapping of names to models, found the text 'just text'"),
    ("net: 5\n", 1, "expected a mapping with title, task"),
    ("net:\n", 1, "expected a mapping with title, task"),
    ("? [a, b]\n: 1\n", 1, "a list can't be a key"),
    ("net:\n  tested: 2026-02-30\n", 2, "no such day: 2026-02-30"),
    ("- " * 200_000, 1, "nested more than"),
    ("[" * 100_000, 1, "nested more than"),
    ("{a: " * 100_000, 1, "nested more than"),
    (b"net:\n  title: \xff\n", 2, "not UTF-8 text"),
    (b"net:\n  title: a\x00b\n", None, "not YAML"),
    ("Net: {title: a, task: ocr}\n", 1, "expected a name of lower-case letters"),
    ("a/b/c: {title: a, task: ocr}\n", 1, "expected a name of lower-case letters"),
    ("../x: {title: a, task: ocr}\n", 1, "expected a name of lower-case letters"),
    ("namespace: mylab\nmylab/net: {title: a, task: ocr}\n", 2, "namespace goes before it by itself"),
    ("namespace: [a]\n", 1, "expected text, found a list"),
    ("net: {title: a, task: ocr}\n", 1, "expected either weights or parts"),
    ("net: {title: a, task: ocr, weights: {}, parts: {}}\n", 1, "expected either weights or parts"),
    ("net: {title: a, task: ocr, architecture: a/b, parts: {x: y}}\n", 1, "a model of parts has none of its own"),
]


@pytest.mark.parametrize(("text", "line", "words"), NOT_YAML, ids=[repr(m[0][:24]) for m in NOT_YAML])
def test_what_is_no_catalog_is_refused_where_it_stops_being_one(text, line, words):
    with pytest.raises(EntryError) as caught:
        read(text)
    assert line == caught.value.line
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "\ufeff# with a byte order mark\n"])
def test_an_empty_file_is_a_catalog_of_no_models(text):
    assert {} == read(text).entries


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("no", "no"), ("on", "on"), ("yes", "yes"), ("True", True), ("~", None), ("null", None), ("", None)),
        *(("7", 7), ("-7", -7), ("010", "010"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("12:30", "12:30")),
        *(("1e-5", 1e-5), (".5", 0.5), ("1.", 1.0), (".inf", ".inf"), ("1.2.3", "1.2.3"), ("9" * 5000, "9" * 5000)),
    ],
)
def test_plain_words_and_numbers_mean_what_they_look_like(text, value):
    found = yamltree.scalar(text, "x", 1)
    assert (type(value), value) == (type(found), found)


def test_keys_are_text_whatever_they_look_like():
    assert ["1.0", "no", "2026-01-31"] == list(yamltree.parse(b"1.0: a\nno: b\n2026-01-31: c\n", "x").value)


def test_a_namespace_stands_before_names_aliases_and_its_own_parts():
    parts = "  parts: {one: net, two: other/net}\n"
    text = f"namespace: mylab\n{SOUND}whole:\n  title: a\n  task: ocr\n  formerly: [old]\n{parts}"
    entries = read(text).entries
    assert ["mylab/net", "mylab/whole"] == list(entries)
    assert ("mylab/the_net",) == entries["mylab/net"].aliases
    assert ("mylab/old",) == entries["mylab/whole"].formerly
    assert {"one": "mylab/net", "two": "other/net"} == entries["mylab/whole"].parts
