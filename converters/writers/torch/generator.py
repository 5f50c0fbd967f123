"""ONNX's random operators, and dropout.

Without a seed they draw from torch's own generator, which torch.manual_seed sets. With one they give the same numbers
at every call, on every device: those of ONNX's reference, which are numpy's RandomState(seed).uniform().
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.torch import lowers
from zoo.converters.writers.torch.stochastic_depth import StochasticDepth

Value = Any


def seeded_uniform(shape: Sequence[int], seed: int, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """Numbers in [0, 1) as numpy's RandomState(seed).uniform(size=shape) gives them: both are MT19937.

    A number of 53 bits is made of 27 and 26 of two draws; torch gives the two as the halves of 64 random bits.
    """
    generator = torch.Generator().manual_seed(seed % 2**32)
    bits = torch.empty(tuple(shape), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    first, second = (bits >> 37) & (2**27 - 1), (bits >> 6) & (2**26 - 1)
    uniform = (first * 2**26 + second).to(torch.float64) / 2**53
    return uniform.to(device=device, dtype=dtype)


def seeded_normal(shape: Sequence[int], seed: int, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """Numbers of the normal distribution, the same for a seed at every call and on every device."""
    generator = torch.Generator().manual_seed(seed % 2**32)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).to(device=device, dtype=dtype)


def _seed(seed: float | None) -> int | None:
    """The seed as an integer, None without one; NaN is how some exporters write that there is none.

    The attribute is a float32, of which more digits count than the shortest number that rounds to it has.
    """
    return None if seed is None or math.isnan(seed) else int(np.float32(seed))


def _uniform(w: Any, shape: Any, dtype: torch.dtype, device: Any, seed: float | None) -> Value:
    if (number := _seed(seed)) is not None:
        return w.function(seeded_uniform, shape, number, dtype, device)
    return w.function(torch.rand, shape, dtype=dtype, device=device)


def _normal(w: Any, shape: Any, dtype: torch.dtype, device: Any, seed: float | None) -> Value:
    if (number := _seed(seed)) is not None:
        return w.function(seeded_normal, shape, number, dtype, device)
    return w.function(torch.randn, shape, dtype=dtype, device=device)


def _moved(x: Value, factor: float, offset: float) -> Value:
    x = x if factor == 1.0 else x * factor
    return x if offset == 0.0 else x + offset


def _dtype(w: Any, dtype: int | None) -> torch.dtype:
    """The dtype that is asked for, or the first input's."""
    found: torch.dtype = w.dtype_in(0) if not dtype else w.dtype_of(ir.DataType(dtype))
    return found


@lowers("RandomUniform")
def random_uniform(
    w: Any, *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers from low to high, each as likely."""
    return _moved(_uniform(w, tuple(shape), _dtype(w, dtype), w.device(), seed), high - low, low)


@lowers("RandomUniformLike")
def random_uniform_like(
    w: Any,
    input: Value,
    *,
    dtype: int | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,  # noqa: A002
) -> Value:
    """Numbers from low to high, each as likely, in the shape of the input."""
    return _moved(_uniform(w, input.shape, _dtype(w, dtype), input.device, seed), high - low, low)


@lowers("RandomNormal")
def random_normal(
    w: Any, *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Sequence[int]
) -> Value:
    """Numbers of the normal distribution of a mean and a deviation."""
    return _moved(_normal(w, tuple(shape), _dtype(w, dtype), w.device(), seed), scale, mean)


@lowers("RandomNormalLike")
def random_normal_like(
    w: Any,
    input: Value,
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,  # noqa: A002
) -> Value:
    """Numbers of the normal distribution of a mean and a deviation, in the shape of the input."""
    return _moved(_normal(w, input.shape, _dtype(w, dtype), input.device, seed), scale, mean)


@lowers("Bernoulli")
def bernoulli(w: Any, input: Value, *, dtype: int | None = None, seed: float | None = None) -> Value:  # noqa: A002
    """1 as often as each probability says, else 0."""
    made = _dtype(w, dtype)
    if (number := _seed(seed)) is None:
        drawn = torch.bernoulli(input)
        return drawn if made == w.dtype_in(0) else drawn.to(made)
    drawn = w.function(seeded_uniform, input.shape, number, torch.float64, input.device)
    return (drawn < input).to(made)


@lowers("Multinomial")
def multinomial(w: Any, input: Value, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Value:  # noqa: A002
    """Classes [N, sample_size] drawn by their unnormalised log-probabilities [N, C]."""
    probabilities = torch.softmax(input.to(torch.float32), dim=-1)
    if (number := _seed(seed)) is not None:
        shape = (input.shape[0], sample_size)
        drawn = w.function(seeded_uniform, shape, number, torch.float32, input.device)
        found = torch.searchsorted(torch.cumsum(probabilities, dim=-1), drawn, right=True)
        found = torch.clamp(found, max=input.shape[1] - 1)
    else:
        found = torch.multinomial(probabilities, sample_size, replacement=True)
    return found if _dtype(w, dtype) == torch.int64 else found.to(_dtype(w, dtype))


@lowers("Dropout")
def dropout(w: Any, data: Value, ratio: Value = None, training_mode: Value = None, *, seed: int | None = None) -> Value:
    """nn.Dropout, which drops when the module trains; where the graph itself says that it trains, it always does.

    The second output says what is kept: everything, in a graph for inference.
    """
    p = _known_number(w, ratio, 0.5)
    training = _known_number(w, training_mode, False)
    if training is not None and p is not None and (not training or w.author_has(nn.Dropout)):
        p = round(float(p), 6)
        y = w.module(nn.Dropout, data, p=p)
        y = w.anonymous(nn.Dropout(p=p), data) if y is None else y
        return y, torch.ones_like(data, dtype=torch.bool)
    if training is not None and not training:
        return data, torch.ones_like(data, dtype=torch.bool)
    p = 0.5 if ratio is None else w.number(ratio)
    found = w.function(dropped, data, p, w.number(training_mode), seed)
    return found[0], found[1]


def _known_number(w: Any, x: Value, default: Any) -> Any:
    """A scalar that is known before the module runs, the default where it is left out, None where it is computed."""
    known = w.known(x)
    return default if x is None else None if known is None else known.reshape(-1)[0].item()


def dropped(x: torch.Tensor, p: float, training: bool, seed: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What dropout with probability p leaves of x, scaled up, and where it was kept."""
    if not training or p == 0:
        return x, torch.ones_like(x, dtype=torch.bool)
    if seed is None:
        uniform = torch.rand(x.shape, device=x.device)
    else:
        uniform = seeded_uniform(x.shape, seed, torch.float64, x.device)
    kept = uniform >= p
    return torch.where(kept, x / (1 - p), 0), kept


@lowers("StochasticDepth", DOMAIN)
def stochastic_depth(w: Any, X: Value, *, p: float, mode: str) -> Value:
    """Whole samples dropped when the module trains."""
    return w.replaced(StochasticDepth(p=p, mode=mode), X)
