"""Predictors over small real graphs, run by ONNX Runtime."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from zoo.converters.runner import TensorSpec
from zoo.errors import BadInput
from zoo.inference.predictor import Predictor
from zoo.tasks import processor
from zoo.tasks.results import Classification

IMAGE = {"size": [8, 8], "interpolation": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3}
COLOURS = ["red", "green", "blue"]
WORDS = ["[PAD]", "[UNK]", "cat", "dog", "car", "road", "the", "a"]
DTYPES = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 10: "float16"}


class Session:
    """A Runner that counts: how many rows each run had."""

    def __init__(self, nodes, inputs, outputs, weights=()) -> None:
        graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = ([self.spec(value) for value in values] for values in (inputs, outputs))
        self.rows: list[int] = []

    @staticmethod
    def spec(value) -> TensorSpec:
        tensor = value.type.tensor_type
        shape = tuple(size.dim_param or size.dim_value for size in tensor.shape.dim)
        return TensorSpec(value.name, DTYPES[tensor.elem_type], shape)

    def run(self, feeds):
        self.rows.append(len(next(iter(feeds.values()))))
        return dict(zip([spec.name for spec in self.outputs], self.session.run(None, dict(feeds)), strict=True))


def colours(batch: int | str = "N", dtype: int = TensorProto.FLOAT) -> Session:
    """The mean of each channel, ten times."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "ten"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("pixels", dtype, [batch, 3, "H", "W"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])]
    return Session(nodes, inputs, outputs, [("ten", np.array(10, np.float32))])


def words(*names: str, dtype: int = TensorProto.INT64) -> Session:
    """Each token's vector: cat and dog near to each other, car and road as well; padding far from all."""
    table = np.array([(9, 9, 9), (0, 0, 0.1), (1, 0.2, 0), (1, 0, 0), (0, 1, 0), (0.1, 1, 0), (0, 0, 0.1), (0, 0, 0.1)])
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["states"])]
    inputs = [helper.make_tensor_value_info(name, dtype, ["N", "T"]) for name in names]
    outputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["N", "T", 3])]
    return Session(nodes, inputs, outputs, [("table", table.astype(np.float32))])


@pytest.fixture
def tokenizer(tmp_path) -> Path:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def sentences(tokenizer):
    made = processor(
        "sentence-embedding",
        input={"text": {"max_length": 6}},
        output={"pooling": "mean", "normalize": "l2"},
        files={"tokenizer": tokenizer},
    )
    return lambda runner, **options: Predictor(runner, made, **options)


def classifier(runner=None, *, batch_size="auto", **image) -> Predictor:
    made = processor("image-classification", input={"image": {**IMAGE, **image}}, labels=COLOURS)
    return Predictor(runner or colours(), made, batch_size=batch_size)


def plain(colour: str, size=(20, 10)) -> Image.Image:
    return Image.new("RGB", size, colour)


# ---- one, many, a stream -------------------------------------------------------------------------------------------


def test_one_input_gives_one_answer_and_a_list_gives_a_list(tmp_path):
    plain("blue").save(tmp_path / "sea.png")
    predict = classifier()
    answer = predict(tmp_path / "sea.png")
    assert isinstance(answer, Classification)
    assert ("blue", 1) == (answer.label, len(predict([tmp_path / "sea.png"])))
    assert ["red", "blue"] == [answer.label for answer in predict((plain("red"), str(tmp_path / "sea.png")))]
    assert [] == predict([])


def test_a_stream_is_in_order_whatever_the_batches_are():
    names = [COLOURS[i % 3] for i in range(23)]
    for size in (1, 2, 5, 23, 100, "auto"):
        predict = classifier(batch_size=size)
        pictures = [plain("lime" if name == "green" else name) for name in names]
        assert names == [answer.label for answer in predict.stream(iter(pictures))]
        runner = predict.runners[""]
        assert sum(runner.rows) == 23 and max(runner.rows) == min(23, 23 if size == "auto" else size)


def test_a_stream_takes_no_more_than_a_batch_ahead():
    taken = []

    def endless() -> Iterator[Image.Image]:
        for i in count():
            taken.append(i)
            yield plain("red")

    stream = classifier(batch_size=4).stream(endless())
    assert taken == []
    next(stream)
    assert len(taken) == 4
    assert 7 == len(list(islice(stream, 7)))
    assert len(taken) == 8


