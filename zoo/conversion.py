"""zoo.convert: a model in another format, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zoo.errors import BadInput, Disagreement, UsageError
from zoo.loaders import Changes, Model, canonical_of, resolve, source

if TYPE_CHECKING:
    import onnx_ir as ir

    from zoo.converters.runner import Runner, TensorSpec
    from zoo.converters.verify import Agreement
    from zoo.loaders import ModelLike


Samples = str | PathLike[str] | Iterable[Mapping[str, Any]]  # the path of an .npz, or feeds by the inputs' names


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, and how it was checked. `agreement` is None where the check was that the bytes are the same."""

    model: str
    to: str
    path: Path
    size_bytes: int
    checked: str
    agreement: Agreement | None


@dataclass(frozen=True, slots=True)
class Asked:
    """How it is to be written: an ONNX file's opset, the dtype of floating-point numbers, whether to check, samples."""

    opset: int | None
    dtype: str | None
    check: bool
    samples: Samples | None


def convert(
    model: ModelLike,
    to: str,
    out: str | PathLike[str],
    *,
    opset: int | None = None,
    dtype: str | None = None,
    check: bool = True,
    samples: Samples | None = None,
    **changes: Unpack[Changes],
) -> Conversion:
    """Write a model in the format `to` (`zoo formats`) at `out`, and check that it computes the same.

    `opset` is of an ONNX file, older or newer than the model's. `dtype` is float16, bfloat16, float32 or float64: of
    weights, constants, inputs and outputs; the outputs have to agree within the coarser dtype's tolerance. Of a TFLite
    file it is float32; float16, of the weights; int8-dynamic, weights of 8 bits; or int8, all in 8 bits by the ranges
    that `samples` have: an .npz of arrays by the inputs' names (of one input by any name), or dicts of them, with a
    first axis of samples. The outputs of such a file are compared for the first of them.

    A file or folder takes its place when it is whole and agrees; otherwise nothing is written. Raises UsageError or
    BadInput for what can't be asked, Disagreement when the outputs differ, and what `load` raises.
    """
    from zoo.converters.save import Staged, checked

    path = checked(to, Path(fspath(out)).expanduser())
    if opset is not None and to != "onnx":
        raise UsageError(f"a file of the format {to} has no opset: leave opset= out")
    if dtype is not None:
        _check_dtype(to, dtype)
    if samples is not None and to != "tflite":
        raise UsageError(f"a file of the format {to} is written without samples: leave samples= out")
    what = resolve(model, **changes)
    with Staged(path) as staged:
        said, agreement = WRITERS[to](what, staged, Asked(opset, dtype, check, samples))
        size_bytes = sum(file.stat().st_size for file in staged.parent.rglob("*") if file.is_file())
    return Conversion(what.name, to, path, size_bytes, said, agreement)


def _check_dtype(to: str, dtype: str) -> None:
    """Raise UsageError for a dtype that a format has not."""
    from zoo.converters.dtypes import dtype_of
    from zoo.converters.formats import TARGETS

    if not TARGETS[to].dtypes:
        dtype_of(dtype)
    elif dtype not in TARGETS[to].dtypes:
        raise UsageError(f"unknown dtype {dtype!r} of the format {to}", hint=f"Known: {', '.join(TARGETS[to].dtypes)}.")


