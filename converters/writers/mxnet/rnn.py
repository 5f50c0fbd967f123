"""Recurrent layers: MXNet's fused RNN where it computes the same, else their formula for each place in time.

MXNet's gates are torch's: input, forget, cell, output of an LSTM; reset, update, new of a GRU, whose state is reset
after its product. ONNX has them in another order: input, output, forget, cell; update, reset, new.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo.converters.fusions.recurrent_form import GATES
from zoo.converters.graph import DOMAIN
from zoo.converters.writers.mxnet import lowers
from zoo.errors import HubError

Value = Any
Activation = Callable[[Value], Value]
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# function(F, x, alpha, beta), and the two numbers; None where it has none. Without a default of ONNX's the neutral one
ACTIVATIONS: dict[str, tuple[Callable[..., Value], float | None, float | None]] = {
    "Relu": (lambda F, x, a, b: F.relu(x), None, None),
    "Tanh": (lambda F, x, a, b: F.tanh(x), None, None),
    "Sigmoid": (lambda F, x, a, b: F.sigmoid(x), None, None),
    "Softsign": (lambda F, x, a, b: F.softsign(x), None, None),
    "Softplus": (lambda F, x, a, b: F.relu(x) + F.log1p(F.exp(-F.abs(x))), None, None),
    "LeakyRelu": (lambda F, x, a, b: F.LeakyReLU(x, act_type="leaky", slope=a), 0.01, None),
    "ThresholdedRelu": (lambda F, x, a, b: x * (x > a), 1.0, None),
    "Elu": (lambda F, x, a, b: F.LeakyReLU(x, act_type="elu", slope=a), 1.0, None),
    "HardSigmoid": (lambda F, x, a, b: F.clip(a * x + b, 0, 1), 0.2, 0.5),
    "ScaledTanh": (lambda F, x, a, b: a * F.tanh(b * x), 1.0, 1.0),
    "Affine": (lambda F, x, a, b: a * x + b, 1.0, 0.0),
}


def _fused(
    w: Any,
    x: Value,
    states: Sequence[Value | None],
    weights: Sequence[Value],
    biases: Sequence[Value],
    *,
    mode: str,
    size: int,
    layers: int,
    both_ways: bool,
) -> tuple[Value, ...]:
    """MXNet's RNN of x [sequence, batch, input]: the output, and the last states [layers * directions, batch, size].

    Its parameters are one vector: of each layer and direction the two weights, then of each the two biases.
    """
    vector = w.F.concat(*(w.F.reshape(v, shape=(-1,)) for v in (*weights, *biases)), dim=0)
    count = layers * (1 + both_ways)
    given = [_zero_state(w, x, count, size) if s is None else s for s in states]
    made = w.F.RNN(
        x, vector, *given, state_size=size, num_layers=layers, bidirectional=both_ways, mode=mode, state_outputs=True
    )
    return tuple(made)


def _zero_state(w: Any, x: Value, count: int, size: int) -> Value:
    """Zeros [count, batch, size] for x [sequence, batch, input], whose batch may be free."""
    one = w.F.slice_axis(w.F.slice_axis(x, axis=0, begin=0, end=1), axis=2, begin=0, end=1)
    return w.F.broadcast_axis(w.F.zeros_like(one), axis=(0, 2), size=(count, size))


def _layer_of_torch(
    w: Any,
    kind: str,
    X: Value,
    rest: Sequence[Value],
    num_layers: int,
    bidirectional: int,
    bias: int,
    batch_first: int,
    mode: str,
) -> tuple[Value, ...]:
    directions, count = 1 + bidirectional, 2 if kind == "LSTM" else 1
    each = 4 if bias else 2
    has_state = len(rest) > num_layers * directions * each
    states, weights = (rest[:count], rest[count:]) if has_state else ([None] * count, rest)
    groups = [weights[i : i + each] for i in range(0, len(weights), each)]
    at = 1 + (count if has_state else 0)
    size = w.whole(at + 1)[1]
    zeros = (
        None if bias else w.F.zeros_like(w.F.reshape(w.F.slice_axis(groups[0][0], axis=1, begin=0, end=1), shape=(-1,)))
    )
    kernels = [v for group in groups for v in group[:2]]
    biases = [v for group in groups for v in (group[2:] if bias else (zeros, zeros))]
    x = w.F.swapaxes(X, dim1=0, dim2=1) if batch_first else X
    y, *last = _fused(
        w, x, states, kernels, biases, mode=mode, size=size, layers=num_layers, both_ways=bool(bidirectional)
    )
    return (w.F.swapaxes(y, dim1=0, dim2=1) if batch_first else y), *last


@lowers("LSTM", DOMAIN)
def lstm_of_torch(
    w: Any, X: Value, *rest: Value, num_layers: int, bidirectional: int, bias: int, batch_first: int
) -> Value:
    """An LSTM of layers over weights as torch keeps them (fusions/recurrent_form.py)."""
    return _layer_of_torch(w, "LSTM", X, rest, num_layers, bidirectional, bias, batch_first, "lstm")


@lowers("GRU", DOMAIN)
def gru_of_torch(
    w: Any, X: Value, *rest: Value, num_layers: int, bidirectional: int, bias: int, batch_first: int
) -> Value:
    """A GRU of layers over weights as torch keeps them."""
    return _layer_of_torch(w, "GRU", X, rest, num_layers, bidirectional, bias, batch_first, "gru")


@lowers("RNN", DOMAIN)
def rnn_of_torch(
    w: Any,
    X: Value,
    *rest: Value,
    num_layers: int,
    bidirectional: int,
    bias: int,
    batch_first: int,
    nonlinearity: str,
) -> Value:
    """An Elman network of layers over weights as torch keeps them."""
    return _layer_of_torch(w, "RNN", X, rest, num_layers, bidirectional, bias, batch_first, f"rnn_{nonlinearity}")


@lowers("RNN")
def rnn(
    w: Any,
    X: Value,
    W: Value,
    R: Value,
    B: Value = None,
    sequence_lens: Value = None,
    initial_h: Value = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> Value:
    """H = f(X W^T + H R^T + b): every place's state, and the last."""
    count = 2 if direction == "bidirectional" else 1
    chosen = _activations(w, "RNN", list(activations)[:count], direction, activation_alpha, activation_beta, clip)

    def step(d: int, f: Sequence[Activation], gates: Value, recurrent: Callable[..., Value], states: Any) -> Any:
        return (f[0](gates + recurrent(states[0])),)

    return _layer(w, step, (X, W, R, B, sequence_lens), (initial_h,), direction, layout, chosen)


