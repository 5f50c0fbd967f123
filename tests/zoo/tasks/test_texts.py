from __future__ import annotations

import numpy as np
import pytest

from zoo.converters.runner import TensorSpec
from zoo.errors import BadInput
from zoo.tasks import processor
from zoo.tasks.text_reader import text_reader

CLS, SEP, UNK = 2, 3, 1


@pytest.fixture
def make(tokenizer_json):
    return lambda **given: text_reader({"max_length": 8, **given}, {"tokenizer": tokenizer_json})


def specs(*names, shape=("N", "T")):
    return [TensorSpec(name, "int64", shape) for name in names]


def test_a_batch_is_as_long_as_its_longest_text(make):
    reader = make()
    feeds = reader.batch([reader.read("the cat sat"), reader.read("A Dog")])
    np.testing.assert_array_equal([[CLS, 9, 5, 7, SEP], [CLS, 4, 6, SEP, 0]], feeds["input_ids"])
    np.testing.assert_array_equal([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], feeds["attention_mask"])
    assert not feeds["token_type_ids"].any()
    assert {"int64"} == {array.dtype.name for array in feeds.values()}


def test_the_entrys_length_counts_and_not_the_tokenizers(make):
    long = "the cat sat on the mat " * 1000
    sample = make().read(long)
    assert (8, True) == (len(sample.ids), sample.is_cut)
    assert (CLS, SEP) == (sample.ids[0], sample.ids[-1])
    assert not make(max_length=500).read("a cat").is_cut


def test_only_what_the_graph_takes_is_fed(make):
    reader = make().feeding(specs("attention_mask", "input_ids"))
    assert {"input_ids", "attention_mask"} == set(reader.batch([reader.read("a")]))


def test_a_graphs_own_names_are_data(make):
    reader = make(names={"ids": "input_ids", "mask": "attention_mask"}).feeding(specs("ids", "mask"))
    assert {"ids", "mask"} == set(reader.batch([reader.read("a")]))


def test_a_graph_of_fixed_length_gets_texts_of_that_length(make):
    reader = make().feeding(specs("input_ids", "attention_mask", shape=("N", 6)))
    feeds = reader.batch([reader.read("a"), reader.read("the cat sat on the mat")])
    assert (2, 6) == feeds["input_ids"].shape
    np.testing.assert_array_equal([3, 6], feeds["attention_mask"].sum(1))
    assert SEP == feeds["input_ids"][1, -1]
    assert 8 == len(make().read("the cat sat on the mat a a").ids), "the reader that it was made of is as it was"


def test_a_graph_without_a_mask_takes_one_text_at_a_time(make):
    reader = make().feeding(specs("input_ids"))
    assert 1 == reader.max_batch
    with pytest.raises(BadInput, match="different length"):
        reader.batch([reader.read("a"), reader.read("a cat")])


@pytest.mark.parametrize("names", [["x"], ["input_ids", "position_ids"], ["attention_mask"], []])
def test_a_graph_whose_inputs_are_unknown_is_refused(make, names):
    with pytest.raises(BadInput, match="State `input.text.names`"):
        make().feeding(specs(*names))


def test_an_empty_text_and_odd_characters_are_texts(make):
    assert (CLS, SEP) == make().read("").ids
    assert (CLS, SEP) == make().read(" \t\n").ids
    assert UNK in make().read("\N{SNOWMAN} \U0001f600 ok").ids
    assert (CLS, SEP) == make().read("\0\ufeff").ids


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (b"bytes", "bytes is no text"),
        (None, "NoneType is no text"),
        (3, "int is no text"),
        ("a lone \ud800 half", r"'a lone \\ud800 half': half a surrogate pair at character 7"),
    ],
)
def test_what_is_no_text_is_an_error_that_says_why(make, x, words):
    with pytest.raises(BadInput, match=words):
        make().read(x)


