"""ONNX's signal operators, as products with matrices of cosines and sines, which are known while the graph is walked.

ONNX has no complex numbers here: real and imaginary part stand in a last axis of two, and a real signal's is of one.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.types import mxnet_dtype
from zoo.converters.writers.numbers import mel_triangles
from zoo.errors import HubError

Value = Any


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
    rank = w.rank(0)
    along = (-2 if axis is None else w.number(axis)) % rank
    have = w.whole(0)
    if have[-1] not in (1, 2):
        raise HubError(f"{w.name}: a signal whose last axis is {have[-1]}; 1 is a real one, 2 a complex one")
    given = None if dft_length is None else w.number(dft_length)
    own, x = w.computed_in(0), w.cast(input, "float64")
    if inverse and onesided:
        n = 2 * (have[along] - 1) if given is None else given
        return w.cast(_half_inverse(w, x, along, have, n), own)
    n = have[along] if given is None else given
    x = _fitted(w, x, along, have, n)
    y = _transformed(w, x, along, rank, have[-1] == 2, n, n // 2 + 1 if onesided else n, inverse=bool(inverse))
    return w.cast(y, own)


def _fitted(w: Any, x: Value, axis: int, have: list[int], n: int) -> Value:
    """With an axis cut or padded to n."""
    if have[axis] > n:
        return w.F.slice_axis(x, axis=axis, begin=0, end=n)
    return w.pad(x, [(0, n - size) if a == axis else (0, 0) for a, size in enumerate(have)]) if have[axis] < n else x


def _parts(w: Any, x: Value, axis: int, rank: int, is_complex: bool) -> list[Value]:
    """Real part, and imaginary part if there is one, without the last axis, and with another one as the last."""
    parts = [
        w.F.squeeze(w.F.slice_axis(x, axis=rank - 1, begin=i, end=i + 1), axis=rank - 1)
        for i in range(2 if is_complex else 1)
    ]
    return [w.F.swapaxes(part, dim1=axis, dim2=rank - 2) if axis != rank - 2 else part for part in parts]


def _transformed(
    w: Any, x: Value, axis: int, rank: int, is_complex: bool, n: int, frequencies: int, *, inverse: bool
) -> Value:
    turn = 2 * np.pi * np.outer(np.arange(n), np.arange(frequencies)) / n
    scale = 1 / n if inverse else 1.0
    cosines = w.array(np.cos(turn) * scale)
    sines = w.array(np.sin(turn) * (scale if inverse else -scale))
    real, *imaginary = _parts(w, x, axis, rank, is_complex)
    made = [w.F.dot(real, cosines), w.F.dot(real, sines)]
    if imaginary:
        made[0] = made[0] - w.F.dot(imaginary[0], sines)
        made[1] = made[1] + w.F.dot(imaginary[0], cosines)
    made = [w.F.swapaxes(part, dim1=axis, dim2=rank - 2) if axis != rank - 2 else part for part in made]
    return w.F.stack(*made, axis=rank - 1)


def _half_inverse(w: Any, x: Value, axis: int, have: list[int], n: int) -> Value:
    """A real signal of n out of the first half of its frequencies."""
    count, rank = n // 2 + 1, len(have)
    x = _fitted(w, x, axis, have, count)
    turn = 2 * np.pi * np.outer(np.arange(count), np.arange(n)) / n
    weight = np.full((count, 1), 2.0)  # each stands for its mirror image too
    weight[0] = 1
    if n % 2 == 0:
        weight[-1] = 1
    real, *imaginary = _parts(w, x, axis, rank, have[-1] == 2)
    y = w.F.dot(real, w.array(np.cos(turn) * weight / n))
    if imaginary:
        y = y - w.F.dot(imaginary[0], w.array(np.sin(turn) * weight / n))
    y = w.F.swapaxes(y, dim1=axis, dim2=rank - 2) if axis != rank - 2 else y
    return w.F.expand_dims(y, axis=rank - 1)


@lowers("STFT")
def stft(
    w: Any, signal: Value, frame_step: Value, window: Value = None, frame_length: Value = None, *, onesided: int = 1
) -> Value:
    """Fourier transforms [batch, frames, frequencies, 2] of frames that begin frame_step apart, each times a window."""
    _, size, depth = w.whole(0)
    if depth == 2 and onesided:
        raise HubError(f"{w.name}: of a complex signal there is no onesided result")
    wide = size if window is None else w.whole(2)[0]
    length = wide if frame_length is None else w.number(frame_length)
    step, own = w.number(frame_step), w.computed_in(0)
    starts = step * np.arange((size - length) // step + 1)
    frames = w.F.take(
        w.cast(signal, "float64"), w.array((starts[:, None] + np.arange(length)).astype(np.int64)), axis=1
    )
    if window is not None:  # a shorter one stands in the middle
        before = (length - wide) // 2
        shape = w.cast(window, "float64")
        shape = w.pad(shape, [(before, length - wide - before)]) if wide < length else shape
        frames = w.F.broadcast_mul(frames, w.reshape(shape, (1, 1, -1, 1)))
    count = length // 2 + 1 if onesided else length
    return w.cast(_transformed(w, frames, 2, 4, depth == 2, length, count, inverse=False), own)


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
    return w.array(np.asarray(mel_triangles(*numbers), mxnet_dtype(output_datatype)))
