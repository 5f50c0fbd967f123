"""Recurrent networks over ONNX's weights: torch's fused kernels for the usual ones, a loop over time for all others.

ONNX stacks what belongs together: weight [directions, gates * hidden, input], recurrence [directions, gates * hidden,
hidden], bias [directions, 2 * gates * hidden] (those of the inputs, then those of the states). Its gates are in another
order than torch's: input, output, forget, cell where torch has input, forget, cell, output; update, reset, new where
torch has reset, update, new.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # where torch's gates stand among ONNX's


def fused_recurrence(
    x: torch.Tensor,
    weight: torch.Tensor,
    recurrence: torch.Tensor,
    bias: torch.Tensor | None,
    h: torch.Tensor | None = None,
    c: torch.Tensor | None = None,
    *,
    kind: str = "LSTM",
    nonlinearity: str = "tanh",
    is_reverse: bool = False,
) -> tuple[torch.Tensor, ...]:
    """One layer of LSTM, GRU or RNN over x [sequence, batch, input] by the kernel that nn.LSTM and the others call.

    The states h and c are [directions, batch, hidden], zero without. Returns the output [sequence, directions, batch,
    hidden] and the last states.
    """
    directions, hidden = recurrence.shape[0], recurrence.shape[2]
    parameters = []
    for d in range(directions):
        both = () if bias is None else bias[d].chunk(2)
        for rows in (weight[d], recurrence[d], *both):
            blocks = rows.split(hidden)
            parameters.append(torch.cat([blocks[i] for i in GATES[kind]]))
    h = x.new_zeros(directions, x.shape[1], hidden) if h is None else h
    x = x.flip(0) if is_reverse else x
    options = (parameters, bias is not None, 1, 0.0, torch.is_grad_enabled(), directions == 2, False)
    if kind == "LSTM":
        y, *states = torch.lstm(x, (h, torch.zeros_like(h) if c is None else c), *options)
    elif kind == "GRU":
        y, *states = torch.gru(x, h, *options)
    elif nonlinearity == "relu":
        y, *states = torch.rnn_relu(x, h, *options)
    else:
        y, *states = torch.rnn_tanh(x, h, *options)
    y = y.flip(0) if is_reverse else y
    return (y.unflatten(2, (directions, hidden)).transpose(1, 2), *states)


def recurrence_in_turn(
    x: torch.Tensor,
    weight: torch.Tensor,
    recurrence: torch.Tensor,
    bias: torch.Tensor | None,
    lengths: torch.Tensor | None = None,
    h: torch.Tensor | None = None,
    c: torch.Tensor | None = None,
    peepholes: torch.Tensor | None = None,
    *,
    kind: str,
    direction: str,
    activations: Sequence[tuple[str, float, float]],
    clip: float | None = None,
    resets_late: bool = False,
    couples_gates: bool = False,
) -> tuple[torch.Tensor, ...]:
    """One layer of LSTM, GRU or RNN over x [sequence, batch, input], one place after the other, in all ONNX's variants.

    The states h and c are [directions, batch, hidden], zero without; peepholes [directions, 3 * hidden] are the cell's
    part in the gates. A sample's output is zero from its length on, and its state stays what it was before. Each
    direction has its own `activations`. Returns the output [sequence, directions, batch, hidden] and the last states.
    """
    directions, hidden, times = recurrence.shape[0], recurrence.shape[2], range(x.shape[0])
    states = [x.new_zeros(directions, x.shape[1], hidden) if s is None else s for s in (h, c)]
    each = len(activations) // directions
    outputs, last_h, last_c = [], [], []
    for d in range(directions):
        from_input, from_state = (0, 0) if bias is None else bias[d].chunk(2)
        cell_part = None if peepholes is None else peepholes[d].chunk(3)
        functions = activations[d * each : (d + 1) * each]
        gates = x @ weight[d].mT + from_input
        h, c = states[0][d], states[1][d]
        is_backward = direction == "reverse" or d == 1
        read = []
        for t in reversed(times) if is_backward else times:
            before = (h, c)
            if kind == "LSTM":
                h, c = lstm_step(gates[t] + from_state, h, c, recurrence[d], cell_part, functions, clip, couples_gates)
            elif kind == "GRU":
                h = gru_step(gates[t], h, recurrence[d], from_state, functions, clip, resets_late)
            else:
                h = activated(gates[t] + h @ recurrence[d].mT + from_state, functions[0], clip)
            if lengths is not None:
                is_inside = (t < lengths).unsqueeze(1)
                h, c = torch.where(is_inside, h, before[0]), torch.where(is_inside, c, before[1])
                read.append(torch.where(is_inside, h, 0))
            else:
                read.append(h)
        outputs.append(torch.stack(read[::-1] if is_backward else read))
        last_h.append(h)
        last_c.append(c)
    return torch.stack(outputs, 1), torch.stack(last_h), torch.stack(last_c)


def lstm_step(
    gates: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    recurrence: torch.Tensor,
    peepholes: Sequence[torch.Tensor] | None,
    activations: Sequence[tuple[str, float, float]],
    clip: float | None,
    couples_gates: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next states [batch, hidden]; what the input gives each gate is [batch, 4 * hidden].

    Coupled gates forget what they don't take in. The clip is of what the gates sum up and not of the cell, as in ONNX
    Runtime.
    """
    of_input, of_output, of_forgetting, of_cell = (gates + h @ recurrence.mT).chunk(4, -1)
    if peepholes is not None:
        of_input, of_forgetting = of_input + peepholes[0] * c, of_forgetting + peepholes[2] * c
    taken = activated(of_input, activations[0], clip)
    kept = 1 - taken if couples_gates else activated(of_forgetting, activations[0], clip)
    c = kept * c + taken * activated(of_cell, activations[1], clip)
    if peepholes is not None:
        of_output = of_output + peepholes[1] * c
    return activated(of_output, activations[0], clip) * activated(c, activations[2]), c


