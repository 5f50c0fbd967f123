from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from zoo.converters.runner import TensorSpec
from zoo.errors import BadInput, HubError, UnknownOutput
from zoo.tasks import TASKS, processor

IMAGE = {"size": [8, 8], "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
PHOTO = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
IMAGENET = processor("image-classification", input={"image": IMAGE}, labels="imagenet-1k")


def test_a_processor_is_made_of_json():
    given = {
        "task": "image-classification",
        "input": {"image": IMAGE},
        "output": {"top_k": 2},
        "labels": ["a", "b", "c"],
    }
    made = processor(**json.loads(json.dumps(given)))
    (answer,) = made.answers(np.array([[0, 2, 1]], np.float32))
    assert ["b", "c"] == [score.label for score in answer]
    assert answer.to_dict() == json.loads(json.dumps(answer.to_dict()))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_refuses_fields_that_it_does_not_know(task):
    with pytest.raises(BadInput):
        processor(task, input={"image": {**IMAGE, "colour": "grey"}}, output={"nonsense": 1}, labels=["a"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": "image-clasification"}, "unknown task 'image-clasification'  Did you mean 'image-classification'"),
        (
            {"task": "image-classification"},
            "expected `input.image`, which says how its author prepares it; it has nothing",
        ),
        ({"task": "image-classification", "input": {"text": {"max_length": 8}}}, "it has text"),
        ({"task": "image-classification", "input": {"image": IMAGE, "x": 1}}, "it has image, x"),
        ({"task": "image-classification", "input": {"image": 3}}, "input.image: expected fields, got 3"),
        ({"task": "image-classification", "input": {"image": IMAGE}, "labels": "imagenet"}, "no labels are known"),
        ({"task": "image-classification", "input": {"image": IMAGE}, "output": {"topk": 1}}, "Did you mean 'top_k'"),
        ({"task": "text-recognition", "input": {"image": IMAGE}}, "wants an alphabet"),
        ({"task": "ocr"}, "ocr wants a part 'detect'; it has none"),
    ],
)
def test_a_mistake_is_named(arguments, words):
    with pytest.raises(BadInput, match=words):
        processor(**arguments)


# ---- scores --------------------------------------------------------------------------------------------------------


def test_scores_are_probabilities_best_first():
    logits = np.zeros((1, 1000), np.float32)
    logits[0, [3, 7]] = 10, 11
    (answer,) = IMAGENET.answers({"logits": logits})
    assert [7, 3, 0, 1, 2] == [score.index for score in answer]
    assert ("stingray" != answer.label) and answer.best.score == pytest.approx(
        np.exp(11) / np.exp([11, 10]).sum(), rel=0.02
    )
    assert str(answer).splitlines()[0].startswith(f"{answer.label} ")
    assert 3 == len(IMAGENET.answers(logits, top_k=3)[0])
    assert 1000 == len(IMAGENET.answers(logits, top_k=5000)[0])


def test_huge_logits_overflow_nowhere():
    for activation, expected in (("softmax", [1, 0]), ("sigmoid", [1, 0])):
        made = processor("image-classification", input={"image": IMAGE}, output={"activation": activation})
        (answer,) = made.answers(np.array([[3e38, -3e38]], np.float32))
        assert expected == [score.score for score in answer]


def test_probabilities_of_the_graph_stay_what_they_are():
    made = processor("emotion", input={"image": IMAGE}, output={"activation": "none"}, labels="fer-2013")
    (answer,) = made.answers(np.array([[0, 0, 0, 0.75, 0, 0, 0.25]], np.float32))
    assert [("happy", 0.75), ("neutral", 0.25)] == [(score.label, score.score) for score in answer][:2]


def test_without_labels_the_class_is_its_number():
    made = processor("image-classification", input={"image": IMAGE})
    assert "class 1" == made.answers(np.array([[0, 1]], np.float32))[0].label


def test_half_precision_and_axes_of_one_are_scores_too():
    made = processor("image-classification", input={"image": IMAGE})
    assert "class 1" == made.answers(np.array([[0, 1]], np.float16).reshape(1, 2, 1, 1))[0].label


@pytest.mark.parametrize(
    ("outputs", "error", "words"),
    [
        (np.zeros((1, 10), np.float32), BadInput, "1,000 labels don't fit a model with 10 outputs"),
        (
            np.zeros((1, 2, 1000), np.float32),
            BadInput,
            r"class scores: the model gave an array of shape \[1, 2, 1000\]",
        ),
        ({"a": np.zeros((1, 1000)), "b": np.zeros((1, 9))}, BadInput, "2 outputs: 'a', 'b'"),
        (np.full((1, 1000), np.nan, np.float32), HubError, "no numbers"),
    ],
)
def test_outputs_that_are_no_scores_are_errors(outputs, error, words):
    with pytest.raises(error, match=words):
        IMAGENET.answers(outputs)


def test_rows_and_samples_must_be_as_many():
    with pytest.raises(BadInput, match=r"\[2, 1000\] for 1 inputs"):
        IMAGENET.answers(np.zeros((2, 1000), np.float32), [IMAGENET.read(PHOTO)])


# ---- features ------------------------------------------------------------------------------------------------------


def test_features_are_the_graphs_outputs_by_name():
    made = processor("feature-extraction", input={"image": IMAGE})
    outputs = {"layer4": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), "pool": np.ones((2, 3), np.float16)}
    first, second = made.answers(outputs, [made.read(PHOTO)] * 2)
    np.testing.assert_array_equal(outputs["layer4"][1], second["layer4"])
    assert ["layer4  float32 [3, 2, 2]  min 0, max 11", "pool  float16 [3]  min 1, max 1"] == str(first).splitlines()
    assert first.to_dict() == json.loads(json.dumps(first.to_dict()))
    named = processor("feature-extraction", input={"image": IMAGE}, output={"names": ["pool"]})
    assert ["pool"] == list(named.answers(outputs)[0])