@lowers("GRU")
def gru(
    w: Any,
    X: Value,
    W: Value,
    R: Value,
    B: Value = None,
    sequence_lens: Value = None,
    initial_h: Value = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Value:
    """A gated recurrent unit (Cho et al., arXiv:1406.1078): every place's state, and the last.

    The state is reset before it is multiplied by the recurrence, or after that (linear_before_reset), as torch does.
    """
    is_plain = activations is None and clip is None and sequence_lens is None and bool(linear_before_reset)
    if is_plain:
        return _layer_of_onnx(w, "GRU", (X, W, R, B), (initial_h,), direction, layout)
    chosen = _activations(w, "GRU", activations, direction, activation_alpha, activation_beta, clip)
    size = w.whole(2)[-1]

    def step(d: int, f: Sequence[Activation], gates: Value, recurrent: Callable[..., Value], states: Any) -> Any:
        (h,) = states
        both = f[0](_part(w, gates, 0, 2 * size) + recurrent(h, 0, 2 * size))
        update, reset = _part(w, both, 0, size), _part(w, both, size, 2 * size)
        if linear_before_reset:
            of_state = reset * recurrent(h, 2 * size, 3 * size)
        else:
            of_state = recurrent(reset * h, 2 * size, 3 * size)
        new = f[1](_part(w, gates, 2 * size, 3 * size) + of_state)
        return (new + update * (h - new),)

    return _layer(w, step, (X, W, R, B, sequence_lens), (initial_h,), direction, layout, chosen)


@lowers("LSTM")
def lstm(
    w: Any,
    X: Value,
    W: Value,
    R: Value,
    B: Value = None,
    sequence_lens: Value = None,
    initial_h: Value = None,
    initial_c: Value = None,
    P: Value = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> Value:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): every place's state, the last, and the last cell.

    Coupled gates (input_forget) forget what they don't take in. The clip is of what the gates sum up and not of the
    cell, as in ONNX Runtime. P [directions, 3 * hidden] is the cell's part in the gates.
    """
    is_plain = activations is None and clip is None and sequence_lens is None and P is None and not input_forget
    if is_plain:
        return _layer_of_onnx(w, "LSTM", (X, W, R, B), (initial_h, initial_c), direction, layout)
    chosen = _activations(w, "LSTM", activations, direction, activation_alpha, activation_beta, clip)
    n = w.whole(2)[-1]

    def step(d: int, f: Sequence[Activation], gates: Value, recurrent: Callable[..., Value], states: Any) -> Any:
        h, c = states
        total = gates + recurrent(h)
        of_input, of_output, of_forgetting, of_cell = (_part(w, total, i * n, (i + 1) * n) for i in range(4))
        row = None if P is None else w.F.slice_axis(P, axis=0, begin=d, end=d + 1)

        def seen(i: int, cell: Value) -> Value:
            return 0 if row is None else w.F.broadcast_mul(cell, _part(w, row, i * n, (i + 1) * n))

        taken = f[0](of_input + seen(0, c))
        kept = 1 - taken if input_forget else f[0](of_forgetting + seen(2, c))
        c = kept * c + taken * f[1](of_cell)
        return f[0](of_output + seen(1, c)) * f[2](c), c

    return _layer(w, step, (X, W, R, B, sequence_lens), (initial_h, initial_c), direction, layout, chosen)


def _part(w: Any, x: Value, begin: int, end: int) -> Value:
    return w.F.slice_axis(x, axis=1, begin=begin, end=end)


def _activations(
    w: Any,
    kind: str,
    names: Sequence[str] | None,
    direction: str,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    clip: float | None,
) -> list[Activation]:
    """The functions of each direction, those with an alpha or beta taking the next one of the list.

    All but an LSTM's last one cut their argument to the range from -clip to clip.
    """
    if direction not in ("forward", "reverse", "bidirectional"):
        raise HubError(f"{kind} with the direction {direction!r}; ONNX knows forward, reverse and bidirectional")
    wanted = DEFAULTS[kind] * (2 if direction == "bidirectional" else 1)
    names = list(names) if names else wanted
    if len(names) != len(wanted):
        raise HubError(f"{kind} with {len(names)} activations, where {len(wanted)} are due")
    known = {name.lower(): name for name in ACTIVATIONS}
    left_alphas, left_betas = list(alphas or ()), list(betas or ())
    chosen: list[Activation] = []
    for i, given in enumerate(names):
        if given.lower() not in known:
            raise HubError(f"{kind} with the activation {given!r}; ONNX knows {', '.join(ACTIVATIONS)}")
        f, alpha, beta = ACTIVATIONS[known[given.lower()]]
        alpha = left_alphas.pop(0) if alpha is not None and left_alphas else alpha
        beta = left_betas.pop(0) if beta is not None and left_betas else beta
        limit = clip if kind != "LSTM" or i % 3 < 2 else None
        chosen.append(_activation(w.F, f, alpha, beta, limit))
    return chosen


def _activation(F: Any, f: Callable[..., Value], alpha: Any, beta: Any, clip: float | None) -> Activation:
    return lambda x: f(F, x if clip is None else F.clip(x, -clip, clip), alpha, beta)


def _direction(w: Any, x: Value, d: int) -> Value:
    return w.F.squeeze(w.F.slice_axis(x, axis=0, begin=d, end=d + 1), axis=0)


def _layer_of_onnx(
    w: Any, kind: str, inputs: Sequence[Value], states: Sequence[Value], direction: str, layout: int
) -> tuple[Value, ...]:
    """A layer with the default activations as MXNet's RNN, ONNX's weights brought into its order of gates."""
    x, weight, recurrence, bias = inputs
    x, *states = (w.F.swapaxes(v, dim1=0, dim2=1) if layout and v is not None else v for v in (x, *states))
    directions, rows, size = w.whole(2)
    gates = GATES[kind]
    order = [gates.index(i) for i in range(len(gates))]

    def ordered(v: Value) -> Value:
        blocks = (w.F.slice_axis(v, axis=0, begin=g * size, end=(g + 1) * size) for g in order)
        return w.F.concat(*blocks, dim=0)

    if direction == "reverse":
        x = w.F.reverse(x, axis=0)
    kernels = [ordered(_direction(w, v, d)) for d in range(directions) for v in (weight, recurrence)]
    biases = []
    for d in range(directions):
        for i in (0, 1):
            if bias is None:
                column = w.F.slice_axis(_direction(w, weight, d), axis=1, begin=0, end=1)
                biases.append(w.F.zeros_like(w.F.reshape(column, shape=(-1,))))
            else:
                half = w.F.slice_axis(_direction(w, bias, d), axis=0, begin=i * rows, end=(i + 1) * rows)
                biases.append(ordered(half))
    options = {"mode": kind.lower(), "size": size, "layers": 1, "both_ways": directions == 2}
    y, *last = _fused(w, x, states, kernels, biases, **options)
    if direction == "reverse":
        y = w.F.reverse(y, axis=0)
    y = w.F.reshape(y, shape=(0, 0, directions, size))
    if layout:
        return w.F.swapaxes(y, dim1=0, dim2=1), *(w.F.swapaxes(s, dim1=0, dim2=1) for s in last)
    return w.F.transpose(y, axes=(0, 2, 1, 3)), *last


def _layer(
    w: Any,
    step: Callable[..., tuple[Value, ...]],
    inputs: Sequence[Value],
    states: Sequence[Value],
    direction: str,
    layout: int,
    activations: Sequence[Activation],
) -> tuple[Value, ...]:
    """Each direction over time, in ONNX's layout: X [sequence, batch, input], or the batch first with `layout`.

    A sample's output is zero from its length on, and its state stays what it was before.
    """
    x, weight, recurrence, bias, lengths = inputs
    length = w.whole(0)[1 if layout else 0]
    x, *states = (w.F.swapaxes(v, dim1=0, dim2=1) if layout and v is not None else v for v in (x, *states))
    directions, rows, size = w.whole(2)
    each = len(activations) // directions
    outputs, ends = [], []
    for d in range(directions):
        kernel, recurrent = _direction(w, weight, d), _direction(w, recurrence, d)
        halves = [None, None]
        if bias is not None:
            both = _direction(w, bias, d)
            halves = [w.F.slice_axis(both, axis=0, begin=i * rows, end=(i + 1) * rows) for i in (0, 1)]
        state = [
            _zero_state(w, x, 1, size) if s is None else w.F.slice_axis(s, axis=0, begin=d, end=d + 1) for s in states
        ]
        state = [w.F.squeeze(s, axis=0) for s in state]

        def product(h: Value, begin: int = 0, end: int = rows, m: Value = recurrent, b: Value = halves[1]) -> Value:
            part = m if (begin, end) == (0, rows) else w.F.slice_axis(m, axis=0, begin=begin, end=end)
            if b is None:
                return w.F.FullyConnected(h, part, num_hidden=end - begin, no_bias=True)
            return w.F.FullyConnected(h, part, w.F.slice_axis(b, axis=0, begin=begin, end=end), num_hidden=end - begin)

        places = range(length - 1, -1, -1) if direction == "reverse" or d == 1 else range(length)
        made: dict[int, Value] = {}
        for t in places:
            now = w.F.squeeze(w.F.slice_axis(x, axis=0, begin=t, end=t + 1), axis=0)
            gates = w.F.FullyConnected(
                now, kernel, *([] if halves[0] is None else halves[:1]), num_hidden=rows, no_bias=halves[0] is None
            )
            after = list(step(d, activations[d * each : (d + 1) * each], gates, product, state))
            made[t] = after[0]
            if lengths is not None:
                inside = w.F.reshape(w.cast(lengths > t, w.computed_in(0)), shape=(-1, 1))
                after = [old + w.F.broadcast_mul(new - old, inside) for new, old in zip(after, state, strict=True)]
                made[t] = w.F.broadcast_mul(made[t], inside)
            state = after
        outputs.append(w.F.stack(*(made[t] for t in range(length)), axis=0))
        ends.append(state)
    y = w.F.stack(*outputs, axis=1)
    last = [w.F.stack(*state, axis=0) for state in zip(*ends, strict=True)]
    if layout:
        return w.F.transpose(y, axes=(2, 0, 1, 3)), *(w.F.swapaxes(s, dim1=0, dim2=1) for s in last)
    return y, *last
