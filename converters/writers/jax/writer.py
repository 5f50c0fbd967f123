"""Bound canonical graph -> `apply, params`: a pure function of jax, and the author's tensors as a pytree.

apply, params = zoo.load("resnet50", framework="jax")
logits = jax.jit(apply)(params, images)
logits, updates = apply(params, images, train=True, rngs=jax.random.key(0))
params = merge(params, updates)  # the new running statistics; zoo.converters.writers.jax.params
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnx_ir as ir

from zoo.converters.bind import bind, detach, is_statistic
from zoo.converters.dtypes import main_dtype
from zoo.converters.graph import PARAMETER, all_nodes, data_inputs, is_parameter, parameters, tied_names
from zoo.converters.layout import Choice
from zoo.converters.writers import driver
from zoo.converters.writers.jax import activation as activation_group  # noqa: F401 - each group fills `lowers`
from zoo.converters.writers.jax import attention as attention_group  # noqa: F401
from zoo.converters.writers.jax import casting as casting_group  # noqa: F401
from zoo.converters.writers.jax import control_flow as control_flow_group  # noqa: F401
from zoo.converters.writers.jax import convolution as convolution_group  # noqa: F401
from zoo.converters.writers.jax import detection as detection_group  # noqa: F401
from zoo.converters.writers.jax import generator as generator_group  # noqa: F401
from zoo.converters.writers.jax import image as image_group  # noqa: F401
from zoo.converters.writers.jax import indexing as indexing_group  # noqa: F401
from zoo.converters.writers.jax import linear as linear_group  # noqa: F401
from zoo.converters.writers.jax import linear_attention as linear_attention_group  # noqa: F401
from zoo.converters.writers.jax import logical as logical_group  # noqa: F401
from zoo.converters.writers.jax import loss as loss_group  # noqa: F401
from zoo.converters.writers.jax import lowers, params
from zoo.converters.writers.jax import math as math_group  # noqa: F401
from zoo.converters.writers.jax import normalization as normalization_group  # noqa: F401
from zoo.converters.writers.jax import pooling as pooling_group  # noqa: F401
from zoo.converters.writers.jax import quantization as quantization_group  # noqa: F401
from zoo.converters.writers.jax import reduction as reduction_group  # noqa: F401
from zoo.converters.writers.jax import resize as resize_group  # noqa: F401
from zoo.converters.writers.jax import rnn as rnn_group  # noqa: F401
from zoo.converters.writers.jax import sampling as sampling_group  # noqa: F401
from zoo.converters.writers.jax import sequence as sequence_group  # noqa: F401
from zoo.converters.writers.jax import signal as signal_group  # noqa: F401
from zoo.converters.writers.jax import tensor as tensor_group  # noqa: F401
from zoo.converters.writers.jax import text as text_group  # noqa: F401
from zoo.converters.writers.jax.channels_last import laid_out
from zoo.converters.writers.jax.kernels import kernels
from zoo.converters.writers.jax.trace import Trace
from zoo.converters.writers.jax.types import held, jax_dtype, to_jax
from zoo.converters.writers.strings import decoded
from zoo.errors import BadInput, HubError, UsageError

Value = Any
Tensor = ir.TensorProtocol
Casts = Mapping[np.dtype[Any], np.dtype[Any]]


class JaxModel(NamedTuple):
    """A pure function, and the params that it takes."""

    apply: Apply
    params: params.Tree


def write(model: ir.Model, *, channels: Choice = "first") -> JaxModel:
    """The native pair of a bound canonical model, every parameter trainable. Raises HubError.

    With channels="last" pictures come and go as Flax has them, [N, H, W, C]; with "first" as the graph says. Inside
    they are last in any case. Kernels stand as Flax's: [H, W, C, M] of convolutions, [K, N] of linear layers.
    """
    driver.check(model.graph, lowers)
    apply = Apply(laid_out(model, channels))
    arrays = {v: _data(v).numpy() for v in apply.parameters}
    arrays |= {v: arrays[v].transpose(perm) for v, perm in apply.kernels.items()}
    return JaxModel(apply, params.nested({v.name or "": to_jax(array) for v, array in arrays.items()}))


def tensors(native: JaxModel) -> dict[str, Tensor]:
    """The way back: the params as the author's tensors, under his names and in his layout, integers among them.

    A tensor that he has under further names (`lm_head.weight` of `wte.weight`) comes back under those too, at the end.
    """
    trained, held = params.flat(native.params), native.apply.held
    found = {}
    for value in held:
        name = value.name or ""
        if name not in trained:
            found[name] = _data(value)
            continue
        array = np.asarray(trained[name])
        if value in native.apply.kernels:
            array = np.ascontiguousarray(array.transpose(np.argsort(native.apply.kernels[value])))
        found[name] = ir.tensor(array, name=name)
    return found | {name: found[value.name or ""] for value in held for name in tied_names(value)}


def placed(native: JaxModel, *, device: str | None, dtype: str | None) -> JaxModel:
    """The model with its params on a device, those of floating point in a dtype. Raises UsageError."""
    from zoo.converters.writers.jax.runner import jax_device

    tree = native.params
    if dtype is not None:
        if dtype not in ("float32", "float16", "bfloat16", "float64"):
            raise UsageError(f"unknown dtype {dtype!r}", hint="Known: float32, float16, bfloat16, float64.")
        to = held(dtype)
        if to.name != dtype:
            hint = 'Set jax.config.update("jax_enable_x64", True) first.'
            raise UsageError(f"jax is not in its 64-bit mode, which {dtype} takes", hint=hint)
        tree = jax.tree.map(lambda x: x.astype(to), tree)
    if device is not None:
        tree = jax.device_put(tree, jax_device(device))
    return JaxModel(native.apply, tree)


class Apply:
    """`apply(params, inputs)`: what the graph computes. Pure: made to be given to jax.jit, grad, vmap and shard_map.

    `inputs` are an array, several in the graph's order, or a dict by the author's names. Returns the output, or a dict
    by the author's names of several. It computes in the dtype that its params are in.

    With `train` a batch norm uses and updates the batch's statistics, and dropout drops by the key `rngs`; returned
    are then (outputs, updates), the new running statistics being a nested dict as the params are (params.merge).
    Running statistics have no gradient, in either mode.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model, self.graph = model, model.graph
        self.inputs = data_inputs(model.graph)
        initializers = list(model.graph.initializers.values())
        self.held = [v for v in initializers if is_parameter(v)]
        self.parameters = [v for v in self.held if _data(v).dtype.is_floating_point() and _data(v).dtype.bitwidth > 8]
        self.main = np.dtype(main_dtype(model).numpy())
        kept = set(self.parameters)
        self.kernels = {value: perm for value, perm in kernels(model.graph).items() if value in kept}
        used = {v for v in initializers if v.uses() or v.is_graph_output()}
        self.constants = {v: decoded(_data(v).numpy()) for v in initializers if v in used and v not in kept}
        self.order = {node: i for i, node in enumerate(all_nodes(model.graph))}
        self.paths = params.paths(v.name or "" for v in self.parameters)

    def __deepcopy__(self, memo: Any) -> Apply:
        """Itself: nothing in it ever changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """The graph as ONNX's bytes, and those of the author's tensors that are no params: these travel."""
        graph, found = detach(self.model)
        kept = {v.name for v in self.parameters}
        others = {name: tensor.numpy() for name, tensor in found.items() if name not in kept}
        return _restored, (ir.to_proto(graph).SerializeToString(), others)

    def __call__(
        self,
        params: Mapping[str, Any],  # noqa: A002
        inputs: Any,
        *,
        train: bool = False,
        rngs: jax.Array | None = None,
    ) -> Any:
        """One pass. Raises BadInput for inputs that don't fit, HubError for what can't be traced."""
        trace, outputs = self.traced(params, inputs, train=train, rngs=rngs)
        return (outputs, self.updates(trace)) if train else outputs

    def traced(
        self, tree: Mapping[str, Any], inputs: Any, *, train: bool = False, rngs: jax.Array | None = None
    ) -> tuple[Trace, Any]:
        """A pass, and what the trace has noted."""
        trained = self._flat(tree)
        given = dict(zip(self.inputs, self._given(inputs), strict=True))
        casts = self._casts(trained, given.values())
        values: dict[ir.Value, Value] = dict(self.constants)
        for value in self.parameters:
            x = _as_dtype(trained[value.name or ""], casts)
            if value in self.kernels:  # and turned back by who multiplies: XLA sees that the two are nothing
                x = x.transpose(np.argsort(self.kernels[value]))
            values[value] = x if kind(value) == "parameter" else jax.lax.stop_gradient(x)
        values |= {value: _fed(value, x, casts) for value, x in given.items()}
        trace = Trace(self.graph, values, self.order, casts=casts, train=train, rngs=rngs)
        known: driver.Values = {None: None}
        known |= list(values.items())
        made = driver.walk(self.graph, trace, known)
        arrays = [_output(trace, x) for x in made]
        names = [v.name or "output" for v in self.graph.outputs]
        return trace, arrays[0] if len(arrays) == 1 else dict(zip(names, arrays, strict=True))

    def updates(self, trace: Trace) -> params.Tree:
        """What the trace has noted of running statistics, as the params are nested."""
        tree: params.Tree = {}
        for value, x in trace.updates.items():
            params.put(tree, self.paths[value.name or ""], x)
        return tree

    def _flat(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        trained = params.flat(tree)
        names = [v.name or "" for v in self.parameters]
        if missing := [name for name in names if name not in trained]:
            raise BadInput(f"params lack {len(missing)} of the model's tensors: {', '.join(missing[:3])}")
        return trained

    def _given(self, inputs: Any) -> list[Any]:
        """The inputs in the graph's order. Raises BadInput."""
        names = [v.name or "" for v in self.inputs]
        if isinstance(inputs, Mapping):
            if set(inputs) != set(names):
                raise BadInput(f"inputs {', '.join(map(str, inputs)) or 'none'}; the model has {', '.join(names)}")
            return [inputs[name] for name in names]
        is_several = isinstance(inputs, (list, tuple)) and not (
            len(names) == 1 and isinstance(self.inputs[0].type, (ir.SequenceType, ir.OptionalType))
        )
        found = list(inputs) if is_several else [inputs]
        if len(found) != len(names):
            raise BadInput(f"{len(found)} inputs, the model has {len(names)}: {', '.join(names) or 'none'}")
        return found

    def _casts(self, trained: Mapping[str, Any], inputs: Sequence[Any] | Any) -> Casts:
        """The graph's own floating dtype -> the one that most of the params are in; without any, the inputs."""
        sizes: dict[Any, int] = {}
        for value in self.parameters:
            if value.dtype is not None and np.dtype(value.dtype.numpy()) == self.main:
                x = trained[value.name or ""]
                sizes[np.dtype(x.dtype)] = sizes.get(np.dtype(x.dtype), 0) + int(np.prod(np.shape(x)))
        if not sizes and not self.parameters:
            kinds = [x.dtype for v, x in zip(self.inputs, inputs, strict=True) if _is_of(v, self.main, x)]
            sizes = {np.dtype(kind): 1 for kind in kinds[:1]}
        found = max(sizes, key=sizes.__getitem__, default=self.main)
        was, to = held(self.main), held(found)
        return {} if was == to else {was: to, self.main: to}


