"""A module as files: a SavedModel (a folder), and TFLite (a file) in float32, float16 and 8 bits; and run from them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo.converters.runner import Array
from zoo.converters.writers.tensorflow.browser import CONVERTER, VERSION, lacking
from zoo.converters.writers.tensorflow.module import Module, Source
from zoo.converters.writers.tensorflow.runner import from_numpy, to_numpy
from zoo.errors import HubError, UsageError

Feeds = Mapping[str, Array]  # by the author's names, in his layout
KINDS = ("float32", "float16", "int8-dynamic", "int8")
README = "README.md"


def saved_model(module: Module, folder: Path, about: str) -> None:
    """Write a SavedModel with the signature `serving_default`, the call in both modes, and a README.

    Raises UsageError for a model that is no graph.
    """
    module.specs()
    tf.saved_model.save(module, str(folder))
    (folder / README).write_text(f"{about}\n\n{_shown(module)}", encoding="utf-8")


def _shown(module: Module) -> str:
    """How the folder is opened, what it takes and gives, and whether TensorFlow.js has what it is made of."""
    inputs = [f"    {spec.name}: {spec.dtype.name} {list(spec.shape)}" for spec in module.specs()]
    outputs = [f"    {name}" for name in module.source.program.outputs]
    lines = [
        "    model = tf.saved_model.load(FOLDER)",
        "    model(*inputs), model(*inputs, training=True)",
        '    model.signatures["serving_default"](**inputs)',
    ]
    lines += ["", "Inputs:", "", *inputs, "", "Outputs:", "", *outputs, ""]
    if lacks := lacking(module.serving()):
        lines += [f"TensorFlow.js {VERSION} lacks {', '.join(lacks)}.", ""]
    else:
        lines += [f"In TensorFlow.js ({VERSION} has all of its operators):", "", f"    {CONVERTER} FOLDER OUT", ""]
    return "\n".join(lines)


def run_saved_model(folder: Path, source: Source, feeds: Feeds) -> dict[str, Array]:
    """The outputs of a SavedModel's `serving_default`, in the author's layout."""
    serving = tf.saved_model.load(str(folder)).signatures["serving_default"]
    given = {name: from_numpy(array) for name, array in as_saved(source, feeds)}
    return as_author(source, {name: to_numpy(x) for name, x in serving(**given).items()})


def tflite(module: Module, path: Path, kind: str = "float32", samples: Iterable[Feeds] | None = None) -> None:
    """Write a TFLite file of TFLite's own operators.

    `kind` is float32; float16, of the weights; int8-dynamic, weights of 8 bits and activations as they come; or int8,
    all computed in 8 bits, by the ranges that `samples` have, with inputs and outputs that stay as they are.

    Raises UsageError for another kind and for int8 without samples; HubError for operators that TFLite lacks.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown dtype {kind!r} of a TFLite file", hint=f"Known: {', '.join(KINDS)}.")
    if (kind == "int8") != (samples is not None):
        raise UsageError("samples say which ranges the numbers have: a TFLite file of int8 wants them, no other does")
    holder = tf.Module()  # of the variables alone: the call in both modes is not asked for
    holder.held, holder.generators = module.held, module.generators
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(holder, folder, signatures=module.serving(is_lite=True))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if samples is not None:
            converter.representative_dataset = lambda: _representative(module.source, samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        try:
            path.write_bytes(converter.convert())
        except Exception as error:
            reason = " ".join(str(error).split())[:600]
            raise HubError(f"TFLite's converter refuses the model: {reason}") from error


def _representative(source: Source, samples: Iterable[Feeds]) -> Iterator[dict[str, Array]]:
    for feeds in samples:
        yield dict(as_saved(source, feeds))


def run_tflite(path: Path, source: Source, feeds: Feeds) -> dict[str, Array]:
    """The outputs of a TFLite file, in the author's layout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces that its interpreter moves to a package of its own
        interpreter = tf.lite.Interpreter(model_path=str(path))
    made = interpreter.get_signature_runner("serving_default")(**dict(as_saved(source, feeds)))
    return as_author(source, {name: np.asarray(x) for name, x in made.items()})


def as_saved(source: Source, feeds: Feeds) -> Iterator[tuple[str, Array]]:
    """The author's arrays by the names of the signature, in the model's layout."""
    for name, argument in zip(source.inputs, source.arguments, strict=True):
        perm = source.layouts.inputs.get(name)
        yield argument, feeds[name] if perm is None else np.ascontiguousarray(np.transpose(feeds[name], perm))


def as_author(source: Source, made: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs in the author's layout."""
    perms = source.layouts.outputs
    return {name: x if name not in perms else np.transpose(x, np.argsort(perms[name])) for name, x in made.items()}
