"""zoo.convert: a model in another format, checked."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zoo.errors import Disagreement, UsageError
from zoo.loaders import Changes, Model, canonical_of, resolve, source, specs_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from zoo.converters.verify import Agreement
    from zoo.loaders import ModelLike


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, and how it was checked. `agreement` is None where the check was that the bytes are the same."""

    model: str
    to: str
    path: Path
    size_bytes: int
    checked: str
    agreement: Agreement | None


def convert(
    model: ModelLike,
    to: str,
    out: str | PathLike[str],
    *,
    opset: int | None = None,
    dtype: str | None = None,
    check: bool = True,
    **changes: Unpack[Changes],
) -> Conversion:
    """Write a model in the format `to` (`zoo formats`) at `out`, and check that it computes the same.

    A file takes its place when it is whole and agrees; otherwise nothing is written. Raises UsageError or BadInput for
    what can't be asked, Disagreement when the outputs differ, and what `load` raises.
    """
    from zoo.converters.save import Staged, checked

    path = checked(to, Path(fspath(out)).expanduser())
    if dtype is not None:
        raise UsageError("convert keeps the author's dtype in this version of polyzoo: leave dtype= out")
    what = resolve(model, **changes)
    with Staged(path) as staged:
        said, agreement = WRITERS[to](what, staged, opset, check)
        size_bytes = sum(file.stat().st_size for file in staged.parent.iterdir())
    return Conversion(what.name, to, path, size_bytes, said, agreement)


def _onnx(model: Model, path: Path, opset: int | None, check: bool) -> tuple[str, Agreement | None]:
    from zoo.converters.writers.onnx.runner import open_session
    from zoo.converters.writers.onnx.writer import save

    bound = source(model)
    have = bound.opset_imports.get("", 0)
    if opset is not None and opset != have:
        raise UsageError(
            f"{model.name} has opset {have}; writing another one is not supported by this version of polyzoo yet"
        )
    save(bound, path)
    if not check:
        return "not checked", None
    return "ONNX Runtime: the file and the graph that is optimised", _agreed(model, bound, open_session(path))


def _safetensors(model: Model, path: Path, opset: int | None, check: bool) -> tuple[str, Agreement | None]:
    from zoo.converters.save import author_tensors, safetensors

    tensors = author_tensors(source(model))
    safetensors(tensors, path)
    return _same_bytes(tensors, path, check)


def _torch(model: Model, path: Path, opset: int | None, check: bool) -> tuple[str, Agreement | None]:
    from zoo.converters.frameworks import framework
    from zoo.converters.verify import compare
    from zoo.examples import feeds

    target = framework("torch")
    writer, saving = target.module("writer"), target.module("save")
    bound = canonical_of(model, "torch")
    inputs, outputs = specs_of(bound)
    module = writer.write(bound)
    examples = feeds(bound, inputs, model.weights)
    saving.save(module, path, inputs, examples)
    if path.suffix.lower() != ".pt2":
        return _same_bytes(writer.tensors(module), path, check)
    if not check:
        return "not checked", None
    got = dict(zip([o.name for o in outputs], saving.run_saved(path, inputs, examples), strict=True))
    expected = _reference(bound, examples)
    return "torch.export.load and ONNX Runtime", _accepted(compare(expected, got), model)


WRITERS = {"onnx": _onnx, "safetensors": _safetensors, "torch": _torch}


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


def _reference(bound: ir.Model, examples: dict[str, Any]) -> dict[str, Any]:
    from zoo.converters.frameworks import framework
    from zoo.converters.writers.onnx.writer import write

    return dict(framework("onnx").module("writer").runner(write(bound)).run(examples))


def _agreed(model: Model, bound: ir.Model, runner: Any) -> Agreement:
    from zoo.converters.verify import compare
    from zoo.examples import feeds

    examples = feeds(bound, specs_of(bound)[0], model.weights)
    return _accepted(compare(_reference(bound, examples), runner.run(examples)), model)


def _accepted(agreement: Agreement, model: Model) -> Agreement:
    if not agreement.agrees:
        raise Disagreement(
            f"{model.name}: the written model differs by {agreement.max_relative:.1e}, "
            f"more than {agreement.tolerance:.0e}",
            hint="Nothing was written. `zoo verify` compares the frameworks.",
        )
    return agreement
