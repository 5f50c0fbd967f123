"""What classes.py needs of a tree of modules, whichever framework they are of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from zoo.converters.writers.source.steps import Step
from zoo.converters.writers.source.terms import Call, Term


@dataclass(eq=False)
class Instance:
    """One module that gets a class of the file: what its constructor sets, in order, and its forward (None: no own)."""

    path: str
    module: Any
    name: str
    base: Term  # the name of a class ("nn.Module"), or the call of a layer that holds more than a layer does
    steps: list[Step] | None
    fields: dict[str, Term]


class Tree(Protocol):
    """A tree of instances."""

    made: dict[int, Call]  # the call that makes an instance, by the id of its module
    sequential: str  # the name of the class that calls its children in turn
    reserved: frozenset[str]  # what no parameter of a constructor that a forward reads may be called
    activations: frozenset[str]  # the names of the framework's activation layers

    def generations(self) -> Iterator[list[Instance]]:
        """The instances by class name, each name after those that its instances hold."""

    def describe(self, instance: Instance) -> None:
        """Fill the instance's fields; the instances that it holds have their calls."""

    def is_empty(self, instance: Instance, path: str) -> bool:
        """Whether a call of this child computes nothing: there is none, or an identity."""

    def is_chain(self, instance: Instance) -> bool:
        """Whether the forward is every child in turn."""
