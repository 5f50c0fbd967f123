"""Numbers as text: the shortest decimal that is the same number, as Python and numpy write it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any
DIGITS = {tf.float32: 9, tf.float64: 17}  # as many are always enough to be the same number
SPELLED = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}
LEAST, MOST = -4, 16  # the powers of ten between which numpy writes a number without one


def as_text(x: Tensor) -> Tensor:
    """Numbers as strings; truth values as 1 and 0, and infinities as INF and -INF."""
    if x.dtype == tf.bool:
        return tf.strings.as_string(tf.cast(x, tf.int32))
    if not x.dtype.is_floating:
        return tf.strings.as_string(x)
    x = x if x.dtype in DIGITS else tf.cast(x, tf.float32)
    scientific = _shortest(x)
    digits, power = _taken_apart(scientific)
    size = tf.abs(tf.cast(x, tf.float64))
    is_positional = (size >= 10.0**LEAST) & (size < 10.0**MOST) | tf.equal(size, 0)
    text = tf.where(is_positional, _positional(digits, power), _with_power(digits, power))
    sign = tf.where(tf.strings.substr(scientific, 0, 1) == "-", "-", "")
    text = tf.strings.join([sign, text])
    for word, spelled in SPELLED.items():
        text = tf.where(tf.strings.as_string(x) == word, spelled, text)
    return text


def _shortest(x: Tensor) -> Tensor:
    """Each number as d.ddde+dd with as few digits as are the same number."""
    finite = tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))
    made = tf.strings.as_string(finite, scientific=True, precision=DIGITS[x.dtype] - 1)
    for precision in reversed(range(DIGITS[x.dtype] - 1)):
        shorter = tf.strings.as_string(finite, scientific=True, precision=precision)
        made = tf.where(tf.strings.to_number(shorter, x.dtype) == finite, shorter, made)
    return made


def _taken_apart(text: Tensor) -> tuple[Tensor, Tensor]:
    """The digits of d.ddde+dd, without the point, and the power of ten of the first."""
    digits = tf.strings.regex_replace(tf.strings.regex_replace(text, r"e.*", ""), r"[.-]", "")
    return digits, tf.strings.to_number(tf.strings.regex_replace(text, r".*e", ""), tf.int32)


def _positional(digits: Tensor, power: Tensor) -> Tensor:
    """Digits with the point where the power says; at least one behind it."""
    power = tf.clip_by_value(power, LEAST, MOST)
    before = tf.where(power < 0, tf.strings.join([_zeros(-power), digits]), digits)
    at = tf.maximum(power, 0) + 1
    before = tf.strings.join([before, _zeros(at - tf.strings.length(before))])
    rest = tf.strings.length(before) - at
    behind = tf.where(rest > 0, tf.strings.substr(before, at, rest), "0")
    return tf.strings.join([tf.strings.substr(before, tf.zeros_like(at), at), behind], ".")


def _with_power(digits: Tensor, power: Tensor) -> Tensor:
    """d.ddde+dd, of digits and power."""
    rest = tf.strings.length(digits) - 1
    one = tf.ones_like(rest)
    behind = tf.where(rest > 0, tf.strings.join([".", tf.strings.substr(digits, one, rest)]), "")
    size = tf.strings.as_string(tf.abs(power), width=2, fill="0")
    return tf.strings.join([tf.strings.substr(digits, one - 1, one), behind, "e", tf.where(power < 0, "-", "+"), size])


def _zeros(count: Tensor) -> Tensor:
    """As many zeros, up to MOST; none of a negative count."""
    return tf.strings.substr(tf.fill(tf.shape(count), "0" * (MOST + 1)), tf.zeros_like(count), tf.maximum(count, 0))
