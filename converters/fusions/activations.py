"""Activations: GELU, SiLU, hard-swish, hard-sigmoid, Mish, softplus.

Each formula is the operator's own definition in the ONNX standard, up to the order of products and sums.
"""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.fusions.rewriting import Fusion, Rule, to

# x * Phi(x), as one product, multiplied out, or with the half inside
HALVES = ("0.5 * x * (1 + {s})", "x * (0.5 + 0.5 * {s})", "0.5 * x + 0.5 * x * {s}", "h = 0.5 * x\nh + h * {s}")
ERF = "Erf(x / sqrt(2))"
TANH = (
    "Tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))",
    "Tanh(sqrt(2 / pi) * x * (1 + 0.044715 * x ** 2))",
    "Tanh(sqrt(2 / pi) * x + 0.035677408136300125 * x ** 3)",
)
# 0.5 * (1 + tanh(t)) is sigmoid(2 t)
SIGMOID = (
    "x * Sigmoid(1.5957691216057308 * (x + 0.044715 * x ** 3))",
    "x * Sigmoid(1.5957691216057308 * x * (1 + 0.044715 * x ** 2))",
)
# max(0, min(1, x / 6 + 1/2))
HARD_SIGMOID = (
    "Clip(x + 3, 0, 6) / 6",
    "Clip(x / 6 + 0.5, 0, 1)",
    "Min(Relu(x + 3), 6) / 6",
    "Min(Max(x + 3, 0), 6) / 6",
    "Max(Min(x + 3, 6), 0) / 6",
)
SOFTPLUS = "Where(Greater(BETA * x, 20), x, Softplus(BETA * x) / BETA)"
STABLE_SOFTPLUS = tuple(f"{positive} + Log(1 + Exp(-Abs(x)))" for positive in ("Relu(x)", "Max(x, 0)", "Clip(x, 0)"))


def _softplus(fusion: Fusion) -> ir.Value:
    """log(1 + exp(x)) is x from 20 on, to what float32 can tell: log(1 + exp(20)) - 20 is 2e-9."""
    if fusion["BETA"] != 1:
        fusion.refuse(f"Softplus has no beta, and this one's is {fusion['BETA']:g}")
    if fusion["x"].dtype == ir.DataType.DOUBLE:
        fusion.refuse("in float64, softplus of 20 is not 20")
    made: ir.Value = fusion.op.Softplus(fusion["x"])
    return made


def _swish(fusion: Fusion) -> ir.Value:
    """Swish(x) = x * sigmoid(alpha * x); alpha is 1 in SiLU and 1.702 in QuickGELU."""
    alpha = fusion.bound.get("ALPHA", 1.0)
    made: ir.Value = fusion.op.Swish(fusion["x"], **({} if alpha == 1 else {"alpha": alpha}))
    return made


RULES = (
    Rule([half.format(s=ERF) for half in HALVES], to("Gelu", "x")),
    Rule([half.format(s=t) for half in HALVES for t in TANH] + list(SIGMOID), to("Gelu", "x", approximate="tanh")),
    Rule(["x * Sigmoid(ALPHA * x)", "x / (1 + Exp(-x))"], _swish),
    Rule(
        [f"x * {gate}" for gate in HARD_SIGMOID] + [f"x * HardSigmoid(x, alpha={1 / 6}, beta=0.5)"],
        to("HardSwish", "x"),
    ),
    Rule(HARD_SIGMOID, to("HardSigmoid", "x", alpha=1 / 6, beta=0.5)),
    Rule(["Clip(0.2 * x + 0.5, 0, 1)"], to("HardSigmoid", "x", alpha=0.2, beta=0.5)),
    Rule(["x * Tanh(Softplus(x))", "x * Tanh(Log(1 + Exp(x)))", f"x * Tanh({SOFTPLUS})"], to("Mish", "x")),
    Rule([SOFTPLUS], _softplus),
    Rule(STABLE_SOFTPLUS, to("Softplus", "x")),
)
