"""The names of a data set's classes, one file a data set, a line a class, in the order of the models' outputs.

Bound to the data set and not to the model: thousands of weights share imagenet-1k's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from zoo.errors import BadInput, did_you_mean

HERE = Path(__file__).parent


@cache
def names() -> frozenset[str]:
    """The data sets that have a file here.

    >>> "imagenet-1k" in names()
    True
    """
    return frozenset(path.stem for path in HERE.glob("*.txt"))


@cache
def load(name: str) -> tuple[str, ...]:
    """The labels of a data set. Raises BadInput when it has no file here.

    >>> load("sst-2")
    ('NEGATIVE', 'POSITIVE')
    """
    if name not in names():
        raise BadInput(f"no labels are known for the data set {name!r}", hint=did_you_mean(name, names()))
    return tuple((HERE / f"{name}.txt").read_text("utf-8").splitlines())


def fitting(labels: Sequence[str] | None, count: int) -> Sequence[str]:
    """The labels of a model with `count` outputs: those given, or `class 0`, `class 1`, ... where there are none.

    Raises BadInput when the count is another: a name on the wrong output is worse than none.
    """
    if labels is None:
        return [f"class {i}" for i in range(count)]
    if len(labels) != count:
        raise BadInput(f"{len(labels):,} labels don't fit a model with {count:,} outputs", hint="Give its own labels.")
    return labels
