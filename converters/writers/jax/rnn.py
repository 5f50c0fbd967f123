"""ONNX's recurrent layers over weights as ONNX stacks them, by lax.scan over time.

W [directions, gates * hidden, input], R [directions, gates * hidden, hidden], B [directions, 2 * gates * hidden] (those
of the inputs, then those of the states). The gates are input, output, forget, cell; or update, reset, new.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.sizes import places
from zoo.errors import HubError

Value = Any
Activation = Callable[[Value], Value]
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# function(x, alpha, beta), and the two numbers; None where it has none. Where ONNX says no default, the neutral number
ACTIVATIONS: dict[str, tuple[Callable[..., Value], float | None, float | None]] = {
    "Relu": (lambda x, a, b: jax.nn.relu(x), None, None),
    "Tanh": (lambda x, a, b: jnp.tanh(x), None, None),
    "Sigmoid": (lambda x, a, b: jax.nn.sigmoid(x), None, None),
    "Softsign": (lambda x, a, b: jax.nn.soft_sign(x), None, None),
    "Softplus": (lambda x, a, b: jax.nn.softplus(x), None, None),
    "LeakyRelu": (lambda x, a, b: jax.nn.leaky_relu(x, a), 0.01, None),
    "ThresholdedRelu": (lambda x, a, b: jnp.where(x > a, x, 0), 1.0, None),
    "Elu": (lambda x, a, b: jax.nn.elu(x, a), 1.0, None),
    "HardSigmoid": (lambda x, a, b: jnp.clip(a * x + b, 0, 1), 0.2, 0.5),
    "ScaledTanh": (lambda x, a, b: a * jnp.tanh(b * x), 1.0, 1.0),
    "Affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
}


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
    chosen = _activations("RNN", list(activations)[:count], direction, activation_alpha, activation_beta, clip)

    def step(d: int, f: Sequence[Activation], bias: Value) -> Any:
        return lambda gates, h: (f[0](gates + h @ R[d].T + bias),)

    return _layer(step, (X, W, R, B, sequence_lens), (initial_h,), direction, layout, chosen)


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
    chosen = _activations("GRU", activations, direction, activation_alpha, activation_beta, clip)
    size = R.shape[-1]

    def step(d: int, f: Sequence[Activation], bias: Value) -> Any:
        first, last, b, c = R[d, : 2 * size].T, R[d, 2 * size :].T, bias[: 2 * size], bias[2 * size :]

        def next_state(gates: Value, h: Value) -> tuple[Value]:
            update, reset = jnp.split(f[0](gates[:, : 2 * size] + h @ first + b), 2, -1)
            of_state = reset * (h @ last + c) if linear_before_reset else (reset * h) @ last + c
            new = f[1](gates[:, 2 * size :] + of_state)
            return ((1 - update) * new + update * h,)

        return next_state

    return _layer(step, (X, W, R, B, sequence_lens), (initial_h,), direction, layout, chosen)


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
    chosen = _activations("LSTM", activations, direction, activation_alpha, activation_beta, clip)

    def step(d: int, f: Sequence[Activation], bias: Value) -> Any:
        peephole = [0, 0, 0] if P is None else jnp.split(P[d], 3)

        def next_state(gates: Value, h: Value, c: Value) -> tuple[Value, Value]:
            of_input, of_output, of_forgetting, of_cell = jnp.split(gates + h @ R[d].T + bias, 4, -1)
            taken = f[0](of_input + peephole[0] * c)
            kept = 1 - taken if input_forget else f[0](of_forgetting + peephole[2] * c)
            c = kept * c + taken * f[1](of_cell)
            return f[0](of_output + peephole[1] * c) * f[2](c), c

        return next_state

    return _layer(step, (X, W, R, B, sequence_lens), (initial_h, initial_c), direction, layout, chosen)


def _activations(
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
        chosen.append(_activation(f, alpha, beta, limit))
    return chosen


def _activation(f: Callable[..., Value], alpha: float | None, beta: float | None, clip: float | None) -> Activation:
    return lambda x: f(x if clip is None else jnp.clip(x, -clip, clip), alpha, beta)


def _layer(
    step_of: Callable[[int, Sequence[Activation], Value], Callable[..., tuple[Value, ...]]],
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
    x, *states = (v.swapaxes(0, 1) if layout and v is not None else v for v in (x, *states))
    directions, hidden = recurrence.shape[0], recurrence.shape[2]
    zeros = jnp.zeros((directions, x.shape[1], hidden), x.dtype)
    states = [zeros if s is None else s for s in states]
    each = len(activations) // directions
    outputs, last = [], []
    for d in range(directions):
        both = jnp.zeros((2, weight.shape[1]), x.dtype) if bias is None else bias[d].reshape(2, -1)
        gates = jnp.matmul(x, weight[d].T) + both[0]
        step = step_of(d, activations[d * each : (d + 1) * each], both[1])
        is_backward = direction == "reverse" or d == 1
        y, end = _over_time(step, gates, tuple(s[d] for s in states), lengths, is_backward)
        outputs.append(y)
        last.append(end)
    y = jnp.stack(outputs, 1)
    ends = [jnp.stack(state) for state in zip(*last, strict=True)]
    if layout:
        return y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in ends)
    return y, *ends


def _over_time(
    step: Callable[..., tuple[Value, ...]], gates: Value, states: tuple[Value, ...], lengths: Value, is_backward: bool
) -> tuple[Value, tuple[Value, ...]]:
    def at(carry: tuple[Value, ...], now: tuple[Value, Value]) -> tuple[tuple[Value, ...], Value]:
        t, gate = now
        after = tuple(new.astype(old.dtype) for new, old in zip(step(gate, *carry), carry, strict=True))
        if lengths is None:
            return after, after[0]
        is_inside = (t < lengths)[:, None]
        after = tuple(jnp.where(is_inside, new, old) for new, old in zip(after, carry, strict=True))
        return after, jnp.where(is_inside, after[0], 0)

    last, y = lax.scan(at, states, (places(gates.shape[0]), gates), reverse=is_backward)
    return y, last
