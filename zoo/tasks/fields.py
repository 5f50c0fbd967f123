"""Checked reading of an entry's `input` and `output`: every mistake is one BadInput that names the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from zoo.errors import BadInput, did_you_mean

T = TypeVar("T")
REQUIRED = object()


class Fields:
    """A mapping that is read field by field; `done` refuses what nobody asked for.

    >>> fields = Fields({"size": 3}, "input.image")
    >>> fields.take("size", whole())
    3
    """

    def __init__(self, given: Any, place: str) -> None:
        if not isinstance(given, Mapping):
            raise BadInput(f"{place}: expected fields, got {given!r}")
        self.given, self.place, self.known = given, place, set[str]()

    def take(self, name: str, check: Callable[[Any, str], T], default: Any = REQUIRED) -> T:
        """The field, as `check` makes it; its default where it is absent or null. Raises BadInput."""
        self.known.add(name)
        value = self.given.get(name)
        if value is not None:
            return check(value, f"{self.place}.{name}")
        if default is REQUIRED:
            raise BadInput(f"{self.place}.{name} is missing")
        return default  # type: ignore[no-any-return]

    def done(self) -> None:
        """Raises BadInput if there is a field that was not taken."""
        for name in self.given:
            if name not in self.known:
                raise BadInput(f"{self.place} has no field {name!r}", hint=did_you_mean(str(name), self.known))


def one_of(*known: str) -> Callable[[Any, str], str]:
    """A word out of a few."""

    def check(value: Any, place: str) -> str:
        if value not in known:
            raise BadInput(f"{place}: expected {' | '.join(known)}, got {value!r}")
        return str(value)

    return check


def whole(least: int = 1) -> Callable[[Any, str], int]:
    """A whole number."""

    def check(value: Any, place: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise BadInput(f"{place}: expected a whole number of at least {least}, got {value!r}")
        return value

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Callable[[Any, str], float]:
    """A finite number, within bounds."""

    def check(value: Any, place: str) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not least <= value <= most:
            raise BadInput(f"{place}: expected a number from {least:g} to {most:g}, got {value!r}")
        return float(value)

    return check


def text(value: Any, place: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise BadInput(f"{place}: expected a name, got {value!r}")
    return value


def truth(value: Any, place: str) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise BadInput(f"{place}: expected true or false, got {value!r}")
    return value


def each(check: Callable[[Any, str], T], count: int | None = None) -> Callable[[Any, str], tuple[T, ...]]:
    """A list whose members each pass a check, `count` of them if it is given."""

    def checked(value: Any, place: str) -> tuple[T, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or count not in (None, len(value)):
            raise BadInput(f"{place}: expected a list{f' of {count}' if count else ''}, got {value!r}")
        return tuple(check(v, f"{place}[{i}]") for i, v in enumerate(value))

    return checked