def test_features_that_are_not_there_are_errors():
    made = processor("feature-extraction", input={"image": IMAGE}, output={"names": ["layer5"]})
    with pytest.raises(UnknownOutput, match="no output 'layer5'  Did you mean 'layer4'"):
        made.answers({"layer4": np.zeros((1, 3))})
    with pytest.raises(BadInput, match=r"output 'size' of shape \[\] has no row for each of 1 inputs"):
        processor("feature-extraction", input={"image": IMAGE}).answers({"a": np.zeros((1, 2)), "size": np.array(3)})


# ---- graphs --------------------------------------------------------------------------------------------------------


def spec(*shape, name="pixel_values", dtype="float32"):
    return TensorSpec(name, dtype, shape)


def test_the_array_has_the_name_of_the_graphs_input():
    fitted = IMAGENET.feeding([spec("N", 3, "H", "W")])
    assert (2, 3, 8, 8) == fitted.prepare([PHOTO, PHOTO])["pixel_values"].shape
    assert {"image"} == set(IMAGENET.prepare([PHOTO])), "the processor that it was made of is as it was"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([spec("N", 3, 9, 9)], r"'pixel_values' is \[N, 3, 9, 9\], and input.image prepares \[N, 3, 8, 8\]"),
        ([spec("N", 8, 8, 3)], r"is \[N, 8, 8, 3\], and"),
        ([spec("N", 1, 8, 8)], r"is \[N, 1, 8, 8\]"),
        ([spec("N", 192)], r"is \[N, 192\]"),
        ([spec("N", 3, 8, 8), spec("N", 2, name="b")], "the graph has 2: 'pixel_values', 'b'"),
        ([], "the graph has 0"),
        ([spec("N", 3, 8, 8, dtype="uint8")], "is uint8, and input.image prepares fractions"),
    ],
)
def test_a_graph_that_wants_something_else_is_refused(inputs, words):
    with pytest.raises(BadInput, match=words):
        IMAGENET.feeding(inputs)


def test_a_graph_that_normalises_by_itself_takes_bytes():
    plain = {**IMAGE, "mean": [0] * 3, "std": [1] * 3, "scale": 1, "layout": "NHWC"}
    made = processor("image-classification", input={"image": plain}).feeding([spec("N", 8, 8, 3, dtype="uint8")])
    np.testing.assert_array_equal(PHOTO[:8, :8], made.prepare([PHOTO[:8, :8]])["pixel_values"][0])


# ---- cost ----------------------------------------------------------------------------------------------------------


def test_a_processor_can_go_to_another_process():
    assert (1, 3, 8, 8) == pickle.loads(pickle.dumps(IMAGENET)).prepare([PHOTO])["image"].shape


@pytest.mark.parametrize(
    ("call", "absent"),
    [
        ("import zoo.tasks", ["PIL", "tokenizers", "onnx", "torch"]),
        ("import zoo.tasks.labels", ["PIL", "tokenizers", "onnx"]),
        ("import zoo.inference.predictor", ["PIL", "tokenizers", "onnx", "onnxruntime", "yaml", "requests"]),
        (
            f"import zoo.tasks; zoo.tasks.processor('emotion', input={{'image': {IMAGE}}})",
            ["tokenizers", "onnx", "zoo.tasks.ocr"],
        ),
        ("import zoo.tasks.sentence_embedding, zoo.tasks.text_reader", ["PIL", "onnx", "torch"]),
    ],
)
def test_only_what_a_task_needs_is_imported(call, absent):
    program = f"{call}\nimport sys; print([name for name in {absent} if name in sys.modules])"
    assert (
        "[]"
        == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    )
