"""ONNX's signal operators by torch.fft, torch.stft and torch's windows.

ONNX has no complex numbers here: real and imaginary part stand in a last axis of two, and a real signal's is of one.
Torch transforms no half precision on the processor, which is computed in float32.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch

from zoo.converters.writers.torch import lowers
from zoo.errors import HubError

Value = Any


def _signal(w: Any, x: Value) -> tuple[Value, bool]:
    """The signal without the last axis, and whether it is complex."""
    size = (w.shape_in(0) or (None,))[-1]
    if size not in (1, 2):
        raise HubError(f"{w.node.op_type} of a signal whose last axis is {size}; 1 is a real one, 2 a complex one")
    x = x.to(torch.float32) if w.dtype_in(0).itemsize < 4 else x
    return (torch.complex(x[..., 0], x[..., 1]) if size == 2 else x[..., 0]), size == 2


def _as_before(w: Any, y: Value) -> Value:
    return y.to(w.dtype_in(0)) if w.dtype_in(0).itemsize < 4 else y


@lowers("DFT")
def dft(
    w: Any,
    input: Value,
    dft_length: Value = None,
    axis: Value = None,
    *,
    inverse: int = 0,
    onesided: int = 0,  # noqa: A002
) -> Value:
    """The discrete Fourier transform along an axis, of a signal that is cut or padded with zeros to dft_length.

    Onesided gives the first half of the frequencies, which says all of a real signal, or makes one of that half.
    """
    x, is_complex = _signal(w, input)
    dim = -2 if axis is None else w.number(axis)
    dim = dim % w.rank_in(0) if not isinstance(dim, int) or dim >= 0 else dim + 1
    options = {"dim": dim} if dft_length is None else {"n": w.number(dft_length), "dim": dim}
    if inverse and onesided:
        return _as_before(w, torch.fft.irfft(x, **options).unsqueeze(-1))
    if inverse:
        return _as_before(w, torch.view_as_real(torch.fft.ifft(x, **options)))
    if onesided and not is_complex:
        return _as_before(w, torch.view_as_real(torch.fft.rfft(x, **options)))
    y = torch.fft.fft(x, **options)
    y = y.narrow(dim, 0, y.shape[dim] // 2 + 1) if onesided else y
    return _as_before(w, torch.view_as_real(y))


@lowers("STFT")
def stft(
    w: Any, signal: Value, frame_step: Value, window: Value = None, frame_length: Value = None, *, onesided: int = 1
) -> Value:
    """Fourier transforms [batch, frames, frequencies, 2] of frames that begin frame_step apart, each times a window."""
    x, is_complex = _signal(w, signal)
    if is_complex and onesided:
        raise HubError("STFT of a complex signal has no onesided result")
    if frame_length is not None:
        length = w.number(frame_length)
    elif window is not None:
        size = (w.shape_in(2) or (None,))[0]
        length = size if isinstance(size, int) else window.shape[0]
    else:
        size = (w.shape_in(0) or (None, None))[1]
        length = size if isinstance(size, int) else signal.shape[1]
    if window is None:
        window = w.function(torch.ones, length, dtype=x.real.dtype if is_complex else x.dtype, device=x.device)
    elif w.dtype_in(2).itemsize < 4:
        window = window.to(torch.float32)
    options = {"hop_length": w.number(frame_step), "window": window, "center": False, "onesided": bool(onesided)}
    y = w.function(torch.stft, x, length, **options, return_complex=True)
    return _as_before(w, torch.view_as_real(y.transpose(1, 2)))


@lowers("HannWindow")
def hann_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """The squared sine of half a turn over the window."""
    return _window(w, torch.hann_window, size, output_datatype, periodic)


@lowers("HammingWindow")
def hamming_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """25/46 - 21/46 cos of a turn over the window; torch's own numbers are 0.54 and 0.46."""
    return _window(w, torch.hamming_window, size, output_datatype, periodic, alpha=25 / 46, beta=21 / 46)


@lowers("BlackmanWindow")
def blackman_window(w: Any, size: Value, *, output_datatype: int = 1, periodic: int = 1) -> Value:
    """0.42 - 0.5 cos of a turn + 0.08 cos of two turns over the window."""
    return _window(w, torch.blackman_window, size, output_datatype, periodic)


def _window(
    w: Any, f: Callable[..., Value], size: Value, output_datatype: int, periodic: int, **numbers: float
) -> Value:
    """A window of `size` places; a periodic one is all but the last of one more, which torch makes otherwise of one."""
    wanted = w.dtype_of(ir.DataType(output_datatype))
    dtype = wanted if wanted in (torch.float32, torch.float64) else torch.float32
    length, known = w.number(size), w.known(size)
    placed = {"dtype": dtype, "device": w.device()}
    if not periodic or (known is not None and length != 1):
        y = w.function(f, length, periodic=bool(periodic), **numbers, **placed)
    else:
        y = w.function(f, length + 1, periodic=False, **numbers, **placed)[:-1]
    return y if wanted == dtype else y.to(wanted)


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
    return w.function(mel_triangles, *numbers, dtype=w.dtype_of(ir.DataType(output_datatype)), device=w.device())


def mel_triangles(
    bands: int, dft_length: int, sample_rate: int, lowest: float, highest: float, *, dtype: torch.dtype, device: object
) -> torch.Tensor:
    """Triangles [dft_length // 2 + 1, bands] over the frequencies of a transform, evenly apart on the mel scale.

    A band's begins at the peak of the one before and ends at the peak of the one behind. The step is the standard's: of
    as many parts as there are edges, so that the last band ends below `highest`, in Hertz as `lowest` is.
    """
    low, high = (2595 * math.log10(1 + edge / 700) for edge in (lowest, highest))
    edges = torch.arange(bands + 2, dtype=torch.float64) * ((high - low) / (bands + 2)) + low
    hertz = 700 * torch.expm1(edges / 2595 * math.log(10))
    places = torch.floor((dft_length + 1) * hertz / sample_rate)
    begin, peak, end = places[:-2], places[1:-1], places[2:]
    at = torch.arange(dft_length // 2 + 1, dtype=torch.float64).unsqueeze(1)
    rising = torch.where(peak > begin, (at - begin) / (peak - begin).clamp(min=1), 1)
    falling = (end - at) / (end - peak).clamp(min=1)
    weights = torch.where((at >= begin) & (at <= peak), rising, 0)
    return torch.where((at >= peak) & (at < end), falling, weights).to(device=device, dtype=dtype)
