"""What classes.py needs of a tree of modules, whichever framework they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from zoo.converters.writers.source.steps import Alignment, Step
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
    absent: Term  # what stands for a field that an instance lacks: ABSENT, or HOLE where a constructor need not say so

    def generations(self) -> Iterator[list[Instance]]:
        """The instances by class name, each name after those that its instances hold."""

    def describe(self, instance: Instance) -> None:
        """Fill the instance's fields; the instances that it holds have their calls."""

    def is_empty(self, instance: Instance, path: str) -> bool:
        """Whether a call of this child computes nothing: there is none, or an identity."""

    def are_alike(self, a: Instance, b: Instance, aligned: Alignment) -> bool:
        """Whether one class can call the children of both, whose steps are aligned."""

    def is_chain(self, instance: Instance) -> bool:
        """Whether the forward is every child in turn."""


def generations(instances: Sequence[Instance], inside: Callable[[Any], Sequence[Any]]) -> Iterator[list[Instance]]:
    """Instances by class name, each name after those that its instances hold; `inside` gives a module's nearest own."""

    def height(module: Any) -> int:
        return 1 + max((height(m) for m in inside(module)), default=0)

    keys = {id(i.module): (i.name, 0) for i in instances}
    while True:
        needs: dict[tuple[str, int], set[tuple[str, int]]] = {key: set() for key in keys.values()}
        for i in instances:
            needs[keys[id(i.module)]] |= {keys[id(m)] for m in inside(i.module)}
        try:
            order = list(TopologicalSorter(needs).static_order())
            break
        except CycleError as error:  # a class that holds one of its own name: one generation for each height
            for i in instances:
                if keys[id(i.module)] in error.args[1]:
                    keys[id(i.module)] = (i.name, height(i.module))
    for key in order:
        yield [i for i in instances if keys[id(i.module)] == key]
