"""Sequences, optionals and strings in torch: through the graph, as inputs and as outputs."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import zoo
from zoo.errors import BadInput, HubError, UnsupportedOps

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
RNG = np.random.default_rng(0)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def words(*items):
    return np.array(items, dtype=object)


def model(text):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 28]>\n{text}')


def compare(want, got):
    if want is None or got is None:
        assert want is got
    elif isinstance(want, list):
        assert len(want) == len(got)
        for a, b in zip(want, got, strict=True):
            compare(a, b)
    else:
        want, got = np.asarray(want), np.asarray(got)
        assert want.shape == got.shape
        if want.dtype.kind in "OSU":
            assert want.tolist() == got.tolist()
        else:
            assert want.dtype == got.dtype
            np.testing.assert_allclose(got, want, rtol=1e-6)


def check(text, feeds):
    proto = model(text)
    expected = ReferenceEvaluator(proto).run(None, feeds)
    for want, got in zip(expected, zoo.runner(proto, "torch").run(feeds).values(), strict=True):
        compare(want, got)


SEQUENCES = {
    "insert at every place": (
        """g (seq(float[N]) s, float[N] x, int64 at) => (seq(float[N]) y, seq(float[N]) z, int64 n) {
          y = SequenceInsert(s, x, at)  z = SequenceInsert(s, x)  n = SequenceLength(y) }""",
        [{"s": [f(2), f(3)], "x": f(1), "at": np.array(at)} for at in (-2, -1, 0, 1)],
    ),
    "erase from every place": (
        """g (seq(float[N]) s, int64 at) => (seq(float[N]) y, seq(float[N]) z) {
          y = SequenceErase(s, at)  z = SequenceErase(s) }""",
        [{"s": [f(2), f(3)], "at": np.array(at)} for at in (-2, -1, 0, 1)],
    ),
    "an item by a computed place": (
        "g (seq(float[N]) s, int64 at) => (float[N] y) { y = SequenceAt(s, at) }",
        [{"s": [f(2), f(3)], "at": np.array(at)} for at in (-1, 0, 1)],
    ),
    "concatenated and stacked": (
        """g (seq(float[N,M]) s) => (float[A,B] y, float[A2,B2,C2] z) {
          y = ConcatFromSequence <axis = -1> (s)  z = ConcatFromSequence <axis = -1, new_axis = 1> (s) }""",
        [{"s": [f(2, 3), f(2, 3)]}, {"s": [f(2, 3)]}],
    ),
    "constructed, with a number that is known": (
        """g (float[N] x) => (seq(float[N]) y, seq(int64[M]) z) {
          h = Shape(x)  c = Constant <value_ints = [7]>()
           y = SequenceConstruct(x, x)  z = SequenceConstruct(h, c) }""",
        [{"x": f(3)}],
    ),
    "split into parts of one size": (
        """g (float[N,M] x) => (seq(float[A,B]) y, seq(float[A2,B2]) z, seq(float[C]) v) {
          two = Constant <value_int = 2>()  sizes = Constant <value_ints = [1, 4]>()
          y = SplitToSequence <axis = 0> (x, two)  z = SplitToSequence <axis = -1, keepdims = 0> (x, sizes)
          v = SplitToSequence <keepdims = 0> (x) }""",
        [{"x": f(3, 5)}],
    ),
    "split into computed parts": (
        "g (float[N,M] x, int64[K] sizes) => (seq(float[A,B]) y) { y = SplitToSequence <axis = 1> (x, sizes) }",
        [{"x": f(3, 5), "sizes": np.array([2, 0, 3])}],
    ),
}


@pytest.mark.parametrize(("text", "several"), SEQUENCES.values(), ids=SEQUENCES)
def test_a_sequence(text, several):
    for feeds in several:
        check(text, feeds)


def test_an_item_goes_behind_the_last_by_a_place_or_by_none():
    """The reference evaluator puts that of place n first, and fills no sequence in a loop."""
    runner = zoo.runner(
        model("""g (seq(float[N]) s, float[N] x, int64 at) => (seq(float[N]) y) {
      y = SequenceInsert(s, x, at) }"""),
        "torch",
    )
    given, x = [f(2), f(3)], f(1)
    compare([*given, x], runner.run({"s": given, "x": x, "at": np.array(2)})["y"])
    runner = zoo.runner(
        model("""g (float[N] x, int64 n) => (seq(float[M]) y) {
      e = SequenceEmpty()
      y = Loop (n, , e) <body = b (int64 i, bool c, seq(float[M]) s) => (bool d, seq(float[M]) t) {
        d = Identity(c)  k = Cast <to = 1> (i)  v = Mul(x, k)  t = SequenceInsert(s, v) }>
    }"""),
        "torch",
    )
    for n in (0, 1, 3):
        compare([x * np.float32(i) for i in range(n)], runner.run({"x": x, "n": np.array(n)})["y"])


def test_a_place_outside_of_a_sequence_is_an_error():
    runner = zoo.runner(model("g (seq(float[N]) s, int64 i) => (float[N] y) { y = SequenceAt(s, i) }"), "torch")
    with pytest.raises(HubError, match="torch failed: IndexError: list index out of range"):
        runner.run({"s": [f(2)], "i": np.array(1)})


def test_what_is_no_sequence_of_the_right_dtype_is_refused_by_name():
    runner = zoo.runner(model("g (seq(float[N]) s) => (int64 n) { n = SequenceLength(s) }"), "torch")
    assert "seq(float32)" == runner.inputs[0].dtype
    with pytest.raises(BadInput, match=r"input 's' is a ndarray, the model wants a list of arrays of float32"):
        runner.run({"s": f(2)})
    with pytest.raises(BadInput, match=r"input 's' has an item 1 that is float64, the model wants float32"):
        runner.run({"s": [f(2), np.zeros(2)]})


OPTIONAL = """g (optional(float[N]) o) => (bool h, float[N] y) {
  h = OptionalHasElement(o)
  y = If (h) <then_branch = a () => (float[N] p) { p = OptionalGetElement(o) },
              else_branch = b () => (float[N] p) { p = Constant <value_floats = [7.0]>() }>
}"""


def test_an_optional_that_is_absent_and_one_that_is_there():
    runner = zoo.runner(model(OPTIONAL), "torch")
    assert "optional(float32)" == runner.inputs[0].dtype
    x = f(2)
    there, absent = runner.run({"o": x}), runner.run({"o": None})
    assert (True, False) == (there["h"], absent["h"])
    compare(x, there["y"])
    compare(np.float32([7]), absent["y"])


def test_the_element_of_an_absent_optional_is_an_error():
    runner = zoo.runner(model("g (optional(float[N]) o) => (float[N] y) { y = OptionalGetElement(o) }"), "torch")
    with pytest.raises(HubError, match="torch failed: ValueError: the element of an optional that has none"):
        runner.run({"o": None})


def test_a_module_with_sequences_copies_and_takes_gradients():
    module = zoo.load(
        model("""g (float[N,M] x) => (float[A,B] y) {
          two = Constant <value_int = 2>()
          s = SplitToSequence <axis = 0> (x, two)
          at = Constant <value_int = -1>()
          r = SequenceErase(s, at)
          y = ConcatFromSequence <axis = 0> (r)
        }"""),
        "torch",
    )
    x = torch.randn(5, 2, requires_grad=True)
    copy.deepcopy(module)(x).sum().backward()
    assert [1, 1, 1, 1, 0] == x.grad[:, 0].tolist()


TEXTS = {
    "concatenated, compared and chosen": (
        """g (string[N] a, string[N] b, bool[N] c) => (string[N] y, bool[N] e, string[N] w) {
          y = StringConcat(a, b)  e = Equal(a, b)  w = Where(c, a, b) }""",
        {"a": words("a", "", "ü"), "b": words("b", "", "x"), "c": np.array([True, False, True])},
    ),
    "moved about": (
        """g (string[2,3] a) => (string[6] r, string[3,2] t, string[2] p, string[1,2,3] u, string[2,6] c, int64[2] s) {
          shape = Constant <value_ints = [-1]>()  zero = Constant <value_ints = [0]>()  at = Constant <value_int = 1>()
          r = Reshape(a, shape)  t = Transpose(a)  p = Gather <axis = 1> (a, at)  u = Unsqueeze(a, zero)
          c = Concat <axis = 1> (a, a)  s = Shape(a) }""",
        {"a": np.array([["a", "b", "c"], ["d", "e", "f"]], dtype=object)},
    ),
    "cut, spread and repeated": (
        """g (string[4] a) => (string[2] s, string[2,4] e, string[8] t, string[1] p, string[3] q) {
          one = Constant <value_ints = [1]>()  three = Constant <value_ints = [3]>()
          shape = Constant <value_ints = [2, 1]>()  two = Constant <value_ints = [2]>()
          sizes = Constant <value_ints = [1, 3]>()
          s = Slice(a, one, three)  e = Expand(a, shape)  t = Tile(a, two)  p, q = Split(a, sizes) }""",
        {"a": words("a", "b", "c", "d")},
    ),
    "constants of the graph": (
        """g (int64[N] i) => (string[N] y, string z) {
          names = Constant <value_strings = ["null", "eins", "zwei"]>()
          y = Gather(names, i)  z = Constant <value_string = "whole">() }""",
        {"i": np.array([2, 0, -1])},
    ),
    "through a branch and a sequence": (
        """g (string[N] a, string[N] b, bool c) => (string[N] y, seq(string[N]) s) {
          y = If (c) <then_branch = t () => (string[N] p) { p = StringConcat(a, b) },
                      else_branch = e () => (string[N] p) { p = Identity(b) }>
          s = SequenceConstruct(a, y) }""",
        {"a": words("a", "b"), "b": words("x", "y"), "c": np.array(True)},
    ),
    "matched as a whole": (
        'g (string[N] a) => (bool[N] y) { y = RegexFullMatch <pattern = "[a-c]+\\\\d?"> (a) }',
        {"a": words("abc", "abc1", "x", "")},
    ),
}


@pytest.mark.parametrize(("text", "feeds"), TEXTS.values(), ids=TEXTS)
def test_strings(text, feeds):
    check(text, feeds)


def test_strings_split_at_whitespace_and_at_a_delimiter():
    check(
        """g (string[N] a) => (string[N,M] y, int64[N] n, string[N,K] z, int64[N] m) {
          y, n = StringSplit(a)  z, m = StringSplit <delimiter = ",", maxsplit = 1> (a) }""",
        {"a": words("a b  c", "a,b,c", "")},
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint8", "int64"])
def test_numbers_come_from_text_and_go_to_it(dtype):
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model(f"""g (string[N] a) => (string[N] y) {{
      n = Cast <to = {kind}> (a)  y = Cast <to = 8> (n) }}""")
    assert ["3", "10", "0"] == [
        str(int(float(word))) for word in zoo.runner(proto, "torch").run({"a": words("3", "1e1", "0")})["y"]
    ]
    element = {"float32": "float", "float64": "double"}.get(dtype, dtype)
    proto = model(f"g (string[N] a) => ({element}[N] y) {{ y = Cast <to = {kind}> (a) }}")
    assert np.dtype(dtype) == zoo.runner(proto, "torch").run({"a": words("3", "4")})["y"].dtype


def test_special_numbers_have_their_names():
    proto = model("g (string[N] a) => (float[N] y, string[N] z) { y = Cast <to = 1> (a)  z = Cast <to = 8> (y) }")
    made = zoo.runner(proto, "torch").run({"a": words("NaN", "inf", "-INF", "1e-5", "0.1")})
    compare(np.float32([np.nan, np.inf, -np.inf, 1e-5, 0.1]), made["y"])
    assert ["NaN", "INF", "-INF", "1e-05", "0.1"] == made["z"].tolist()


def test_an_operator_that_has_no_strings_here_is_listed_before_any_work():
    text = "g (string[N] a, int64[N] i, string[N] u) => (string[N] y) { y = ScatterElements(a, i, u) }"
    with pytest.raises(UnsupportedOps, match="ScatterElements of strings"):
        zoo.load(model(text), "torch")


def test_a_pattern_and_a_locale_that_python_lacks_are_refused_by_name():
    with pytest.raises(HubError, match=r"pattern '\(\?P<'"):
        zoo.load(model('g (string[N] a) => (bool[N] y) { y = RegexFullMatch <pattern = "(?P<"> (a) }'), "torch")
    with pytest.raises(HubError, match="locale 'tr_TR'"):
        zoo.load(model('g (string[N] a) => (string[M] y) { y = StringNormalizer <locale = "tr_TR"> (a) }'), "torch")


def test_stopwords_go_whatever_their_case_is():
    proto = model("""g (string[N] a) => (string[M] y, string[K] z) {
      y = StringNormalizer <case_change_action = "UPPER", stopwords = ["Der", "ist"]> (a)
      z = StringNormalizer <is_case_sensitive = 1, stopwords = ["Der", "ist"]> (a) }""")
    made = zoo.runner(proto, "torch").run({"a": words("der", "Hund", "IST")})
    assert (["HUND"], ["der", "Hund", "IST"]) == (made["y"].tolist(), made["z"].tolist())


def n_grams(x, attributes):
    """TfIdfVectorizer as the specification says it, one n-gram after the other."""
    pool, starts = attributes["pool"], [*attributes["ngram_counts"], len(attributes["pool"])]
    grams = [
        tuple(pool[at : at + n])
        for n, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), 1)
        for at in range(start, end, n)
    ]
    made = np.zeros((len(x), max(attributes["ngram_indexes"]) + 1), np.float32)
    for row, line in enumerate(x.tolist()):
        for n in range(attributes["min_gram_length"], attributes["max_gram_length"] + 1):
            for gap in range(1, (attributes["max_skip_count"] if n > 1 else 0) + 2):
                for start in range(len(line) - (n - 1) * gap):
                    gram = tuple(line[start + k * gap] for k in range(n))
                    if gram in grams:
                        made[row, attributes["ngram_indexes"][grams.index(gram)]] += 1
    return made


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 3), (2, 2), (2, 3)])
def test_n_grams_are_counted(mode, skip, low, high):
    attributes = {
        "pool": [2, 3, 5, 2, 3, 3, 3, 9, 1, 2, 3, 5, 5, 5, 5],
        "ngram_counts": [0, 3, 9],
        "ngram_indexes": [0, 3, 1, 2, 6, 4, 5, 7],
        "min_gram_length": low,
        "max_gram_length": high,
        "max_skip_count": skip,
    }
    weights = np.linspace(0.5, 2, 8).astype(np.float32)
    x = RNG.integers(1, 6, (3, 9))
    given = {k: v for k, v in attributes.items() if k != "pool"} | {"mode": mode, "weights": weights.tolist()}
    names = np.array([f"w{n}" for n in range(10)], dtype=object)
    for kind, pool, value in (("int64s", attributes["pool"], x), ("strings", names[attributes["pool"]], names[x])):
        node = onnx.helper.make_node("TfIdfVectorizer", ["x"], ["y"], **given, **{f"pool_{kind}": list(pool)})
        dtype = onnx.TensorProto.STRING if kind == "strings" else onnx.TensorProto.INT64
        graph = onnx.helper.make_graph(
            [node],
            "g",
            [onnx.helper.make_tensor_value_info("x", dtype, ["N", "C"])],
            [onnx.helper.make_tensor_value_info("y", 1, ["N", 8])],
        )
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
        counts, by_column = n_grams(x, attributes), np.ones(8, np.float32)
        by_column[attributes["ngram_indexes"]] = weights
        want = {"TF": counts, "IDF": (counts > 0) * by_column, "TFIDF": counts * by_column}[mode]
        runner = zoo.runner(proto, "torch")
        np.testing.assert_allclose(runner.run({"x": value})["y"], want, rtol=1e-6)
        assert not runner.run({"x": value[:, :0]})["y"].any()
