"""ONNX's signal operators by keras.ops.fft; windows and triangles are numpy's.

ONNX has no complex numbers here: real and imaginary part stand in a last axis of two, and a real signal's is of one.
It is transformed in float64, where the backend has that: in float32 there is a rest of 1e-5 where zeros are due.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

from keras import ops

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.operators.precision import dtype_of, to
from zoo.converters.writers.keras.operators.sizes import cut, places, rank, sizes
from zoo.converters.writers.keras.operators.windows import padded_all
from zoo.converters.writers.numbers import BLACKMAN, HAMMING, HANN, cosine_window, mel_triangles

Tensor = Any
Complex = tuple[Tensor, Tensor]  # real and imaginary part, the signal along the last axis


def _signal(w: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The real part of the signal, and the imaginary one, if there is any."""
    size = x.shape[-1]
    if size not in (1, 2):
        raise w.refused(f"a signal whose last axis is {size}; 1 is a real one, 2 a complex one")
    x = to(x, "float64")
    return x[..., 0], x[..., 1] if size == 2 else None


@lowers("DFT")
def dft(
    w: Any,
    input: Tensor,  # noqa: A002
    dft_length: Tensor = None,
    axis: Tensor = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """The discrete Fourier transform along an axis, of a signal that is cut or padded with zeros to dft_length.

    Onesided gives the first half of the frequencies, which says all of a real signal, or makes one of that half.
    """
    real, imaginary = _signal(w, input)
    along = (-2 if axis is None else w.number(axis)) % rank(input)
    real = ops.moveaxis(real, along, -1)
    imaginary = ops.zeros_like(real) if imaginary is None else ops.moveaxis(imaginary, along, -1)
    half = sizes(real)[-1]
    n = (2 * (half - 1) if inverse and onesided else half) if dft_length is None else w.int_(dft_length)
    if inverse and onesided:
        parts = [_of_length(v, n // 2 + 1) for v in (real, imaginary)]
        y: tuple[Tensor, ...] = _inverse((_mirrored(parts[0], n, 1), _mirrored(parts[1], n, -1)), n)[:1]
    else:
        signal = _of_length(real, n), _of_length(imaginary, n)
        y = _inverse(signal, n) if inverse else transformed(signal)
        y = tuple(cut(v, -1, 0, n // 2 + 1) for v in y) if onesided else y
    return ops.stack([ops.moveaxis(v, -1, along) for v in y], -1)


def transformed(signal: Complex) -> Complex:
    """The Fourier transform along the last axis."""
    real, imaginary = ops.fft(signal)
    return real, imaginary


def _inverse(signal: Complex, n: Any) -> Complex:
    """The inverse one: conjugated, transformed, conjugated."""
    real, imaginary = ops.fft((signal[0], -signal[1]))
    count = ops.cast(n, dtype_of(real))
    return real / count, -imaginary / count


def _of_length(x: Tensor, n: Any) -> Tensor:
    """The signal cut or padded with zeros at its end."""
    return padded_all(x, [(0, 0)] * (rank(x) - 1) + [(0, n - sizes(x)[-1])])


def _mirrored(half: Tensor, n: Any, sign: int) -> Tensor:
    """All frequencies of a real signal of n places, of the first n // 2 + 1."""
    behind = ops.flip(cut(half, -1, 1, n - n // 2), -1)
    return ops.concatenate([half, behind * sign], -1)


@lowers("STFT")
def stft(
    w: Any, signal: Tensor, frame_step: Tensor, window: Tensor = None, frame_length: Tensor = None, *, onesided: int = 1
) -> Tensor:
    """Fourier transforms [batch, frames, frequencies, 2] of frames that begin frame_step apart, each times a window."""
    real, imaginary = _signal(w, signal)
    if imaginary is not None and onesided:
        raise w.refused("a complex signal has no onesided result")
    have = sizes(real)[1]
    length = have if window is None else sizes(window)[0]
    length = length if frame_length is None else w.number(frame_length)
    step = w.number(frame_step)
    at = step * places((have - length) // step + 1, 0, 2) + places(length, 1, 2)
    parts = [ops.take(v, at, axis=1) for v in (real, real * 0 if imaginary is None else imaginary)]
    if window is not None:  # a shorter one stands in the middle
        before = (length - sizes(window)[0]) // 2
        shares = ops.cast(padded_all(window, [(before, length - sizes(window)[0] - before)]), dtype_of(real))
        parts = [v * shares for v in parts]
    y = transformed((parts[0], parts[1]))
    return ops.stack([cut(v, -1, 0, length // 2 + 1) if onesided else v for v in y], -1)


@lowers("HannWindow")
def hann_window(w: Any, size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    """The squared sine of half a turn over the window."""
    return cosine_window(w.number(size), bool(periodic), HANN)


@lowers("HammingWindow")
def hamming_window(w: Any, size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    """25/46 - 21/46 cos of a turn over the window."""
    return cosine_window(w.number(size), bool(periodic), HAMMING)


@lowers("BlackmanWindow")
def blackman_window(w: Any, size: Tensor, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
    """0.42 - 0.5 cos of a turn + 0.08 cos of two turns over the window."""
    return cosine_window(w.number(size), bool(periodic), BLACKMAN)


@lowers("MelWeightMatrix")
def mel_weight_matrix(
    w: Any,
    num_mel_bins: Tensor,
    dft_length: Tensor,
    sample_rate: Tensor,
    lower_edge_hertz: Tensor,
    upper_edge_hertz: Tensor,
    *,
    output_datatype: int = 1,
) -> Tensor:
    """Triangles [frequencies, bands] that turn a spectrum into one on the mel scale."""
    numbers = [w.number(x) for x in (num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz)]
    return mel_triangles(*numbers)
