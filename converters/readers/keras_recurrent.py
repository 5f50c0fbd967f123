"""Keras' recurrent layers as ONNX nodes: LSTM, GRU and RNN where ONNX has them, else a Scan over Keras' cell.

A masked step changes no state, and what it gives is what the last step that counts gave, or zero. ONNX knows lengths
alone, so that a mask takes a Scan; so do activations that ONNX's operators lack, cells on cells and ConvLSTM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer, layer_of
from zoo.converters.readers.keras_convolutions import flipped
from zoo.converters.readers.keras_graph import Builder, Laid, Shape, is_channels_first
from zoo.converters.readers.keras_layers import Table, activate, numbers, one, window
from zoo.converters.readers.keras_weights import snake_case

TABLE = layer = Table()
# Keras' gates in the order of its kernels, and where ONNX has each
GATES = {"LSTM": ("i", "f", "c", "o"), "GRU": ("z", "r", "h"), "SimpleRNN": ("",)}
ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
ALIASES = {"LSTMV1": "LSTM", "LSTMV2": "LSTM", "GRUV1": "GRU", "GRUV2": "GRU", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}
# Keras' activations that ONNX's recurrent operators have
ACTIVATIONS = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "softsign": "Softsign",
    "softplus": "Softplus",
    "hard_sigmoid": "HardSigmoid",
    "elu": "Elu",
    "linear": "Affine",
}

Step = Callable[[ir.Value, Sequence[ir.Value]], tuple[ir.Value, list[ir.Value]]]  # x, states -> output, states


@dataclass(frozen=True, slots=True)
class Cell:
    """What is done at a step: the sizes of the states and of what it gives, and the function that writes it."""

    states: tuple[tuple[int, ...], ...]
    step: Step
    output: int = 0  # which of the states is what it gives


@layer("LSTM", "GRU", "SimpleRNN", *ALIASES)
def recurrent(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Sequence[Laid]:
    """[N, T, I] to [N, units], or [N, T, units] with return_sequences; the last states behind it with return_state."""
    kind, x, states = ALIASES.get(layer.kind, layer.kind), inputs[0], list(inputs[1:])
    layer = _explicit(layer, b)
    with b.within(layer, *(() if layer.kind.startswith("CuDNN") else ("cell",))):
        names = [
            _activation_name(layer.get(key, d)) for key, d in (("activation", "tanh"), ("recurrent_activation", ""))
        ]
        fits = all(name in (*ACTIVATIONS, None, "") for name in names)
        if x.mask is None and fits and not layer.get("time_major", False):
            return _native(b, kind, layer, x, states)
        return _scanned(b, layer, x, states, _cell(b, kind, layer))


def _explicit(layer: Layer, b: Builder) -> Layer:
    """The layer with what its class means where the file leaves an option out."""
    config = dict(layer.config)
    if layer.kind.startswith("CuDNN"):
        config |= {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True, "use_bias": True}
    config.setdefault("recurrent_activation", "hard_sigmoid" if b.origin.version < (2, 3) else "sigmoid")
    return replace(layer, config=config)


def _activation_name(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("config") if value.get("class_name") == "function" else value.get("class_name")
    return value


# -- weights ----------------------------------------------------------------------------------------------------------


def _gates(b: Builder, kind: str, field: str, axis: int) -> ir.Value:
    """A kernel or bias of all gates in Keras' order. Keras 1 keeps each gate's by itself, unless it was told not to."""
    if b.has_weight(field):
        return b.weight(field)
    letter = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}[field]
    if b.origin.version >= (2, 0):
        return b.weight(field)  # and its error
    return b.op("Concat", *(b.weight(f"{letter}_{gate}") for gate in GATES[kind]), axis=axis)


def _units(b: Builder, kind: str) -> int:
    shape_of = "recurrent_kernel" if b.has_weight("recurrent_kernel") else f"U_{GATES[kind][0]}"
    return b.weight_shape(shape_of, rank=2)[0]


def _has_bias(b: Builder, layer: Layer) -> bool:
    return bool(layer.get("use_bias", True))


def _reset_after(b: Builder, kind: str, layer: Layer) -> bool:
    """Whether a GRU multiplies by its reset gate behind the product, for which it has a second bias."""
    default = b.origin.version >= (2, 4)
    return kind == "GRU" and bool(layer.get("reset_after", default))


# -- ONNX's own operators ---------------------------------------------------------------------------------------------


def _native(b: Builder, kind: str, layer: Layer, x: Laid, states: Sequence[Laid]) -> Sequence[Laid]:
    units, order = _units(b, kind), ONNX_ORDER[kind]
    width = _width(b, kind)
    if x.shape[-1] not in (None, width):
        raise Fault(f"layer {layer.name!r}: a kernel for {width} numbers on {x.shape[-1]}")
    reset_after = _reset_after(b, kind, layer)
    kernels = [_reordered(b, _gates(b, kind, f, 1), order, units) for f in ("kernel", "recurrent_kernel")]
    weights = [b.op("Unsqueeze", b.op("Transpose", k, perm=[1, 0]), b.ints(0)) for k in kernels]
    bias = _native_bias(b, kind, layer, order, units, reset_after=reset_after)
    turned = b.op("Transpose", b.author(x), perm=[1, 0, 2])
    if layer.get("go_backwards", False):
        turned = _turned(b, turned, 0)
    start = [b.op("Unsqueeze", b.author(s), b.ints(0)) for s in states]
    needed = 2 if kind == "LSTM" else 1
    if start and len(start) != needed:
        raise Fault(f"layer {layer.name!r}: {len(start)} initial states", is_refusal=True)
    how = _functions(b, kind, layer) | {"hidden_size": units, "linear_before_reset": int(reset_after) or None}
    operator = "RNN" if kind == "SimpleRNN" else kind
    ends = b.ops(operator, 1 + needed, turned, *weights, bias, None, *start, **how)
    steps = x.shape[1]
    finals = [Laid((x.shape[0], units), author=b.op("Squeeze", end, b.ints(0))) for end in ends[1:]]
    if layer.get("return_sequences", False):
        every = b.op("Transpose", b.op("Squeeze", ends[0], b.ints(1)), perm=[1, 0, 2])
        out = Laid((x.shape[0], steps, units), author=every)
    else:
        out = finals[0]
    return [out, *finals] if layer.get("return_state", False) else [out]


def _width(b: Builder, kind: str) -> int:
    name = "kernel" if b.has_weight("kernel") else f"W_{GATES[kind][0]}"
    return b.weight_shape(name, rank=2)[0]


def _reordered(b: Builder, kernel: ir.Value, order: Sequence[int], units: int) -> ir.Value:
    """[..., gates * units] with the gates in ONNX's order."""
    if list(order) == sorted(order):
        return kernel
    parts = b.ops("Split", len(order), kernel, axis=-1, num_outputs=len(order))
    return b.op("Concat", *(parts[i] for i in order), axis=-1)


