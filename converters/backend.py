"""ONNX's own Backend interface (onnx.backend.base) for every framework of the table.

    from zoo.converters.backend import backend

    torch_backend = backend("torch")
    outputs = torch_backend.prepare(model, device="CPU").run([x])
    outputs["logits"], outputs[0], outputs.logits

`backend(name)` is a class, as `onnx.backend.test.BackendTest` takes it. The module itself is the Backend of ONNX
Runtime, as other projects' modules are of theirs: `zoo.converters.backend.run_model(model, [x])`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from zoo.converters.frameworks import framework as find
from zoo.converters.graph import OPSET
from zoo.converters.readers.onnx import of_proto
from zoo.converters.runner import Array, Runner
from zoo.converters.whole import runner_of
from zoo.errors import BadInput, MissingFramework, UsageError, ZooError


class Prepared(BackendRep):  # type: ignore[misc]  # onnx is untyped
    """A model that is ready to be run, again and again."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._names = [spec.name for spec in runner.outputs]
        self._outputs = namedtupledict("Outputs", self._names)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, in the graph's order and by name, for one input, a list in the graph's order, or arrays by name.

        Raises BadInput, naming the input, when one doesn't fit.
        """
        if kwargs:
            raise UsageError(f"run() has no option {next(iter(kwargs))!r}")
        made = self.runner.run(self._feeds(inputs))
        return self._outputs(*(made[name] for name in self._names))  # type: ignore[no-any-return]

    def _feeds(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            return {name: _array(value) for name, value in inputs.items()}
        names = [spec.name for spec in self.runner.inputs]
        values = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if len(values) != len(names):
            raise BadInput(f"{len(values)} inputs, the model wants {len(names)}: {', '.join(names) or 'none'}")
        return {name: _array(value) for name, value in zip(names, values, strict=True)}


class FrameworkBackend(Backend):  # type: ignore[misc]
    """The Backend of one framework; `backend` makes those of the others."""

    framework: ClassVar[str] = "onnx"

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `prepare` takes the model on the device. Raises MissingFramework."""
        try:
            cls.prepare(model, device, **kwargs)
        except MissingFramework:
            raise
        except (ZooError, onnx.checker.ValidationError):
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The model, ready to be run. Raises onnx.checker.ValidationError for one that is not ONNX's, else as `load`.

        A device is `CPU`, `CUDA` or `CUDA:1`, as ONNX writes them.
        """
        if kwargs:
            raise UsageError(f"prepare() has no option {next(iter(kwargs))!r}")
        onnx.checker.check_model(model)
        return Prepared(runner_of(of_proto(model), cls.framework, device=device.lower()))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        *,
        opset_version: int = OPSET,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one operator. `outputs_info` is their dtypes and shapes, where it says more than ONNX infers.

        Raises as `prepare` and `run` do, and BadInput for inputs that the node doesn't have.
        """
        return cls.prepare(_model_of(node, inputs, outputs_info, opset_version), device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether something small is prepared on the device; the framework itself says it."""
        return _supports(cls.framework, device)


@functools.cache
def backend(framework: str) -> type[FrameworkBackend]:
    """The Backend of a framework's name: a class whose methods are all class methods. Raises UnknownFramework."""
    name = find(framework).name
    return type(f"{name.capitalize()}Backend", (FrameworkBackend,), {"framework": name})


prepare = FrameworkBackend.prepare
run_model = FrameworkBackend.run_model
run_node = FrameworkBackend.run_node
supports_device = FrameworkBackend.supports_device
is_compatible = FrameworkBackend.is_compatible


@functools.cache  # the suite asks once a case
def _supports(framework: str, device: str) -> bool:
    identity = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) {'
                                       " y = Identity(x) }")  # fmt: skip
    try:
        runner_of(ir.from_proto(identity), framework, device=device.lower())
    except UsageError:
        return False
    return True


def _array(value: Any) -> Any:
    """A value as a Runner takes it: scalars, TensorProtos and nested lists (of a sequence) as arrays; None as it is."""
    if value is None or isinstance(value, np.ndarray):
        return value
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, (list, tuple)):
        return [_array(v) for v in value]
    return np.asarray(value)


def _model_of(
    node: onnx.NodeProto, inputs: Any, outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None, opset: int
) -> onnx.ModelProto:
    """A model of one node, its inputs typed by the arrays that are given."""
    names = list(dict.fromkeys(name for name in node.input if name))
    values = list(inputs) if isinstance(inputs, (list, tuple, Mapping)) else [inputs]
    given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, values, strict=False))
    if set(given) != set(names) or len(values) != len(names):
        raise BadInput(f"{len(values)} values for {node.op_type}, whose inputs are {', '.join(names) or 'none'}")
    outputs = [name for name in node.output if name]
    if outputs_info is not None and len(outputs_info) != len(outputs):
        raise BadInput(f"outputs_info has {len(outputs_info)} items; the outputs are {', '.join(outputs)}")
    typed = [_typed(name, _array(given[name])) for name in names]
    if outputs_info is None:
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
    else:
        results = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in zip(outputs, outputs_info, strict=True)
        ]
    graph = helper.make_graph([node], node.op_type, typed, results)
    newest = max((s.since_version for s in onnx.defs.get_all_schemas() if s.domain == node.domain), default=1)
    domains = {"": opset} | ({} if node.domain in ("", "ai.onnx") else {node.domain: newest})
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model = helper.make_model(graph, opset_imports=imports)
    return onnx.shape_inference.infer_shapes(model, data_prop=True) if outputs_info is None else model


def _typed(name: str, value: Any) -> onnx.ValueInfoProto:
    """The type of a value. Raises BadInput for an absent optional and an empty sequence, which have none."""
    if isinstance(value, list) and value:
        first = _typed(name, value[0]).type
        return helper.make_value_info(name, helper.make_sequence_type_proto(first))
    if value is None or isinstance(value, list):
        raise BadInput(f"input {name!r} says nothing of its type; use run_model with a graph that does")
    dtype = onnx.TensorProto.STRING if value.dtype.kind in "OSU" else helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, dtype, value.shape)
