"""ONNX's recurrent layers over weights as ONNX stacks them (recurrent.py), and torch's own over torch's weights."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.recurrent import fused_recurrence, recurrence_in_turn
from zoo.errors import HubError

Value = Any
Activation = tuple[str, float, float]  # a name of ACTIVATIONS, alpha, beta
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# the functions with their alpha and beta; None where they have none. Where ONNX says no default, the neutral number
ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "Relu": (None, None),
    "Tanh": (None, None),
    "Sigmoid": (None, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "Elu": (1.0, None),
    "HardSigmoid": (0.2, 0.5),
    "ScaledTanh": (1.0, 1.0),
    "Affine": (1.0, 0.0),
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
    chosen = _activations("RNN", list(activations)[:count], direction, activation_alpha, activation_beta)
    return _layer(w, "RNN", (X, W, R, B, sequence_lens, initial_h), direction, layout, chosen, clip=clip)


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
    """A gated recurrent unit (Cho et al., arXiv:1406.1078): every place's state, and the last."""
    chosen = _activations("GRU", activations, direction, activation_alpha, activation_beta)
    inputs = (X, W, R, B, sequence_lens, initial_h)
    return _layer(w, "GRU", inputs, direction, layout, chosen, clip=clip, resets_late=bool(linear_before_reset))


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
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): every place's state, the last, and the last cell."""
    chosen = _activations("LSTM", activations, direction, activation_alpha, activation_beta)
    inputs = (X, W, R, B, sequence_lens, initial_h, initial_c, P)
    return _layer(w, "LSTM", inputs, direction, layout, chosen, clip=clip, couples_gates=bool(input_forget))


def _activations(
    kind: str,
    names: Sequence[str] | None,
    direction: str,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
) -> list[Activation]:
    """The functions of each direction, those with an alpha or beta taking the next one of the list."""
    if direction not in ("forward", "reverse", "bidirectional"):
        raise HubError(f"{kind} with the direction {direction!r}; ONNX knows forward, reverse and bidirectional")
    wanted = DEFAULTS[kind] * (2 if direction == "bidirectional" else 1)
    names = list(names) if names else wanted
    if len(names) != len(wanted):
        raise HubError(f"{kind} with {len(names)} activations, where {len(wanted)} are due")
    known = {name.lower(): name for name in ACTIVATIONS}
    left_alphas, left_betas = list(alphas or ()), list(betas or ())
    chosen: list[Activation] = []
    for given in names:
        if given.lower() not in known:
            raise HubError(f"{kind} with the activation {given!r}; ONNX knows {', '.join(ACTIVATIONS)}")
        name = known[given.lower()]
        alpha, beta = ACTIVATIONS[name]
        if alpha is not None and left_alphas:
            alpha = left_alphas.pop(0)
        if beta is not None and left_betas:
            beta = left_betas.pop(0)
        chosen.append((name, alpha or 0.0, beta or 0.0))
    return chosen


def _layer(
    w: Any,
    kind: str,
    inputs: Sequence[Value],
    direction: str,
    layout: int,
    activations: list[Activation],
    *,
    clip: float | None = None,
    resets_late: bool | None = None,
    couples_gates: bool = False,
) -> tuple[Value, ...]:
    """By torch's kernel where it computes the same, else in a loop over time; in ONNX's layout."""
    x, weight, recurrence, bias, lengths, h, *further = inputs
    c, peepholes = further or (None, None)
    if layout:
        x, h, c = (v if v is None else v.transpose(0, 1) for v in (x, h, c))
    lengths = None if _are_whole(w, lengths, 1 if layout else 0) else lengths
    names = [name for name, _, _ in activations]
    nonlinearity = names[0].lower() if kind == "RNN" else "tanh"
    usual = names == DEFAULTS[kind] * (len(names) // len(DEFAULTS[kind])) or (kind == "RNN" and set(names) == {"Relu"})
    plain = clip is None and lengths is None and peepholes is None and resets_late is not False and not couples_gates
    if usual and plain:
        given: dict[str, Any] = {} if kind == "LSTM" else {"kind": kind}
        given |= {"nonlinearity": nonlinearity} if nonlinearity != "tanh" else {}
        given |= {"is_reverse": True} if direction == "reverse" else {}
        found = w.function(fused_recurrence, x, weight, recurrence, bias, h, c, **given)
    else:
        options = {"clip": clip, "resets_late": resets_late or None, "couples_gates": couples_gates or None}
        found = w.function(
            recurrence_in_turn, x, weight, recurrence, bias, lengths, h, c, peepholes,
            kind=kind, direction=direction, activations=tuple(activations),
            **{name: value for name, value in options.items() if value is not None},
        )  # fmt: skip
    states = [found[i] for i in range(3 if kind == "LSTM" else 2)]
    if layout:
        return states[0].permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in states[1:])
    return tuple(states)


