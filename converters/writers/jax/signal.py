"""ONNX's signal operators by jax.numpy.fft; windows and triangles are known when jax traces, and numpy's.

ONNX has no complex numbers here: real and imaginary part stand in a last axis of two, and a real signal's is of one.
It is transformed in float64 where jax is in its 64-bit mode, else in float32.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from zoo.converters.writers.jax import lowers
from zoo.converters.writers.numbers import BLACKMAN, HAMMING, HANN, cosine_window, mel_triangles
from zoo.errors import HubError

Value = Any


def _signal(w: Any, x: Value) -> tuple[Value, bool]:
    """The signal without the last axis, and whether it is complex."""
    size = x.shape[-1]
    if size not in (1, 2):
        raise HubError(f"{w.node.op_type} of a signal whose last axis is {size}; 1 is a real one, 2 a complex one")
    x = x.astype(float)
    return (lax.complex(x[..., 0], x[..., 1]) if size == 2 else x[..., 0]), size == 2


def _as_real(y: Value) -> Value:
    return jnp.stack([y.real, y.imag], -1)


@lowers("DFT")
def dft(
    w: Any,
    input: Value,  # noqa: A002
    dft_length: Value = None,
    axis: Value = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Value:
    """The discrete Fourier transform along an axis, of a signal that is cut or padded with zeros to dft_length.

    Onesided gives the first half of the frequencies, which says all of a real signal, or makes one of that half.
    """
    x, is_complex = _signal(w, input)
    dim = (-2 if axis is None else w.number(axis)) % input.ndim
    n = None if dft_length is None else w.number(dft_length)
    if inverse and onesided:
        return jnp.fft.irfft(x, n, dim)[..., None]
    if inverse:
        return _as_real(jnp.fft.ifft(x, n, dim))
    if onesided and not is_complex:
        return _as_real(jnp.fft.rfft(x, n, dim))
    y = jnp.fft.fft(x, n, dim)
    return _as_real(lax.slice_in_dim(y, 0, y.shape[dim] // 2 + 1, axis=dim) if onesided else y)


@lowers("STFT")
def stft(
    w: Any, signal: Value, frame_step: Value, window: Value = None, frame_length: Value = None, *, onesided: int = 1
) -> Value:
    """Fourier transforms [batch, frames, frequencies, 2] of frames that begin frame_step apart, each times a window."""
    x, is_complex = _signal(w, signal)
    if is_complex and onesided:
        raise HubError("STFT of a complex signal has no onesided result")
    length = signal.shape[1] if window is None else window.shape[0]
    length = length if frame_length is None else w.number(frame_length)
    step = w.number(frame_step)
    starts = step * np.arange((x.shape[1] - length) // step + 1)
    frames = x[:, starts[:, None] + np.arange(length)]
    if window is not None:  # a shorter one stands in the middle
        before = (length - window.shape[0]) // 2
        frames = frames * jnp.pad(window, (before, length - window.shape[0] - before))
    return _as_real(jnp.fft.rfft(frames) if onesided else jnp.fft.fft(frames))


@lowers("HannWindow")
def hann_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """The squared sine of half a turn over the window."""
    return _window(w, size, output_datatype, periodic, HANN)


@lowers("HammingWindow")
def hamming_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """25/46 - 21/46 cos of a turn over the window."""
    return _window(w, size, output_datatype, periodic, HAMMING)


@lowers("BlackmanWindow")
def blackman_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """0.42 - 0.5 cos of a turn + 0.08 cos of two turns over the window."""
    return _window(w, size, output_datatype, periodic, BLACKMAN)


def _window(w: Any, size: Value, output_datatype: int, periodic: int, factors: Sequence[float]) -> Value:
    return jnp.asarray(cosine_window(w.number(size), bool(periodic), factors), w.dtype_of(output_datatype))


@lowers("MelWeightMatrix")
def mel_weight_matrix(
    w: Any,
    num_mel_bins: Value,
    dft_length: Value,
    sample_rate: Value,
    lower_edge_hertz: Value,
    upper_edge_hertz: Value,
    *,
    output_datatype: int = 1,
) -> Value:
    """Triangles [frequencies, bands] that turn a spectrum into one on the mel scale."""
    numbers = [w.number(x) for x in (num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz)]
    return jnp.asarray(mel_triangles(*numbers), w.dtype_of(output_datatype))