def _restored(graph: bytes, others: Mapping[str, Any]) -> Apply:
    """An Apply out of what pickle has kept. Of parameters it knows dtype and shape; their numbers are the params'."""
    model = ir.from_proto(onnx.ModelProto.FromString(graph))
    found = {
        name: ir.tensor(others[name], dtype=value.dtype, name=name) if name in others else _absent(value)
        for name, value in parameters(model.graph).items()
    }
    return Apply(bind(model, found))


def _absent(value: ir.Value) -> Tensor:
    """A tensor of a parameter's dtype and shape whose numbers nobody has."""

    def refuse() -> Tensor:
        raise HubError(f"{value.name!r} is one of the params, and not kept by the function")

    assert value.dtype is not None and value.shape is not None
    return ir.LazyTensor(refuse, dtype=value.dtype, shape=value.shape, name=value.name)


def kind(value: ir.Value) -> str:
    """What an author's tensor is: a parameter, a batch norm's statistic, or a buffer; only the first learns."""
    if is_statistic(value):
        return "statistic"
    return value.metadata_props.get(PARAMETER, "parameter")


def _is_of(value: ir.Value, main: np.dtype[Any], x: Any) -> bool:
    """Whether the graph has an input in its main dtype, and it is fed another floating dtype."""
    if not isinstance(value.type, ir.TensorType) or value.type.dtype == ir.DataType.STRING:
        return False
    is_floating = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    return is_floating and np.dtype(value.type.dtype.numpy()) == main


