"""aten's losses, which stand in models that were traced with them: `reduction` is 0 none, 1 mean, 2 sum."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import lowers, own
from zoo.converters.readers.torch_shapes import places

REDUCTIONS = ("none", "mean", "sum")


def _reduced(op: Scribe, x: ir.Value, reduction: int) -> ir.Value:
    if reduction == 0:
        return x
    reduce = op.ReduceMean if reduction == 1 else op.ReduceSum
    return reduce(x, None, keepdims=0)  # type: ignore[no-any-return]


@lowers("mse_loss")
def mse_loss(op: Scribe, self: ir.Value, target: ir.Value, reduction: int = 1) -> Any:
    """Squares of the differences."""
    away = op.Sub(self, target)
    return _reduced(op, op.Mul(away, away), reduction)


@lowers("l1_loss")
def l1_loss(op: Scribe, self: ir.Value, target: ir.Value, reduction: int = 1) -> Any:
    """Sizes of the differences."""
    return _reduced(op, op.Abs(op.Sub(self, target)), reduction)


@lowers("smooth_l1_loss")
def smooth_l1_loss(op: Scribe, self: ir.Value, target: ir.Value, reduction: int = 1, beta: float = 1.0) -> Any:
    """Squares of small differences over beta, sizes of large ones."""
    size = op.Abs(op.Sub(self, target))
    if beta == 0:
        return _reduced(op, size, reduction)
    inner = op.Div(op.Mul(size, size), op.scalar(2 * beta, size))
    outer = op.Sub(size, op.scalar(beta / 2, size))
    return _reduced(op, op.Where(op.Less(size, op.scalar(beta, size)), inner, outer), reduction)


@lowers("huber_loss")
def huber_loss(op: Scribe, self: ir.Value, target: ir.Value, reduction: int = 1, delta: float = 1.0) -> Any:
    """The same times delta."""
    made = smooth_l1_loss(op, self, target, 0, delta)
    return _reduced(op, op.Mul(made, op.scalar(delta, made)), reduction)


@lowers("binary_cross_entropy")
def binary_cross_entropy(op: Scribe, self: ir.Value, target: ir.Value, weight: Any = None, reduction: int = 1) -> Any:
    """Of probabilities; a logarithm is at least -100."""
    one, least = op.scalar(1, self), op.scalar(-100, self)
    yes, no = op.Max(op.Log(self), least), op.Max(op.Log(op.Sub(one, self)), least)
    made = op.Neg(op.Add(op.Mul(target, yes), op.Mul(op.Sub(one, target), no)))
    return _reduced(op, made if weight is None else op.Mul(made, weight), reduction)


@lowers("binary_cross_entropy_with_logits")
def with_logits(op: Scribe, self: ir.Value, target: ir.Value, weight: Any = None, pos_weight: Any = None,
                reduction: int = 1) -> Any:  # fmt: skip
    """Of logits."""
    one = op.scalar(1, self)
    soft = op.Softplus(op.Neg(self))
    if pos_weight is not None:
        soft = op.Mul(soft, op.Add(op.Mul(op.Sub(pos_weight, one), target), one))
    made = op.Add(op.Mul(op.Sub(one, target), self), soft)
    return _reduced(op, made if weight is None else op.Mul(made, weight), reduction)


def _nll(op: Scribe, x: ir.Value, target: ir.Value, weight: Any, reduction: int, ignore_index: int) -> ir.Value:
    how = {"reduction": REDUCTIONS[reduction], "ignore_index": ignore_index}
    return op.NegativeLogLikelihoodLoss(x, places(op, target), weight, **how)  # type: ignore[no-any-return]


@lowers("nll_loss", "nll_loss2d", "nll_loss_nd")
def nll_loss(op: Scribe, self: ir.Value, target: ir.Value, weight: Any = None, reduction: int = 1,
             ignore_index: int = -100) -> Any:  # fmt: skip
    """Of logarithms of probabilities."""
    return _nll(op, self, target, weight, reduction, ignore_index)


@lowers("nll_loss_forward", "nll_loss2d_forward")
def nll_loss_forward(
    op: Scribe, self: ir.Value, target: ir.Value, weight: Any, reduction: int, ignore_index: int
) -> Any:
    """The same, and what its gradient needs."""
    made = _nll(op, self, target, weight, reduction, ignore_index)
    return made, made


@lowers("cross_entropy_loss")
def cross_entropy(op: Scribe, self: ir.Value, target: ir.Value, weight: Any = None, reduction: int = 1,
                  ignore_index: int = -100, label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """Of logits."""
    if label_smoothing or own(target).is_floating_point():
        raise Fault("a cross entropy with smoothed labels", is_refusal=True)
    return _nll(op, op.LogSoftmax(self, axis=1), target, weight, reduction, ignore_index)


@lowers("kl_div")
def kl_div(op: Scribe, self: ir.Value, target: ir.Value, reduction: int = 1, log_target: bool = False) -> Any:
    """Kullback's divergence of logarithms of probabilities."""
    if log_target:
        return _reduced(op, op.Mul(op.Exp(target), op.Sub(target, self)), reduction)
    zero = op.scalar(0, target)
    is_some = op.Greater(target, zero)
    made = op.Mul(target, op.Sub(op.Log(op.Where(is_some, target, op.scalar(1, target))), self))
    return _reduced(op, op.Where(is_some, made, zero), reduction)