def test_the_padding_token_is_the_entrys_then_the_tokenizers(make, tokenizer_json):
    assert 0 == make().pad_id
    assert UNK == make(pad="[UNK]").pad_id
    with pytest.raises(BadInput, match=r"has no token '\[NONE\]'"):
        make(pad="[NONE]")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_length": None}, "input.text.max_length is missing"),
        ({"max_length": 0}, "at least 1"),
        ({"truncation": True}, "has no field 'truncation'"),
        ({"names": {"x": "ids"}}, r"input.text.names.x: expected input_ids"),
    ],
)
def test_a_mistake_in_an_entry_is_named_with_its_field(make, given, words):
    with pytest.raises(BadInput, match=words):
        make(**given)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    with pytest.raises(BadInput, match="a file of role tokenizer"):
        text_reader({"max_length": 8}, {})
    with pytest.raises(BadInput, match="none.json: no such file"):
        text_reader({"max_length": 8}, {"tokenizer": tmp_path / "none.json"})
    (tmp_path / "broken.json").write_text('{"model": 3}')
    with pytest.raises(BadInput, match="broken.json: no tokenizer.json"):
        text_reader({"max_length": 8}, {"tokenizer": tmp_path / "broken.json"})


# ---- embeddings ----------------------------------------------------------------------------------------------------


@pytest.fixture
def embedding(tokenizer_json):
    return lambda **output: processor(
        "sentence-embedding", input={"text": {"max_length": 8}}, output=output, files={"tokenizer": tokenizer_json}
    )


def test_the_mean_is_of_the_tokens_that_are_no_padding(embedding):
    pooled = embedding(pooling="mean")
    samples = [pooled.read("the cat sat"), pooled.read("a")]
    states = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    first, second = pooled.answers({"states": states}, samples)
    np.testing.assert_allclose(states[0].mean(0), first.vector, atol=1e-6)
    np.testing.assert_allclose(states[1, :3].mean(0), second.vector, atol=1e-6)
    first, _ = embedding(pooling="cls").answers({"states": states}, samples)
    np.testing.assert_array_equal(states[0, 0], first.vector)


def test_a_graph_that_has_pooled_is_left_alone_and_normalising_twice_changes_nothing(embedding):
    vectors = np.array([[3, 4], [0, 0]], np.float32)
    np.testing.assert_array_equal(vectors, np.stack([e.vector for e in embedding().answers(vectors)]))
    once = np.stack([e.vector for e in embedding(pooling="mean", normalize="l2").answers(vectors)])
    np.testing.assert_allclose([[0.6, 0.8], [0, 0]], once, atol=1e-7)
    np.testing.assert_allclose(once, np.stack([e.vector for e in embedding(normalize="l2").answers(once)]), atol=1e-7)


def test_token_states_without_a_rule_or_without_their_samples_are_errors(embedding):
    states = np.zeros((1, 4, 3), np.float32)
    with pytest.raises(BadInput, match="State `output.pooling`"):
        embedding().answers(states)
    with pytest.raises(BadInput, match="which tokens are padding"):
        embedding(pooling="mean").answers(states)


def test_of_several_outputs_the_entry_names_one(embedding):
    outputs = {"tokens": np.zeros((1, 4), np.int64), "vector": np.ones((1, 2), np.float32)}
    assert 2 == len(embedding(name="vector").answers(outputs)[0])
    with pytest.raises(BadInput, match="2 outputs: 'tokens', 'vector'"):
        embedding().answers(outputs)
    with pytest.raises(BadInput, match="no output 'pooled'; it has 'tokens', 'vector'"):
        embedding(name="pooled").answers(outputs)


def test_features_of_a_text_are_without_padding(tokenizer_json):
    features = processor(
        "feature-extraction", input={"text": {"max_length": 8}}, files={"tokenizer": str(tokenizer_json)}
    )
    samples = [features.read("the cat"), features.read("a")]
    states = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    first, second = features.answers({"states": states, "pooled": states[:, 0]}, samples)
    assert ((4, 3), (3, 3), (3,)) == (first["states"].shape, second["states"].shape, second["pooled"].shape)
    np.testing.assert_array_equal(states[1, :3], second["states"])