def _native_bias(
    b: Builder, kind: str, layer: Layer, order: Sequence[int], units: int, *, reset_after: bool
) -> ir.Value | None:
    """[1, 2 * gates * units]: of the input's product, then of the state's, which Keras has for some GRUs alone."""
    if not _has_bias(b, layer):
        return None
    bias, total = _gates(b, kind, "bias", 0), len(order) * units
    if reset_after:
        both = b.op("Reshape", bias, b.ints(2, total))
        return b.op("Reshape", _reordered(b, both, order, units), b.ints(1, 2 * total))
    if layer.kind.startswith("CuDNN"):  # both biases one behind the other
        return b.op(
            "Reshape", _reordered(b, b.op("Reshape", bias, b.ints(2, total)), order, units), b.ints(1, 2 * total)
        )
    mine = b.op("Reshape", _reordered(b, bias, order, units), b.ints(1, total))
    return b.op("Concat", mine, b.full(0, 1, total), axis=1)


def _functions(b: Builder, kind: str, layer: Layer) -> dict[str, Any]:
    """The names of the activations, each with its numbers."""
    main = _activation_name(layer.config.get("activation", "tanh")) or "linear"
    gate = _activation_name(layer.config.get("recurrent_activation")) or "linear"
    chosen = {"LSTM": (gate, main, main), "GRU": (gate, main), "SimpleRNN": (main,)}[kind]
    if kind == "SimpleRNN" and main == "tanh" or chosen[1:] and set(chosen[1:]) == {"tanh"} and gate == "sigmoid":
        return {}
    hard = 1 / 6 if b.origin.version >= (3, 0) else 0.2
    alphas = {"hard_sigmoid": hard, "elu": 1.0, "linear": 1.0}
    betas = {"hard_sigmoid": 0.5, "linear": 0.0}
    return {
        "activations": [ACTIVATIONS[name] for name in chosen],
        "activation_alpha": [alphas[name] for name in chosen if name in alphas] or None,
        "activation_beta": [betas[name] for name in chosen if name in betas] or None,
    }


