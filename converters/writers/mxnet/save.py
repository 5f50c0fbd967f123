"""A model as MXNet's two files: `net-symbol.json` and `net-0000.params`, as save_checkpoint and export write them.

net = gluon.SymbolBlock.imports("net-symbol.json", ["input"], "net-0000.params")
symbol, arg_params, aux_params = mx.model.load_checkpoint("net", 0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mxnet as mx

from zoo.converters.runner import TensorSpec
from zoo.converters.writers.mxnet.runner import from_numpy
from zoo.converters.writers.mxnet.types import to_numpy

FIRST_ARRAY, NEWER = 24, b"\xca\xfa\x93\xf9"  # where the first array begins; how one in the newer semantics does


def params_of(path: Path) -> Path:
    """The file of arrays that belongs to a symbol's."""
    return path.with_name(f"{path.name.removesuffix('.json').removesuffix('-symbol')}-0000.params")


def save(native: Any, path: Path) -> None:
    """Write the symbol at a path, and its arrays beside it.

    What is written in MXNet's newer semantics of shapes is read in no other: they are taken where scalars want them.
    """
    symbol, arguments, states = native
    marked = {f"arg:{name}": x for name, x in arguments.items()} | {f"aux:{name}": x for name, x in states.items()}
    with mx.util.np_shape(any(x.ndim == 0 or 0 in x.shape for x in marked.values())):
        path.write_text(symbol.tojson(), encoding="utf-8")
        mx.nd.save(str(params_of(path)), marked)


def run_saved(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], feeds: Mapping[str, Any]
) -> dict[str, Any]:
    """What the files' model gives of arrays by name."""
    with params_of(path).open("rb") as file:
        is_newer = file.read(FIRST_ARRAY + len(NEWER))[FIRST_ARRAY:] == NEWER
    with mx.util.np_shape(is_newer):
        arrays = {name.partition(":")[2]: x for name, x in mx.nd.load(str(params_of(path))).items()}
    with mx.util.np_shape(True):
        symbol = mx.sym.load_json(path.read_text(encoding="utf-8"))
        arrays |= {spec.name: from_numpy(feeds[spec.name]) for spec in inputs}
        made = mx.nd.CachedOp(symbol)(*(arrays[name] for name in symbol.list_inputs()))
        values = made if isinstance(made, (list, tuple)) else [made]
        return {spec.name: to_numpy(x) for spec, x in zip(outputs, values, strict=True)}