def _onnx(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.dtypes import cast
    from zoo.converters.opsets import at_opset, check
    from zoo.converters.writers.onnx.writer import save

    made = bound = source(model)
    if asked.opset is not None and asked.opset != bound.opset_imports.get("", 0):
        made = at_opset(made, asked.opset)
    if asked.dtype is not None:
        made = cast(made, asked.dtype)
        check(made)
    save(made, path)
    if not asked.check:
        return "not checked", None
    said, runner = _opened(path, asked.dtype)
    given, rounded = _examples(model, bound, asked.dtype)
    return said, _accepted(_expected(bound, rounded), runner.run(given), model, bound, asked.dtype)


def _opened(path: Path, dtype: str | None) -> tuple[str, Runner]:
    """An ONNX file in ONNX Runtime; its processor lacks kernels for two dtypes, whose nodes compute in float32."""
    from zoo.converters import formats
    from zoo.converters.dtypes import computed_in_float32, dtype_of
    from zoo.converters.writers.onnx.runner import open_session
    from zoo.converters.writers.onnx.writer import session

    if dtype not in ("bfloat16", "float64"):
        return "ONNX Runtime: the file, and the graph without optimisation", open_session(path, device="cpu")
    graph = computed_in_float32(formats.read((path,)), dtype_of(dtype))
    return f"ONNX Runtime: the file, each node in float32 and its results in {dtype}", session(graph, device="cpu")


def _safetensors(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters import dtypes
    from zoo.converters.save import author_tensors, safetensors

    tensors = author_tensors(source(model))
    if asked.dtype is not None:
        tensors = dtypes.tensors(tensors, asked.dtype)
    safetensors(tensors, path)
    return _same_bytes(tensors, path, asked.check)


def _torch(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters import dtypes
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    target = framework("torch")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "torch")
    inputs, outputs = specs_of(bound, dtype=asked.dtype)
    module = writer.write(bound)
    tensors = writer.tensors(module)
    if asked.dtype is not None:
        tensors = dtypes.tensors(tensors, asked.dtype)
        module = writer.placed(module, device=None, dtype=asked.dtype)
    given, rounded = _examples(model, bound, asked.dtype)
    saving.save(module, path, inputs, given)
    if path.suffix.lower() != ".pt2":
        return _same_bytes(tensors, path, asked.check)
    if not asked.check:
        return "not checked", None
    got = dict(zip([o.name for o in outputs], saving.run_saved(path, inputs, given), strict=True))
    expected = _expected(source(model), rounded)
    return "torch.export.load and ONNX Runtime", _accepted(expected, got, model, bound, asked.dtype)


def _torch_source(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    if asked.dtype is not None:
        raise UsageError("a torch source is of its author's dtype: leave dtype= out", hint="module.to() casts it.")
    target = framework("torch")
    writer, saving = target.module("writer"), target.module("source")
    bound = canonical_of(model, "torch")
    inputs, outputs = specs_of(bound)
    module = writer.write(bound)
    given, _ = _examples(model, bound, None)
    saving.save(module, path, bound, inputs, given, _about(model, "torch-source"))
    if not asked.check:
        return "not checked", None
    got = dict(zip([o.name for o in outputs], saving.run(path, inputs, given, module), strict=True))
    said = "model.py in a process of its own, and ONNX Runtime; the state_dict is the same bit for bit"
    return said, _accepted(_expected(source(model), given), got, model, bound, None)


def _jax_source(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    return _plain_source(model, path, asked, "jax")


def _keras_source(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    return _plain_source(model, path, asked, "keras")


def _plain_source(model: Model, path: Path, asked: Asked, framework: str) -> tuple[str, Agreement | None]:
    """A folder that its framework's source writes and runs."""
    from zoo.converters.frameworks import framework as find
    from zoo.converters.whole import specs_of

    if asked.dtype is not None:
        raise UsageError(f"a {framework} source is of its author's dtype: leave dtype= out")
    saving = find(framework).module("source")
    bound = canonical_of(model, framework, "source")
    inputs, outputs = specs_of(bound)
    given, _ = _examples(model, bound, None)
    run = saving.save(path, bound, inputs, outputs, given, _about(model, f"{framework}-source"))
    if not asked.check:
        return "not checked", None
    got = dict(zip([o.name for o in outputs], run(), strict=True))
    said = "model.py in a process of its own, and ONNX Runtime"
    return said, _accepted(_expected(source(model), given), got, model, bound, None)


def _about(model: Model, to: str) -> str:
    """Whose model it is, under which licence, and what wrote it down."""
    from zoo.converters.save import MADE_BY
    from zoo.version import __version__

    if model.entry is None or model.weights is None:
        whose = [f"Made from {', '.join(path.name for path in model.paths) or model.name}."]
    else:
        stated = model.weights.license
        whose = [
            f"{model.entry.title} ({model.name}), published by {model.weights.publisher}.",
            f"Licence of the weights: {stated.weights or 'not stated'}"
            + (f", of the author's code: {stated.code}." if stated.code else "."),
        ]
    return "\n".join([whose[0], "", *whose[1:], f"{MADE_BY} {__version__} (`zoo convert --to {to}`)."])


def _saved_model(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework

    target = framework("tensorflow")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "tensorflow")
    module = writer.write(bound, channels=target.layout, dtype=asked.dtype)
    saving.saved_model(module, path, _about(model, "saved-model"))
    if not asked.check:
        return "not checked", None
    given, rounded = _examples(model, bound, asked.dtype)
    got = saving.run_saved_model(path, module.source, given)
    said = "tf.saved_model.load and ONNX Runtime"
    return said, _accepted(_expected(source(model), rounded), got, model, bound, asked.dtype)


def _tflite(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    target = framework("tensorflow")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "tensorflow")
    module = writer.write(bound, channels=target.layout)
    samples = None if asked.samples is None else list(_samples(asked.samples, specs_of(bound)[0]))
    saving.tflite(module, path, asked.dtype or "float32", samples)
    if not asked.check:
        return "not checked", None
    given = samples[0] if samples else _examples(model, bound, None)[0]  # what the ranges are of
    got = saving.run_tflite(path, module.source, given)
    return "TFLite's interpreter and ONNX Runtime", _accepted(
        _expected(source(model), given), got, model, bound, asked.dtype
    )


def _keras(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    target = framework("keras")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "keras")
    native, layouts = writer.written(bound, channels=target.layout, dtype=asked.dtype)
    saving.save(native, path)
    if not asked.check:
        return "not checked", None
    given, rounded = _examples(model, bound, asked.dtype)
    got = saving.run_saved(path, layouts, *specs_of(bound, dtype=asked.dtype), given)
    said = "keras.saving.load_model and ONNX Runtime"
    return said, _accepted(_expected(source(model), rounded), got, model, bound, asked.dtype)


def _stablehlo(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    target = framework("jax")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "jax")
    inputs, outputs = specs_of(bound, dtype=asked.dtype)
    given, rounded = _examples(model, bound, asked.dtype)
    fixed = saving.save(writer.write(bound), path, inputs, given, asked.dtype)
    only = f", for {', '.join(f'{name} = {size}' for name, size in fixed.items())} alone" if fixed else ""
    if not asked.check:
        return f"not checked{only}", None
    got = dict(zip([o.name for o in outputs], saving.run_saved(path, inputs, outputs, given), strict=True))
    return f"jax.export.deserialize and ONNX Runtime{only}", _accepted(
        _expected(source(model), rounded), got, model, bound, asked.dtype
    )


def _mxnet(model: Model, path: Path, asked: Asked) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.whole import specs_of

    target = framework("mxnet")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "mxnet")
    saving.save(writer.write(bound, dtype=asked.dtype), path)
    if not asked.check:
        return "not checked", None
    given, rounded = _examples(model, bound, asked.dtype)
    got = saving.run_saved(path, *specs_of(bound, dtype=asked.dtype), given)
    said = "both files in MXNet, and ONNX Runtime"
    return said, _accepted(_expected(source(model), rounded), got, model, bound, asked.dtype)


def _samples(given: Samples, specs: list[TensorSpec]) -> Iterator[dict[str, Any]]:
    """What a model is fed in turn: of a file one sample, or as many as its batch has. Raises BadInput."""
    from zoo.converters.writers.onnx.runner import check

    for feeds in _slices(given, specs) if isinstance(given, (str, PathLike)) else map(dict, given):
        check(specs, feeds)
        yield feeds


def _slices(given: str | PathLike[str], specs: list[TensorSpec]) -> Iterator[dict[str, Any]]:
    """The arrays of an .npz, a batch at a time; the only one of a model of one input by whatever name."""
    import numpy as np

    path = Path(fspath(given)).expanduser()
    try:
        arrays = dict(np.load(path, allow_pickle=False))
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{path}: no .npz of arrays: {error}") from error
    if len(arrays) == len(specs) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    if missing := [spec.name for spec in specs if spec.name not in arrays]:
        raise BadInput(f"{path} has no array {missing[0]!r}", hint=f"It has {', '.join(arrays)}.")
    if scalars := [spec.name for spec in specs if arrays[spec.name].ndim == 0]:
        raise BadInput(f"{path}: the array {scalars[0]!r} has no first axis of samples")
    size = next((spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)), 1)
    count = min(len(arrays[spec.name]) for spec in specs)
    if count < max(size, 1):
        raise BadInput(f"{path} has {count} samples, a batch of the model is {size}")
    for start in range(0, count - size + 1, size):
        yield {spec.name: arrays[spec.name][start : start + size].astype(spec.dtype, copy=False) for spec in specs}


WRITERS = {
    "onnx": _onnx,
    "safetensors": _safetensors,
    "torch": _torch,
    "torch-source": _torch_source,
    "keras-source": _keras_source,
    "jax-source": _jax_source,
    "keras": _keras,
    "h5": _keras,
    "saved-model": _saved_model,
    "stablehlo": _stablehlo,
    "tflite": _tflite,
    "mxnet": _mxnet,
}


def _same_bytes(tensors: Any, path: Path, check: bool) -> tuple[str, None]:
    """Read a file of weights back: every tensor is there, bit for bit."""
    import numpy as np

    from zoo.converters.tensors import read

    if not check:
        return "not checked", None
    back = read(path)
    differing = [
        n for n, t in tensors.items() if n not in back or not _equal(np.asarray(back[n]), np.asarray(t.numpy()))
    ]
    if differing or len(back) != len(tensors):
        raise Disagreement(f"{path.name}: {len(differing)} tensors read back otherwise than written: {differing[:3]}")
    return f"{len(back):,} tensors read back bit for bit", None


def _equal(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def _examples(model: Model, bound: ir.Model, dtype: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seeded inputs in a dtype, and the same numbers in the dtypes of the model itself."""
    from zoo.converters.dtypes import array
    from zoo.converters.whole import specs_of
    from zoo.examples import feeds

    examples = feeds(bound, specs_of(bound)[0], model.weights)
    if dtype is None:
        return examples, examples
    given = {name: array(value, dtype) for name, value in examples.items()}
    return given, {name: value.astype(examples[name].dtype) for name, value in given.items()}


def _expected(bound: ir.Model, examples: dict[str, Any]) -> dict[str, Any]:
    """What the graph gives in ONNX Runtime, with nothing optimised."""
    from zoo.converters.writers.onnx.writer import session

    return session(bound, device="cpu", plain=True).run(examples)


def _accepted(
    expected: dict[str, Any], got: dict[str, Any], model: Model, bound: ir.Model, dtype: str | None
) -> Agreement:
    """How they agree, within the tolerance of the coarser dtype. Raises Disagreement."""
    from zoo.converters.dtypes import main_dtype
    from zoo.converters.verify import TOLERANCES, compare

    dtypes = (dtype or "float32", main_dtype(bound).numpy().name)
    agreement = compare(expected, got, dtype=max(dtypes, key=TOLERANCES.__getitem__))
    if not agreement.agrees:
        step = "`zoo verify` compares the frameworks."
        step = "With dtype int8-dynamic the weights alone have 8 bits." if dtype == "int8" else step
        raise Disagreement(
            f"{model.name}: the written model differs by {agreement.mean_relative or agreement.max_relative:.1e}, "
            f"more than {agreement.tolerance:.0e}",
            hint=f"Nothing was written. {step}",
        )
    return agreement
