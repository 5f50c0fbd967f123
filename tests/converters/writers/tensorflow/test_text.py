"""Strings in TensorFlow, in one traced graph, against Python's own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.converters.writers.tensorflow.conftest import parsed
from zoo.converters.writers import strings
from zoo.converters.writers.tensorflow.operators.numerals import as_text

WORDS = np.array([["a b", "", " x  y z "], ["é Ü", "b", "a,b,,c"]], dtype=object)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_written_as_python_writes_them(dtype):
    generator = np.random.default_rng(0)
    numbers = np.concatenate(
        [
            generator.normal(size=200) * 10.0 ** generator.integers(-12, 20, 200),
            [0.0, -0.0, 1.0, 0.1, 1e16, 1e15, 123456789.0, 1e-4, 9.999e-5, -1e-5, np.nan, np.inf, -np.inf],
        ]
    ).astype(dtype)
    made = [word.decode() for word in as_text(tf.constant(numbers)).numpy()]
    assert made == strings.of_numbers(numbers).tolist()


@pytest.mark.parametrize("maxsplit", [None, 0, 1, 2])
@pytest.mark.parametrize("delimiter", ["", ","])
def test_strings_are_split_as_python_does(delimiter, maxsplit):
    given = [f'delimiter = "{delimiter}"'] * bool(delimiter) + [f"maxsplit = {maxsplit}"] * (maxsplit is not None)
    attributes = f"<{', '.join(given)}>" if given else ""
    graph = f"agraph (string[N, M] x) => (string[N, M, K] y, int64[N, M] n) {{ y, n = StringSplit {attributes} (x) }}"
    made = zoo.runner(parsed(graph), "tensorflow").run({"x": WORDS})
    for expected, got in zip(strings.split(WORDS, delimiter, maxsplit), made.values(), strict=True):
        assert expected.tolist() == got.tolist()


@pytest.mark.parametrize(
    "graph",
    [
        "agraph (string[N, M] x) => (string[N, M] y) { y = StringConcat (x, x) }",
        'agraph (string[N, M] x) => (bool[N, M] y) { y = RegexFullMatch <pattern = "[a-z ]*"> (x) }',
        "agraph (string[N, M] x) => (string[M, N] y) { y = Transpose (x) }",
        "agraph (string[N, M] x) => (string[N, P] y) { y = Concat <axis = 1> (x, x) }",
    ],
)
def test_strings_are_joined_matched_and_moved(agrees, graph):
    agrees(graph, {"x": WORDS})


@pytest.mark.parametrize("case", ["LOWER", "UPPER", "NONE"])
@pytest.mark.parametrize("is_case_sensitive", [0, 1])
def test_stopwords_go_and_the_rest_is_in_one_case(case, is_case_sensitive):
    graph = (
        f'agraph (string[N] x) => (string[M] y) {{ y = StringNormalizer <case_change_action = "{case}",'
        f' is_case_sensitive = {is_case_sensitive}, stopwords = ["monday"]> (x) }}'
    )
    runner = zoo.runner(parsed(graph), "tensorflow")
    for words in (["Monday", "Tuesday", "école"], ["monday", "monday"]):
        x = np.array(words, dtype=object)
        expected = strings.normalize(x, case, bool(is_case_sensitive), ["monday"])
        assert runner.run({"x": x})["y"].tolist() == expected.tolist()


def test_text_is_read_as_numbers(agrees):
    words = np.array(["1", " -7", "9007199254740993", "2.5"], dtype=object)
    agrees("agraph (string[N] x) => (float[N] y) { y = Cast <to = 1> (x) }", {"x": words})
    whole = np.array(["1", "-7", "9007199254740993"], dtype=object)
    (made,) = agrees("agraph (string[N] x) => (int64[N] y) { y = Cast <to = 7> (x) }", {"x": whole})
    assert made.tolist() == [1, -7, 9007199254740993]


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("skip", [0, 2])
def test_n_grams_are_counted_in_the_graph(mode, skip):
    """The i-th weight is the i-th n-gram's, as the specification says; ONNX Runtime has one for each column."""
    grams, columns, weights = [(2,), (3,), (5,), (5, 4), (7, 8)], [2, 0, 1, 3, 4], [1.5, 2.0, 0.5, 3.0, 1.0]
    x = np.array([[1, 5, 4, 2, 5, 4], [7, 3, 8, 7, 8, 2]])
    graph = f"""
    agraph (int64[N, M] x) => (float[N, K] y) {{
      y = TfIdfVectorizer <mode = "{mode}", min_gram_length = 1, max_gram_length = 2, max_skip_count = {skip},
        ngram_counts = [0, 3], ngram_indexes = {columns}, pool_int64s = {[t for gram in grams for t in gram]},
        weights = {weights}> (x)
    }}
    """
    counts = strings.n_gram_counts(x, grams, columns, (1, 2), skip)
    weight = np.array(weights, np.float32)[np.argsort(columns)]
    expected = {"TF": counts, "IDF": (counts > 0) * weight, "TFIDF": counts * weight}[mode]
    np.testing.assert_allclose(zoo.runner(parsed(graph), "tensorflow").run({"x": x})["y"], expected)
