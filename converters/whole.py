"""From a model with its weights the whole way to what a framework runs: for loaders and the Backend interface alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from zoo.converters.bind import bind, detach
from zoo.converters.canonical import canonical, simplify
from zoo.converters.expand import expand
from zoo.converters.fold import dims
from zoo.converters.frameworks import framework as find
from zoo.converters.fuse import fuse
from zoo.converters.graph import OPSET, all_nodes, data_inputs, parameters
from zoo.converters.infer import infer_shapes
from zoo.converters.runner import Runner, TensorSpec
from zoo.converters.scopes import adopt
from zoo.converters.writers import driver
from zoo.errors import HubError, ZooError

if TYPE_CHECKING:
    from zoo.converters.writers.driver import Lowerings


def prepared(graph: ir.Model, lowers: Lowerings) -> ir.Model:
    """A weightless graph as a framework with these lowerings writes it: canonical, fused, the rest expanded.

    Raises UnsupportedOps for operators without a lowering and without a body, and HubError for a newer opset.
    """
    if unknown := [node for node in all_nodes(graph.graph) if _is_unknown(node, graph)]:
        raise driver.unsupported(unknown, graph.graph.name or "the graph", lowers)
    return specialised(fuse(canonical(graph)), lowers)


def specialised(graph: ir.Model, lowers: Lowerings) -> ir.Model:
    """A canonical, fused graph with what these lowerings lack expanded, in place. Raises UnsupportedOps."""
    if expand(graph, lowers.find, infer_shapes):
        simplify(graph)
    driver.check(graph.graph, lowers)
    return graph


def _is_unknown(node: ir.Node, model: ir.Model) -> bool:
    """Whether the node's operator is in no version of the standard, or in a domain that the model doesn't import."""
    if node.op_identifier() in model.functions:
        return False
    return not onnx.defs.has(node.op_type, OPSET) if not node.domain else node.domain not in model.opset_imports


def lowered(model: ir.Model, lowers: Lowerings) -> ir.Model:
    """A copy of a model with its weights, prepared for a framework and bound again. Raises as `prepared` does."""
    with _named(model):
        model = model.clone()
        adopt(model)
        graph, tensors = detach(model)
        graph = prepared(graph, lowers)
        used = parameters(graph.graph)
        return bind(graph, {name: tensor for name, tensor in tensors.items() if name in used})


@contextmanager
def _named(model: ir.Model) -> Iterator[None]:
    """Whatever a pass trips over in a model that no reader has checked is one error, which names the graph."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise HubError(
            f"the graph {model.graph.name!r} could not be brought into canonical form: {reason}",
            hint="Does onnx.checker.check_model take the model? If so, please report this, with the model if you can.",
        ) from error


def runner_of(model: ir.Model, framework: str, *, device: str = "auto") -> Runner:
    """A Runner of a model in a framework. Raises UnknownFramework, MissingFramework, UsageError, and as `lowered` does.

    ONNX Runtime takes the model as it came, any other framework its canonical form.
    """
    return written(
        model if framework == "onnx" else lowered(model, find(framework).module("writer").lowers),
        framework,
        device=device,
    )


def written(bound: ir.Model, framework: str, *, device: str = "auto") -> Runner:
    """A Runner of a graph that stands as the framework takes it: for ONNX Runtime any, for others `lowered`."""
    target = find(framework)
    writer = target.module("writer")
    made: Runner
    if framework == "onnx":
        made = writer.session(bound, device=device)
    else:
        native = getattr(writer, target.runs)(bound)
        made = target.module("runner").runner(native, *specs_of(bound), device=device)
    return made


def specs_of(model: ir.Model, *, dtype: str | None = None) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a graph as TensorSpecs; `dtype` in the place of float32 where the model was cast."""

    def spec(value: ir.Value) -> TensorSpec:
        name = dtype_name(value.type)
        as_run = re.sub(r"\bfloat32\b", dtype, name) if dtype else name
        return TensorSpec(value.name or "", as_run, tuple(dims(value) or ()))

    return [spec(v) for v in data_inputs(model.graph)], [spec(v) for v in model.graph.outputs]


def dtype_name(kind: ir.TypeProtocol | None) -> str:
    """A type as TensorSpec writes it; float32 for one that is not known."""
    if isinstance(kind, ir.SequenceType):
        return f"seq({dtype_name(kind.elem_type)})"
    if isinstance(kind, ir.OptionalType):
        return f"optional({dtype_name(kind.elem_type)})"
    if kind is None:
        return "float32"
    return "str" if kind.dtype == ir.DataType.STRING else str(kind.dtype.numpy())