def _data(value: ir.Value) -> Tensor:
    if value.const_value is None:
        raise ValueError(f"initializer {value.name!r} has no data")
    return value.const_value


def _as_dtype(x: Any, casts: Casts) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(casts.get(x.dtype, x.dtype)) if not casts or x.dtype not in casts.values() else x


def _fed(value: ir.Value, x: Any, casts: Casts) -> Value:
    """An input as the graph wants it; a number of the same kind in its dtype. Raises BadInput."""
    if isinstance(x, (list, tuple)) and not isinstance(value.type, ir.TensorType):
        return [_fed(value, item, casts) for item in x]
    if x is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return x
    wanted = jax_dtype(value.dtype)
    wanted = casts.get(wanted, wanted)
    array = to_jax(x) if isinstance(x, np.ndarray) and x.dtype.kind in "iu" else jnp.asarray(x)
    if isinstance(value.type, ir.TensorType) and value.shape is not None:
        fits = len(value.shape) == array.ndim and all(
            not isinstance(want, int) or want == have for want, have in zip(value.shape, array.shape, strict=True)
        )
        if not fits:
            sizes = [d if isinstance(d, int) else d.value for d in value.shape]
            raise BadInput(f"input {value.name!r} has shape {list(array.shape)}, the model wants {sizes}")
    if array.dtype == wanted:
        return array
    kinds = (jnp.floating, jnp.integer, jnp.complexfloating)
    if not any(jnp.issubdtype(array.dtype, kind) and jnp.issubdtype(wanted, kind) for kind in kinds):
        raise BadInput(f"input {value.name!r} is {array.dtype.name}, the model wants {wanted.name}")
    return array.astype(wanted)


def _output(trace: Trace, x: Value) -> Value:
    """An output as jax's; strings stay numpy's."""
    if isinstance(x, list):
        return [_output(trace, item) for item in x]
    return trace.array(x)
