"""MXNet and Gluon: a symbol JSON (`model-symbol.json`) with its arrays (`model-0000.params`), of versions 0.8 to 1.9.

Given the symbol alone, the arrays are taken from the one `.params` file beside it that begins with the same prefix.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import (
    mxnet_graph,
    mxnet_math,
    mxnet_nn,
    mxnet_recurrent,
    mxnet_shapes,
    mxnet_vision,
)
from zoo.converters.readers.mxnet_symbol import Node, symbol
from zoo.converters.readers.scribe import Fault
from zoo.converters.tensors import Tensor, mxnet
from zoo.converters.tensors.mapped import map_file
from zoo.errors import BadInput, Malformed, Refused

EXTENSIONS = (".json",)
# Each fills mxnet_graph.TABLE.
GROUPS = (mxnet_math, mxnet_nn, mxnet_recurrent, mxnet_shapes, mxnet_vision)
# What reading a number or a list fails with where a parameter holds something else.
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
MAX_SYMBOL_BYTES = 32 << 20


def sniff(path: Path, head: bytes) -> bool:
    """Is it JSON that begins with a symbol's nodes?"""
    words = head.lstrip()
    return words[:1] == b"{" and b'"nodes"' in words[:64] and b'"op"' in words


def read(path: Path, *others: Path) -> ir.Model:
    """The bound graph: MXNet's names, layout (NCHW, or what the author's operators state) and states as buffers.

    Inputs are the variables without an array that the outputs depend on: labels fall away. Raises Malformed; Refused
    for sparse arrays and unknown operators; BadInput where the arrays are not to be found.
    """
    if path.stat().st_size > MAX_SYMBOL_BYTES:
        raise Refused(path, f"MXNet: a symbol of {path.stat().st_size:,} bytes")
    arrays: dict[str, tuple[str, Tensor]] = {}
    for file in others or _beside(path):
        arrays |= mxnet.marked(file)
    try:
        made = symbol(bytes(map_file(path).data))
        return mxnet_graph.build(made, _renamed(made.nodes, arrays))
    except Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"MXNet: {fault}") from fault
    except NONSENSE as error:
        raise Malformed(path, f"MXNet: the symbol makes no sense: {str(error)[:200]}") from error


def _beside(path: Path) -> tuple[Path, ...]:
    """The one file of arrays that the symbol's prefix names, as save_checkpoint and export write it."""
    prefix = path.name.removesuffix(".json").removesuffix("-symbol")
    found = sorted(file for file in path.parent.glob("*.params") if file.name.startswith(f"{prefix}-"))
    if len(found) == 1:
        return (found[0],)
    what = f"{len(found)} files {prefix}-*.params are beside it" if found else f"no file {prefix}-*.params is beside it"
    hint = f"Give both: [{path.name}, the .params file]."
    raise BadInput(f"{path}: an MXNet symbol has its weights in a file of its own, and {what}", hint=hint)


def _renamed(nodes: tuple[Node, ...], arrays: dict[str, tuple[str, Tensor]]) -> dict[str, tuple[str, Tensor]]:
    """The arrays by the symbol's names: Gluon's save_params and collect_params().save(strip_prefix) take one off.

    Raises Fault for save_parameters' structural names, which only the code of the block tells.
    """
    names = {node.name for node in nodes if node.op == "null"}
    if not arrays or names & arrays.keys():
        return arrays
    first = next(iter(arrays))
    for name in sorted(names):
        prefix = name.removesuffix(first)
        if prefix != name and all(prefix + other in names for other in arrays):
            return {prefix + other: value for other, value in arrays.items()}
    what = f"no array has the name of a variable: {first!r} is none of {', '.join(sorted(names)[:4])[:200]}"
    raise Fault(f"{what}. Gluon's net.save_parameters names arrays by its blocks; net.export writes both files alike")
