"""Signal operators in torch, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo.errors import HubError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)


def f(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def n(number):
    return np.int64(number)


def pairs(z, dtype=np.float32):
    return np.stack([z.real, z.imag], -1).astype(dtype)


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -2, -3, -4])
@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize("is_constant", [True, False])
def test_transforms_along_every_axis_and_of_every_length(agrees, axis, length, is_constant):
    real, complex_ = f(2, 6, 5, 1), f(2, 6, 5, 2)
    z = complex_[..., 0] + 1j * complex_[..., 1]
    dim = {None: -1}.get(axis, axis if axis is None or axis >= 0 else axis + 1)
    given = [None if v is None else [n(v)] if is_constant else n(v) for v in (length, axis)]
    if axis is None:
        given = given[:1]
    agrees("DFT", {}, [real, *given], [pairs(np.fft.fft(real[..., 0], length, dim))])
    agrees("DFT", {}, [complex_, *given], [pairs(np.fft.fft(z, length, dim))])
    agrees("DFT", {"onesided": 1}, [real, *given], [pairs(np.fft.rfft(real[..., 0], length, dim))])
    agrees("DFT", {"inverse": 1}, [complex_, *given], [pairs(np.fft.ifft(z, length, dim))])
    wanted = np.fft.irfft(z, length, dim)[..., None].astype(np.float32)
    agrees("DFT", {"inverse": 1, "onesided": 1}, [complex_, *given], [wanted])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_transforms_in_other_precisions(agrees, dtype):
    x = f(2, 8, 1, dtype=dtype)
    agrees("DFT", {}, [x], [pairs(np.fft.fft(x[..., 0].astype(np.float64)), dtype)])


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize(("step", "length"), [(3, 8), (8, 8), (5, 7)])
@pytest.mark.parametrize("is_constant", [True, False])
def test_transforms_of_frames(agrees, onesided, step, length, is_constant):
    x, window = f(2, 40, 1), np.abs(f(length))
    frames = np.stack([x[:, s : s + length, 0] for s in range(0, 40 - length + 1, step)], 1)
    transform = np.fft.rfft if onesided else np.fft.fft
    hop, size = ([n(step)], [n(length)]) if is_constant else (n(step), n(length))
    agrees("STFT", {"onesided": onesided}, [x, hop, window], [pairs(transform(frames * window))])
    agrees("STFT", {"onesided": onesided}, [x, hop, [window], size], [pairs(transform(frames * window))])
    agrees("STFT", {"onesided": onesided}, [x, hop, None, size], [pairs(transform(frames))])


def test_transforms_of_frames_of_a_complex_signal(agrees, operator):
    x = f(2, 20, 2)
    z = x[..., 0] + 1j * x[..., 1]
    frames = np.stack([z[:, s : s + 6] for s in range(0, 15, 4)], 1)
    agrees("STFT", {"onesided": 0}, [x, [n(4)], None, [n(6)]], [pairs(np.fft.fft(frames))])
    whole = pairs(np.fft.fft(z)[:, None])
    agrees("STFT", {"onesided": 0}, [x, [n(4)]], [whole])
    with pytest.raises(HubError, match="complex signal has no onesided"):
        zoo.load(operator("STFT", {}, [x, [n(4)], None, [n(6)]])[0], "torch")


TERMS = {"HannWindow": (0.5, -0.5, 0), "HammingWindow": (25 / 46, -21 / 46, 0), "BlackmanWindow": (0.42, -0.5, 0.08)}


@pytest.mark.parametrize("op", TERMS)
@pytest.mark.parametrize("size", [1, 2, 10, 11])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(agrees, op, size, periodic):
    if size == 1 and not periodic:
        return  # nothing divided by nothing
    a, b, c = TERMS[op]
    turn = 2 * np.pi * np.arange(size) / (size if periodic else size - 1)
    expected = a + b * np.cos(turn) + c * np.cos(2 * turn)
    for dtype, number in ((np.float32, 1), (np.float64, 11), (np.float16, 10)):
        attributes = {"periodic": periodic, "output_datatype": number}
        agrees(op, attributes, [n(size)], [expected.astype(dtype)])
        agrees(op, attributes, [[np.int32(size)]], [expected.astype(dtype)])


@pytest.mark.parametrize(
    ("bands", "length", "rate", "low", "high"), [(8, 64, 8192, 0, 4000), (3, 16, 100, 5, 40), (20, 32, 8000, 0, 4000)]
)
def test_mel_scales(agrees, bands, length, rate, low, high):
    given = [np.int64(bands), np.int64(length), np.int64(rate), np.float32(low), np.float32(high)]
    agrees("MelWeightMatrix", {}, given)
    agrees("MelWeightMatrix", {"output_datatype": 11}, [given[0], [given[1]], *given[2:]])