def gru_step(
    gates: torch.Tensor,
    h: torch.Tensor,
    recurrence: torch.Tensor,
    bias: torch.Tensor | int,
    activations: Sequence[tuple[str, float, float]],
    clip: float | None,
    resets_late: bool,
) -> torch.Tensor:
    """The next state [batch, hidden]; what the input gives each gate is [batch, 3 * hidden].

    The state is reset before it is multiplied by the recurrence, or late: after that, as torch does.
    """
    hidden = h.shape[-1]
    of_state = h @ recurrence[: 2 * hidden].mT
    late = h @ recurrence[2 * hidden :].mT if resets_late else 0
    new_bias: torch.Tensor | int = 0
    if isinstance(bias, torch.Tensor):
        of_state, new_bias = of_state + bias[: 2 * hidden], bias[2 * hidden :]
    update, reset = activated(gates[..., : 2 * hidden] + of_state, activations[0], clip).chunk(2, -1)
    of_new = reset * (late + new_bias) if resets_late else (reset * h) @ recurrence[2 * hidden :].mT + new_bias
    new = activated(gates[..., 2 * hidden :] + of_new, activations[1], clip)
    return (1 - update) * new + update * h


def activated(x: torch.Tensor, activation: tuple[str, float, float], clip: float | None = None) -> torch.Tensor:
    """One of ONNX's activations of recurrent networks, of x cut to the range from -clip to clip."""
    name, alpha, beta = activation
    if clip is not None:
        x = torch.clamp(x, -clip, clip)
    if name in ("Relu", "Tanh", "Sigmoid"):
        return {"Relu": torch.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}[name](x)
    if name in ("Softsign", "Softplus"):
        return F.softsign(x) if name == "Softsign" else F.softplus(x)
    if name == "ScaledTanh":
        return alpha * torch.tanh(beta * x)
    if name == "HardSigmoid":
        return torch.clamp(alpha * x + beta, 0, 1)
    if name in ("LeakyRelu", "Elu"):
        return F.leaky_relu(x, alpha) if name == "LeakyRelu" else F.elu(x, alpha)
    return F.threshold(x, alpha, 0.0) if name == "ThresholdedRelu" else alpha * x + beta