def _are_whole(w: Any, lengths: Value, axis: int) -> bool:
    """Whether every sequence is as long as the input is along its axis of time."""
    known, size = w.known(lengths), (w.shape_in(0) or (None, None))[axis]
    return known is not None and isinstance(size, int) and bool((known == size).all())


@lowers("LSTM", DOMAIN)
def torch_lstm(w: Any, X: Value, H0: Value, C0: Value, *weights: Value, **attributes: Any) -> Value:
    """nn.LSTM over its own weights, in torch's order; see fusions/recurrent.py."""
    return _module(w, nn.LSTM, X, [H0, C0], weights, **attributes)


@lowers("GRU", DOMAIN)
def torch_gru(w: Any, X: Value, H0: Value, *weights: Value, **attributes: Any) -> Value:
    """nn.GRU over its own weights, in torch's order; see fusions/recurrent.py."""
    return _module(w, nn.GRU, X, [H0], weights, **attributes)


@lowers("RNN", DOMAIN)
def torch_rnn(w: Any, X: Value, H0: Value, *weights: Value, **attributes: Any) -> Value:
    """nn.RNN over its own weights, in torch's order; see fusions/recurrent.py."""
    return _module(w, nn.RNN, X, [H0], weights, **attributes)


def _module(
    w: Any,
    cls: type[nn.RNNBase],
    x: Value,
    states: Sequence[Value],
    weights: Sequence[Value],
    *,
    num_layers: int,
    bidirectional: int,
    bias: int,
    batch_first: int,
    nonlinearity: str | None = None,
) -> tuple[Value, ...]:
    """A call of torch's module; a state that is given has the other one besides."""
    options: dict[str, Any] = {"num_layers": num_layers, "bidirectional": bool(bidirectional), "bias": bool(bias)}
    options |= {"batch_first": bool(batch_first)} | ({"nonlinearity": nonlinearity} if nonlinearity else {})
    path = w.names.get(weights[0].node, "").rpartition(".")[0]
    if p := w.classes.get(path, ("", {}))[1].get("dropout"):  # between layers, while the module trains
        options["dropout"] = p
    sizes = {"input_size": w.shape(weights[0])[1], "hidden_size": w.shape(weights[1])[1]}
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if bias else 2]
    ends = [f"_l{k}{'_reverse' * d}" for k in range(num_layers) for d in range(2 if bidirectional else 1)]
    named = dict(zip([f"{field}{end}" for end in ends for field in fields], weights, strict=True))
    found = w.layer(cls, x, {**sizes, **options}, **named)
    if found is None:
        raise HubError(f"the weights of a {cls.__name__} do not fit {cls.__name__}({sizes | options})")
    w.root.get_submodule(str(found.node.target))._init_flat_weights()  # the module keeps a list of them besides
    if states[0] is not None:
        found.node.args = (found.node.args[0], tuple(s.node for s in states) if len(states) > 1 else states[0].node)
    last = found[1]
    return (found[0], last[0], last[1]) if cls is nn.LSTM else (found[0], last)
