"""ai.onnx.preview.training: one step of an optimiser, over any number of tensors, in ONNX's own words.

Inputs are the learning rate R and the count of updates T, both scalars, then for all tensors X, their gradients G, and
the optimiser's state; outputs are the new X, then the new state. Source: the operators' specification, ONNX 1.23.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from zoo.converters.expansions import Builder, expands

DOMAIN = "ai.onnx.preview.training"


def _groups(node: ir.Node, n: int) -> list[list[ir.Value | None]]:
    """The inputs behind R and T in `n` groups of the same length: all X, all G, ..."""
    tensors = list(node.inputs[2:])
    size = len(tensors) // n
    return [tensors[i * size : (i + 1) * size] for i in range(n)]


def _factor(op: Builder, node: ir.Node, attribute: str, default: float, like: Any) -> ir.Value:
    """An attribute as a scalar of the tensors' dtype."""
    return op.scalar(node.attributes.get_float(attribute, default), like)


def _regularised(op: Builder, node: ir.Node, x: ir.Value, gradient: ir.Value) -> ir.Value:
    """The gradient with that of an L2 penalty."""
    made: ir.Value = op.Add(op.Mul(_factor(op, node, "norm_coefficient", 0.0, x), x), gradient)
    return made


@expands("Adagrad", DOMAIN)
def adagrad(op: Builder, node: ir.Node) -> Sequence[ir.Value | None]:
    """H' = H + g^2; X' = X - r g / (sqrt(H') + epsilon), where r = R / (1 + T decay_factor)."""
    rate, count = node.inputs[:2]
    decay = op.Mul(op.CastLike(count, rate), _factor(op, node, "decay_factor", 0.0, rate))
    rate = op.Div(rate, op.Add(op.scalar(1.0, rate), decay))
    xs, squares = [], []
    for x, g, h in zip(*_groups(node, 3), strict=True):
        gradient = _regularised(op, node, x, g)
        square = op.Add(h, op.Mul(gradient, gradient))
        root = op.Add(op.Sqrt(square), _factor(op, node, "epsilon", 0.0, x))
        xs.append(op.Sub(x, op.Div(op.Mul(rate, gradient), root)))
        squares.append(square)
    return [*xs, *squares]


@expands("Adam", DOMAIN)
def adam(op: Builder, node: ir.Node) -> Sequence[ir.Value | None]:
    """V' = alpha V + (1 - alpha) g; H' = beta H + (1 - beta) g^2; X' = X - r V' / (sqrt(H') + epsilon), then shrunk.

    r = R sqrt(1 - beta^T) / (1 - alpha^T) from the first update on, R before it.
    """
    rate, count = node.inputs[:2]
    alpha, beta = (node.attributes.get_float(n, d) for n, d in (("alpha", 0.9), ("beta", 0.999)))
    one, updates = op.scalar(1.0, rate), op.CastLike(count, rate)
    corrected = op.Div(
        op.Mul(rate, op.Sqrt(op.Sub(one, op.Pow(op.scalar(beta, rate), updates)))),
        op.Sub(one, op.Pow(op.scalar(alpha, rate), updates)),
    )
    rate = op.Where(op.Greater(count, op.const(0)), corrected, rate)
    shrink = 1 - node.attributes.get_float("norm_coefficient_post", 0.0)
    xs, means, squares = [], [], []
    for x, g, v, h in zip(*_groups(node, 4), strict=True):
        gradient = _regularised(op, node, x, g)
        mean = op.Add(op.Mul(op.scalar(alpha, x), v), op.Mul(op.scalar(1 - alpha, x), gradient))
        square = op.Add(op.Mul(op.scalar(beta, x), h), op.Mul(op.scalar(1 - beta, x), op.Mul(gradient, gradient)))
        root = op.Add(op.Sqrt(square), _factor(op, node, "epsilon", 0.0, x))
        xs.append(op.Mul(op.scalar(shrink, x), op.Sub(x, op.Div(op.Mul(rate, mean), root))))
        means.append(mean)
        squares.append(square)
    return [*xs, *means, *squares]


@expands("Momentum", DOMAIN)
def momentum(op: Builder, node: ir.Node) -> Sequence[ir.Value | None]:
    """V' = alpha V + b g, b = beta from the first update on and 1 before; X' = X - R V', or X - R (g + alpha V')."""
    rate, count = node.inputs[:2]
    nesterov = node.attributes.get_string("mode", "standard") == "nesterov"
    beta = _factor(op, node, "beta", 0.0, rate)
    weight = op.Where(op.Greater(count, op.const(0)), beta, op.scalar(1.0, rate))
    xs, momenta = [], []
    for x, g, v in zip(*_groups(node, 3), strict=True):
        gradient, alpha = _regularised(op, node, x, g), _factor(op, node, "alpha", 0.0, x)
        moment = op.Add(op.Mul(alpha, v), op.Mul(weight, gradient))
        direction = op.Add(gradient, op.Mul(alpha, moment)) if nesterov else moment
        xs.append(op.Sub(x, op.Mul(rate, direction)))
        momenta.append(moment)
    return [*xs, *momenta]
