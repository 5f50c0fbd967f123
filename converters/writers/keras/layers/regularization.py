"""What is an identity at inference, and drops while the model trains."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import keras

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers.values import is_all, is_float, scalar

Value = Any


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """Elements dropped with a probability, the rest scaled up."""
    rate, is_inference = scalar(ratio, 0.5), training_mode is None or is_all(training_mode, 0)
    if rate is None or not is_inference or not is_float(data) or w.is_read(1):
        return None
    return w.layer(keras.layers.Dropout, data, {"rate": round(rate, 6), "seed": seed})


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str = "row") -> Value:
    """Whole samples (`row`) or the whole batch dropped (Huang et al., arXiv:1603.09382)."""
    if not is_float(X) or p >= 1.0:
        return None
    noise_shape = (None if mode == "row" else 1, *[1] * (len(X.shape) - 1))
    return w.layer(keras.layers.Dropout, X, {"rate": round(p, 6), "noise_shape": noise_shape})