def test_a_long_stream_is_held_in_bounded_memory():
    predict = classifier(size=[224, 224])
    picture = plain("red", (224, 224))
    list(predict.stream([picture] * 4))
    tracemalloc.start()
    assert 150 == sum(1 for _ in predict.stream(picture for _ in range(150)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(predict.runners[""].rows) == 32
    assert peak < 4 * 32 * 3 * 224 * 224 * 4


def test_large_inputs_make_small_batches():
    predict = classifier(size=[1024, 1024])
    list(predict.stream([plain("red")] * 6))
    assert [2, 2, 2] == predict.runners[""].rows


def test_the_tasks_options_go_with_the_input():
    predict = classifier()
    assert 1 == len(predict(plain("red"), top_k=1))
    assert [2, 2] == [len(answer) for answer in predict([plain("red")] * 2, top_k=2)]
    with pytest.raises(TypeError, match="top"):
        predict(plain("red"), top=1)


# ---- wrong input ---------------------------------------------------------------------------------------------------


def test_a_wrong_input_is_named_by_its_path_and_its_place(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    predict = classifier()
    with pytest.raises(BadInput, match=r"^\S*notes.txt: not an image"):
        predict(tmp_path / "notes.txt")
    with pytest.raises(BadInput, match=r"^input 1: \S*notes.txt: not an image"):
        predict([plain("red"), tmp_path / "notes.txt"])


def test_a_stream_gives_the_answers_before_a_wrong_input():
    stream = classifier(batch_size=4).stream([plain("red")] * 6 + [b"junk"] + [plain("blue")])
    assert 6 == len(list(islice(stream, 6)))
    with pytest.raises(BadInput, match="input 6: 4 bytes: not an image"):
        next(stream)


def test_a_stream_can_go_on_with_the_error_in_its_place():
    inputs = [b"", plain("red"), b"junk", plain("blue"), "none.png"]
    for size in (1, 2, 3, "auto"):
        answers = list(classifier(batch_size=size).stream(inputs, errors="return"))
        assert [BadInput, Classification, BadInput, Classification, BadInput] == [type(answer) for answer in answers]
        assert ["red", "blue"] == [answers[1].label, answers[3].label]
        assert "input 4: none.png: no such file" == str(answers[4])
    assert 2 == len(list(classifier(batch_size=2).stream([b"", b"junk"], errors="return")))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda predict: predict(iter([plain("red")])), "Use predictor.stream"),
        (lambda predict: predict(None), "NoneType is no picture"),
        (lambda predict: predict(np.zeros((2, 8, 8, 3), np.uint8)), "Give a list"),
        (lambda predict: predict.stream("photo.jpg"), "stream wants many inputs"),
        (lambda predict: predict.stream(3), "stream wants many inputs"),
        (lambda predict: predict.stream([], errors="ignore"), "errors: expected raise or return"),
        (lambda predict: predict(plain("red"), top_k=0), "top_k: expected a whole number"),
        (lambda predict: predict.similarity(plain("red"), plain("blue")), "is of embeddings, and this model gives"),
        (lambda _: classifier(batch_size=0), "batch_size: expected 'auto' or a whole number"),
        (lambda _: classifier(batch_size=True), "batch_size"),
        (lambda _: classifier(channels="grey", mean=[0.0], std=[1.0]), r"is \[N, 3, H, W\], and input.image prepares"),
    ],
)
def test_a_wrong_call_is_an_error_that_says_how(call, words):
    with pytest.raises(BadInput, match=words):
        call(classifier())


# ---- graphs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_graph_of_a_fixed_batch_gets_just_that(fixed):
    predict = classifier(colours(batch=fixed))
    names = ["red", "blue", "red", "red", "blue", "blue"]
    assert names == [answer.label for answer in predict([plain(name) for name in names])]
    assert "blue" == predict(plain("blue")).label
    assert {fixed} == set(predict.runners[""].rows)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.UINT8])
def test_arrays_come_in_the_dtype_of_the_graph(dtype):
    image = {"scale": 1} if dtype == TensorProto.UINT8 else {}
    assert "red" == classifier(colours(dtype=dtype), **image)(plain("red")).label


# ---- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.INT32])
def test_the_padding_of_a_batch_changes_no_vector(sentences, dtype):
    predict = sentences(words("input_ids", "attention_mask", dtype=dtype))
    texts = ["cat", "the dog a car", "road road"]
    for text, answer in zip(texts, predict(texts), strict=True):
        np.testing.assert_allclose(predict(text).vector, answer.vector, atol=1e-6)
    assert [3, 1, 1, 1] == predict.runners[""].rows


def test_without_a_mask_each_text_is_run_alone(sentences):
    predict = sentences(words("input_ids"))
    assert 3 == len(predict(["cat", "the dog a car", "road road"]))
    assert [1, 1, 1] == predict.runners[""].rows


def test_similarity_is_a_number_or_a_matrix(sentences):
    predict = sentences(words("input_ids", "attention_mask"))
    assert predict.similarity("cat", "dog") > 0.9 > 0.2 > predict.similarity("cat", "car")
    assert 1.0 == pytest.approx(predict.similarity("the cat", "the cat"))
    assert isinstance(predict.similarity("cat", "dog"), float)
    assert ((2, 3), (1, 2)) == (
        predict.similarity(["cat", "dog"], ["car", "road", "a"]).shape,
        predict.similarity("cat", ["dog", "car"]).shape,
    )
    with pytest.raises(BadInput, match="nothing to compare"):
        predict.similarity([], [])


def test_texts_are_ranked_by_a_query(sentences):
    predict = sentences(words("input_ids", "attention_mask"))
    ranking = predict.rank("dog", ["road", "cat", "car", "cat", "the dog"])
    assert ["the dog", "cat", "cat", "road", "car"] == [ranked.text for ranked in ranking]
    assert [4, 1, 3, 0, 2] == [ranked.index for ranked in ranking]
    assert "dog" == ranking.to_dict()["query"] and 5 == len(str(ranking).splitlines())
    assert ["the dog"] == [ranked.text for ranked in predict.rank("dog", iter(["cat", "the dog"]), top_k=1)]
    assert 0 == len(predict.rank("dog", []))
    with pytest.raises(BadInput, match="was given one text"):
        predict.rank("dog", "cat")
    with pytest.raises(BadInput, match="input 2: int is no text"):
        predict.rank("dog", ["cat", 3])


def test_a_text_classifier_reads_texts(tokenizer):
    made = processor(
        "text-classification", input={"text": {"max_length": 4}}, labels="sst-2", files={"tokenizer": tokenizer}
    )
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["most", "four"], ["positive"]),
        helper.make_node("Neg", ["positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["logits"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", "T"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])]
    predict = Predictor(Session(nodes, inputs, outputs, [("four", np.array(4, np.float32))]), made)
    assert ["NEGATIVE", "POSITIVE"] == [answer.label for answer in predict(["cat", "road dog"])]
    assert "NEGATIVE  98.2 %" == str(predict("cat").best)
