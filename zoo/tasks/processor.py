"""What every task's Processor can do, and what almost all of them are: a reader and a function of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.errors import BadInput
from zoo.tasks.results import Result

Feeds = dict[str, Array]
Outputs = Mapping[str, Array]
Steps = Generator[tuple[str, Feeds], Outputs, list[Result]]


class Sample(Protocol):
    """One input, read: what a batch is made of, and what an answer may still want to know of it."""

    @property
    def nbytes(self) -> int:
        """What it takes in a batch, in bytes."""


class Processor(Protocol):
    """Raw input -> sample -> batch -> (somebody runs the model) -> answers. Immutable, so threads may share it."""

    @property
    def max_batch(self) -> int | None:
        """How many samples one batch may have: 1 where each has a size of its own, None for any number."""

    @property
    def labels(self) -> Sequence[str] | None:
        """The names of the outputs, where the task has some."""

    def feeding(self, inputs: Sequence[TensorSpec], part: str = "") -> Processor:
        """The same, fitted to a graph: its names, its fixed sizes. Raises BadInput when they don't fit."""

    def read(self, x: Any) -> Any:
        """One raw input, decoded and transformed: a Sample. Raises BadInput naming it."""

    def batch(self, samples: Sequence[Any]) -> Feeds:
        """Samples as arrays with a batch axis, by the names of the graph's inputs."""

    def prepare(self, inputs: Sequence[Any]) -> Feeds:
        """Raw inputs as arrays with a batch axis: `batch` of each `read`."""

    def answers(self, outputs: Any, samples: Sequence[Any] | None = None, **options: Any) -> list[Result]:
        """One answer a row of the graph's outputs: {name: array}, or the array where there is one.

        `samples` are those that the batch was made of; some tasks need them (the size that a picture had, which tokens
        are padding) and raise BadInput without.
        """

    def steps(self, samples: Sequence[Any], **options: Any) -> Steps:
        """The whole way as a generator: it yields (part, feeds), is sent that part's outputs, and returns the answers.

        A model of one graph takes one step, of the part "". So a Processor never touches a Runner, and who owns the
        Runners needs to know nothing of the task.
        """


Parts = Mapping[str, Processor]


class Reader(Protocol):
    """The first half of a Processor: raw inputs to arrays."""

    @property
    def max_batch(self) -> int | None:
        """The Processor's."""

    def feeding(self, inputs: Sequence[TensorSpec]) -> Reader:
        """The same, fitted to a graph."""

    def read(self, x: Any) -> Any:
        """One raw input as a Sample."""

    def batch(self, samples: Sequence[Any]) -> Feeds:
        """Samples as arrays with a batch axis."""


@dataclass(frozen=True)
class Single:
    """The Processor of a model of one graph: a Reader, and a function of the outputs and the samples."""

    reader: Reader
    answer: Callable[..., list[Result]]
    labels: Sequence[str] | None = None

    @property
    def max_batch(self) -> int | None:
        """The reader's."""
        return self.reader.max_batch

    def feeding(self, inputs: Sequence[TensorSpec], part: str = "") -> Single:
        """The same, fitted to a graph."""
        if part:
            raise BadInput(f"this model is one graph and has no part {part!r}")
        return replace(self, reader=self.reader.feeding(inputs))

    def read(self, x: Any) -> Any:
        """One raw input as a Sample."""
        return self.reader.read(x)

    def batch(self, samples: Sequence[Any]) -> Feeds:
        """Samples as arrays with a batch axis, by the names of the graph's inputs."""
        return self.reader.batch(samples)

    def prepare(self, inputs: Sequence[Any]) -> Feeds:
        """Raw inputs as arrays with a batch axis."""
        return self.batch([self.read(x) for x in inputs])

    def answers(self, outputs: Any, samples: Sequence[Any] | None = None, **options: Any) -> list[Result]:
        """One answer a row of the outputs."""
        named = outputs if isinstance(outputs, Mapping) else {"output": outputs}
        arrays = {name: np.asarray(array) for name, array in named.items()}
        if samples is None:
            samples = [None] * max((len(array) for array in arrays.values() if array.ndim), default=0)
        return self.answer(arrays, samples, **options)

    def steps(self, samples: Sequence[Any], **options: Any) -> Steps:
        """One step."""
        outputs = yield "", self.batch(samples)
        return self.answers(outputs, samples, **options)


def needed(samples: Sequence[Any], what: str) -> Sequence[Any]:
    """The samples, for a task that can't do without. Raises BadInput when they were not given."""
    if any(sample is None for sample in samples):
        raise BadInput(
            f"answers wants the samples too: they say {what}", hint="samples = [processor.read(x) for x in inputs]"
        )
    return samples


def chosen(outputs: Outputs, name: str | None) -> Array:
    """The output that an answer is made of: the only one, or of several the one that `output.name` names."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    have = ", ".join(map(repr, outputs))
    if name is None:
        raise BadInput(f"the model has {len(outputs)} outputs: {have}", hint="Name the one to use as `output.name`.")
    if name in outputs:
        return outputs[name]
    raise BadInput(f"the model has no output {name!r}; it has {have}")


def rows(outputs: Outputs, name: str | None, count: int, rank: int, what: str) -> Array:
    """The chosen output as float32, checked to have `count` rows and a rank; axes of 1 at the end don't count."""
    array = chosen(outputs, name)
    while array.ndim > rank and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != rank or array.shape[0] != count:
        raise BadInput(f"{what}: the model gave an array of shape {list(array.shape)} for {count} inputs, not {what}")
    return np.asarray(array, np.float32)