def _turned(b: Builder, value: ir.Value, axis: int) -> ir.Value:
    """The other way round along an axis."""
    end = b.ints(-((1 << 63) - 1))
    return b.op("Slice", value, b.ints(-1), end, b.ints(axis), b.ints(-1))


# -- cells ------------------------------------------------------------------------------------------------------------


def _act(b: Builder, value: ir.Value, function: Any, layer: Layer) -> ir.Value:
    return b.author(activate(b, Laid((None, None), author=value), function, layer))


def _split(b: Builder, value: ir.Value, count: int, axis: int = -1) -> Sequence[ir.Value]:
    return b.ops("Split", count, value, axis=axis, num_outputs=count) if count > 1 else [value]


def _cell(b: Builder, kind: str, layer: Layer) -> Cell:
    """Keras' cell of a kind (keras/layers/rnn): weights outside the loop, the step in it."""
    units = _units(b, kind)
    kernel, inner = _gates(b, kind, "kernel", 1), _gates(b, kind, "recurrent_kernel", 1)
    bias = _gates(b, kind, "bias", 0) if _has_bias(b, layer) else None
    main, gate = layer.config.get("activation", "tanh"), layer.config.get("recurrent_activation", "sigmoid")
    reset_after = _reset_after(b, kind, layer)
    biases: list[ir.Value | None] = [bias, None]
    if reset_after and bias is not None:
        pair = b.op("Reshape", bias, b.ints(2, 3 * units))
        biases = [b.op("Gather", pair, b.index(i), axis=0) for i in (0, 1)]

    def product(value: ir.Value, weight: ir.Value, add: ir.Value | None) -> ir.Value:
        y = b.op("MatMul", value, weight)
        return y if add is None else b.op("Add", y, add)

    def simple(x: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        y = _act(b, b.op("Add", product(x, kernel, biases[0]), b.op("MatMul", states[0], inner)), main, layer)
        return y, [y]

    def lstm(x: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        z = b.op("Add", product(x, kernel, biases[0]), b.op("MatMul", states[0], inner))
        return _lstm_step(b, layer, _split(b, z, 4), states[1], main, gate)

    def gru(x: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        xz, xr, xh = _split(b, product(x, kernel, biases[0]), 3)
        h = states[0]
        if reset_after:
            hz, hr, hh = _split(b, product(h, inner, biases[1]), 3)
            z, r = (_act(b, b.op("Add", p, q), gate, layer) for p, q in ((xz, hz), (xr, hr)))
            new = _act(b, b.op("Add", xh, b.op("Mul", r, hh)), main, layer)
        else:
            wz, wr, wh = _split(b, inner, 3)
            z, r = (_act(b, b.op("Add", p, b.op("MatMul", h, w)), gate, layer) for p, w in ((xz, wz), (xr, wr)))
            new = _act(b, b.op("Add", xh, b.op("MatMul", b.op("Mul", r, h), wh)), main, layer)
        kept = b.op("Mul", b.op("Sub", b.number(1), z), new)
        y = b.op("Add", b.op("Mul", z, h), kept)
        return y, [y]

    states = ((units,), (units,)) if kind == "LSTM" else ((units,),)
    return Cell(states, {"LSTM": lstm, "GRU": gru, "SimpleRNN": simple}[kind])


def _lstm_step(
    b: Builder, layer: Layer, parts: Sequence[ir.Value], carry: ir.Value, main: Any, gate: Any
) -> tuple[ir.Value, list[ir.Value]]:
    i, f, c, o = parts
    i, f, o = (_act(b, p, gate, layer) for p in (i, f, o))
    carry = b.op("Add", b.op("Mul", f, carry), b.op("Mul", i, _act(b, c, main, layer)))
    y = b.op("Mul", o, _act(b, carry, main, layer))
    return y, [y, carry]


def _scanned(b: Builder, layer: Layer, x: Laid, initial: Sequence[Laid], cell: Cell) -> Sequence[Laid]:
    """The cell at each step of [N, T, ...], as ONNX's Scan."""
    is_major, backwards = bool(layer.get("time_major", False)), int(bool(layer.get("go_backwards", False)))
    rank = x.rank
    swap = [1, 0, *range(2, rank)]
    steps = b.author(x) if is_major else b.op("Transpose", b.author(x), perm=swap)
    batch, length = (x.shape[1], x.shape[0]) if is_major else x.shape[:2]
    start = [b.author(s) for s in initial] or [_zeros(b, steps, sizes) for sizes in cell.states]
    if len(start) != len(cell.states):
        raise Fault(f"layer {layer.name!r}: {len(start)} initial states", is_refusal=True)
    scanned = [steps]
    if x.mask is not None:
        mask = x.mask if is_major else b.op("Transpose", x.mask, perm=[1, 0])
        axes = [2 + i for i in range(len(cell.states[cell.output]))]
        scanned.append(b.op("Unsqueeze", mask, b.ints(*axes)))
    carried = [*start, _zeros(b, steps, cell.states[cell.output])] if x.mask is not None else start
    with b.elsewhere() as nodes:
        b.written += 1
        tag = f"{'/'.join(b.path)}/step_{b.written}"
        before = [ir.Value(name=f"{tag}/state_{i}") for i in range(len(carried))]
        now = [ir.Value(name=f"{tag}/now_{i}") for i in range(len(scanned))]
        y, after = cell.step(now[0], before[: len(start)])
        if x.mask is not None:
            after = [b.op("Where", now[1], new, old) for new, old in zip(after, before, strict=False)]
            idle = b.full(0) if layer.get("zero_output_for_mask", False) else before[-1]
            y = b.op("Where", now[1], y, idle)
            after = [*after, y]
        body = b.body(nodes, [*before, *now], [*after, y], f"{tag}/body")
    ends = b.ops(
        "Scan",
        len(carried) + 1,
        *carried,
        *scanned,
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=[backwards] * len(scanned),
    )
    finals = [Laid((batch, *sizes), author=end) for sizes, end in zip(cell.states, ends, strict=False)]
    if layer.get("return_sequences", False):
        sizes = (length, batch) if is_major else (batch, length)
        value = (
            ends[-1]
            if is_major
            else b.op("Transpose", ends[-1], perm=[1, 0, *range(2, 2 + len(cell.states[cell.output]))])
        )
        out = Laid((*sizes, *cell.states[cell.output]), author=value, mask=None if backwards else x.mask)
    else:
        last = ends[len(start)] if x.mask is not None else finals[cell.output].author
        out = Laid((batch, *cell.states[cell.output]), author=last)
    return [out, *finals] if layer.get("return_state", False) else [out]


def _zeros(b: Builder, steps: ir.Value, sizes: Sequence[int]) -> ir.Value:
    """[N, *sizes] of zeros for steps [T, N, ...]."""
    batch = b.op("Slice", b.op("Shape", steps), b.ints(1), b.ints(2))
    return b.op("Expand", b.full(0), b.op("Concat", batch, b.ints(*sizes), axis=0))


@layer("RNN", "StackedRNNCells")
def cells(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Sequence[Laid]:
    """A cell, or cells on each other, at each step."""
    entry, name = layer["cell"], layer.name
    stack = [entry]
    is_stack = isinstance(entry, dict) and entry.get("class_name") == "StackedRNNCells"
    if is_stack:
        stack = list(entry["config"]["cells"])
    made: list[Cell] = []
    kinds: list[str] = []
    for i, part in enumerate(stack):
        inner = _explicit(layer_of(part, f"{name}_cell_{i}"), b)
        if inner.kind not in CELLS:
            raise Fault(f"layer {name!r} has a cell of class {inner.kind!r}", is_refusal=True)
        place, count = snake_case(inner.kind), sum(part == inner.kind for part in kinds)
        kinds.append(inner.kind)
        place = f"cells/{place}_{count}" if count else f"cells/{place}"
        with b.within(inner, *(("cell", place) if is_stack else ("cell",))):
            made.append(_cell(b, CELLS[inner.kind], inner))

    def step(x: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        after: list[ir.Value] = []
        for cell in made:
            x, new = cell.step(x, states[len(after) : len(after) + len(cell.states)])
            after += new
        return x, after

    sizes = [size for cell in made for size in cell.states]
    stacked = Cell(tuple(sizes), step, output=len(sizes) - len(made[-1].states))
    return _scanned(b, layer, inputs[0], list(inputs[1:]), stacked)


# -- wrappers ---------------------------------------------------------------------------------------------------------


@layer("Bidirectional")
def bidirectional(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Sequence[Laid]:
    """The layer from both ends, side by side or otherwise merged; the other way's steps in the order of the input."""
    forward = layer_of(layer["layer"], f"{layer.name}_forward")
    given = layer.config.get("backward_layer")
    backward = layer_of(given, f"{layer.name}_backward") if given else forward
    config = dict(backward.config)
    if not given:
        config["go_backwards"] = not forward.get("go_backwards", False)
    backward = replace(backward, config=config)
    half = len(inputs[1:]) // 2
    sides = []
    for side, part, states in (
        ("forward_layer", forward, inputs[1 : 1 + half]),
        ("backward_layer", backward, inputs[1 + half :]),
    ):
        emit = TABLE.get(part.kind)
        if emit is None:
            raise Fault(f"layer {layer.name!r} wraps a {part.kind!r}", is_refusal=True)
        if "zero_output_for_mask" not in part.config and b.origin.version >= (2, 2) and layer.get("merge_mode"):
            part = replace(part, config={**part.config, "zero_output_for_mask": part.get("return_sequences", False)})
        with b.within(part, side):
            made = emit(b, part, [inputs[0], *states])
        sides.append([made] if isinstance(made, Laid) else list(made))
    (ahead, *states_a), (behind, *states_b) = sides
    if backward.get("return_sequences", False):
        behind = Laid(behind.shape, author=_turned(b, b.author(behind), 1))
    mode = layer.config.get("merge_mode", "concat")
    out = _merged(b, layer, mode, ahead, behind)
    mask = inputs[0].mask if forward.get("return_sequences", False) else None
    return [*(replace(x, mask=mask) for x in out), *states_a, *states_b]


def _merged(b: Builder, layer: Layer, mode: Any, ahead: Laid, behind: Laid) -> list[Laid]:
    if mode is None:
        return [ahead, behind]
    values = b.author(ahead), b.author(behind)
    if mode == "concat":
        sizes = ahead.shape[-1], behind.shape[-1]
        width = None if None in sizes else sum(n or 0 for n in sizes)
        return [Laid((*ahead.shape[:-1], width), author=b.op("Concat", *values, axis=-1))]
    operators = {"sum": "Add", "mul": "Mul", "ave": "Mean"}
    if mode not in operators:
        raise Fault(f"layer {layer.name!r} merges by {str(mode)[:40]!r}", is_refusal=True)
    return [Laid(ahead.shape, author=b.op(operators[mode], *values))]


@layer("TimeDistributed")
def time_distributed(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A layer at each step of [N, T, ...]: steps are taken into the batch and out of it again."""
    x = one(inputs, layer)
    inner = layer_of(layer["layer"], f"{layer.name}_layer")
    flat = Laid(
        (None, *x.shape[2:]), author=b.op("Reshape", b.author(x), b.op("Concat", b.ints(-1), _rest(b, x), axis=0))
    )
    if inner.model is not None:
        raise Fault(f"layer {layer.name!r} is a model at each step", is_refusal=True)
    emit = b.table.get(inner.kind)
    if emit is None:
        raise Fault(f"layer {inner.name!r} of class {inner.kind!r}", is_refusal=True)
    with b.within(inner, "layer"):
        made = emit(b, inner, [flat])
    y = made if isinstance(made, Laid) else made[0]
    value = b.author(y)
    front = b.op("Slice", b.op("Shape", b.author(x)), b.ints(0), b.ints(2))
    rest = b.op("Slice", b.op("Shape", value), b.ints(1), b.ints((1 << 63) - 1))
    back = b.op("Reshape", value, b.op("Concat", front, rest, axis=0))
    return Laid((*x.shape[:2], *y.shape[1:]), author=back, dtype=y.dtype)


def _rest(b: Builder, x: Laid) -> ir.Value:
    """The sizes behind batch and steps."""
    if all(n is not None for n in x.shape[2:]):
        return b.ints(*(n or 0 for n in x.shape[2:]))
    return b.op("Slice", b.op("Shape", b.author(x)), b.ints(2), b.ints((1 << 63) - 1))


@layer("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def conv_lstm(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Sequence[Laid]:
    """[N, T, ..., I]: an LSTM whose products are convolutions, of the input padded as told and of the state alike."""
    x = inputs[0]
    n = x.rank - 3
    layer = _explicit(layer, b)
    first = is_channels_first(layer)
    with b.within(layer, "cell"):
        *sizes, width, out = b.weight_shape("kernel", rank=n + 2)
        *inner_sizes, units, _ = b.weight_shape("recurrent_kernel", rank=n + 2)
        perm = [n + 1, n, *range(n)]
        kernel = b.op("Transpose", flipped(b, b.weight("kernel"), n), perm=perm)
        inner = b.op("Transpose", flipped(b, b.weight("recurrent_kernel"), n), perm=perm)
        bias = b.weight("bias", rank=1) if layer.get("use_bias", True) else None
    strides, dilations = numbers(layer.get("strides", 1), n), numbers(layer.get("dilation_rate", 1), n)
    shape: Shape = (x.shape[0], *(x.shape[2:] if first else (x.shape[-1], *x.shape[2:-1])))
    if shape[1] not in (None, width) or out != 4 * units or None in shape[2:]:
        raise Fault(f"layer {layer.name!r}: a kernel for {width} channels on {shape}", is_refusal=True)
    pads, after = window(layer, shape, sizes, strides, dilations)
    main, gate = layer.config.get("activation", "tanh"), layer.config.get("recurrent_activation", "hard_sigmoid")
    around = [*((k - 1) // 2 for k in inner_sizes), *(k - 1 - (k - 1) // 2 for k in inner_sizes)]

    def step(value: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        z = b.op(
            "Conv", value, kernel, bias, kernel_shape=sizes, strides=list(strides), dilations=list(dilations), **pads
        )
        h = b.op("Conv", states[0], inner, kernel_shape=inner_sizes, pads=around)
        return _lstm_step(b, layer, _split(b, b.op("Add", z, h), 4, axis=1), states[1], main, gate)

    size = (units, *(m or 0 for m in after))
    value = b.author(x) if first else b.op("Transpose", b.author(x), perm=[0, 1, x.rank - 1, *range(2, x.rank - 1)])
    moved = Laid((*x.shape[:2], *shape[1:]), author=value, mask=x.mask)
    made = _scanned(b, layer, moved, list(inputs[1:]), Cell((size, size), step))
    return made if first else [_channels_last(b, y, n) for y in made]


def _channels_last(b: Builder, y: Laid, n: int) -> Laid:
    axis = y.rank - n - 1
    perm = [*range(axis), *range(axis + 1, y.rank), axis]
    return Laid(tuple(y.shape[p] for p in perm), author=b.op("Transpose", b.author(y), perm=perm), mask=y.mask)


@layer("Masking")
def masking(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """Steps of which every number is `mask_value` become zero and don't count."""
    x = one(inputs, layer)
    value = b.author(x)
    wanted = b.constant(np.array(layer.get("mask_value", 0.0), np.float32))
    differs = b.op("Cast", b.op("Not", b.op("Equal", value, wanted)), to=ir.DataType.FLOAT)
    counts = b.op("ReduceMax", differs, b.ints(-1), keepdims=1)
    mask = b.op("Cast", b.op("Squeeze", counts, b.ints(-1)), to=ir.DataType.BOOL)
    return Laid(x.shape, author=b.op("Mul", value, counts), mask=mask)


@layer("SpectralNormalization")
def spectral_normalization(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid | Sequence[Laid]:
    """The layer inside: its kernel is divided while training, and kept so."""
    inner = layer_of(layer["layer"], f"{layer.name}_layer")
    emit = b.table.get(inner.kind)
    if emit is None or inner.model is not None:
        raise Fault(f"layer {inner.name!r} of class {inner.kind!r}", is_refusal=True)
    with b.within(inner, "layer"):
        return emit(b, inner, inputs)
