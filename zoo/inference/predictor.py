"""Raw input in, answers out: a Processor and the Runner that it feeds. No framework, and nothing of any task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np

from zoo.converters.runner import Array, Runner
from zoo.errors import BadInput
from zoo.tasks.processor import Feeds, Processor
from zoo.tasks.results import Embedding, Ranking, Result

BATCH_BYTES, BATCH_MOST = 2**25, 32  # batch_size="auto": what keeps a batch's arrays in a few ten megabytes


class Predictor:
    """Answers to inputs, one or many; see `zoo.predictor`.

    `runner` is one Runner, or a Runner for each part of a model of models. `batch_size` is how many inputs one run of
    the model may have; "auto" takes up to 32, fewer where they are large, and one where the model can't have more.

    `predictor(x)` gives one answer, `predictor([x, y])` a list of them, `predictor.stream(xs)` an iterator. Options
    after the input belong to the task (`top_k=3`). A wrong input raises BadInput that names it by its path and place.
    """

    def __init__(
        self,
        runner: Runner | Mapping[str, Runner],
        processor: Processor,
        *,
        batch_size: int | Literal["auto"] = "auto",
    ) -> None:
        is_whole = isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size > 0
        if batch_size != "auto" and not is_whole:
            raise BadInput(f"batch_size: expected 'auto' or a whole number of at least 1, got {batch_size!r}")
        self.runners: Mapping[str, Runner] = runner if isinstance(runner, Mapping) else {"": runner}
        for part, one in self.runners.items():
            processor = processor.feeding(one.inputs, part)
        self.processor = processor
        self.batch_size = batch_size

    def __repr__(self) -> str:
        return f"Predictor({type(self.processor).__name__}, batch_size={self.batch_size!r})"

    @overload
    def __call__(self, x: list[Any] | tuple[Any, ...], **options: Any) -> list[Result]: ...
    @overload
    def __call__(self, x: Any, **options: Any) -> Any: ...
    def __call__(self, x: Any, **options: Any) -> Any:
        """The answer to one input; to a list or tuple, the list of their answers."""
        if isinstance(x, Iterator):
            raise BadInput(f"a {type(x).__name__} is no input", hint="Use predictor.stream, or make a list of it.")
        if isinstance(x, list | tuple):
            return list(self.stream(x, **options))
        return self._answers([self.processor.read(x)], options)[0]

    def stream(
        self, inputs: Iterable[Any], *, errors: Literal["raise", "return"] = "raise", **options: Any
    ) -> Iterator[Any]:
        """Answers in the order of the inputs, while they come: at most one batch of them is held at a time.

        A wrong input raises BadInput after the answers before it; with `errors="return"` the BadInput stands in the
        place of its answer, and the rest goes on.
        """
        if errors not in ("raise", "return"):
            raise BadInput(f"errors: expected raise or return, got {errors!r}")
        if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
            raise BadInput(f"stream wants many inputs, and was given one {type(inputs).__name__}")
        return self._stream(inputs, errors == "return", options)

    def _stream(self, inputs: Iterable[Any], is_kept: bool, options: dict[str, Any]) -> Iterator[Any]:
        held: list[Any] = []  # samples, and errors in their places
        for place, x in enumerate(inputs):
            try:
                held.append(self.processor.read(x))
            except BadInput as error:
                named = BadInput(f"input {place}: {error.message}", hint=error.hint)
                if not is_kept:
                    yield from self._in_place(held, options)
                    raise named from error
                held.append(named)
            if len(held) >= self._enough(held):
                yield from self._in_place(held, options)
                held = []
        yield from self._in_place(held, options)

    def _in_place(self, held: Sequence[Any], options: dict[str, Any]) -> Iterator[Any]:
        """Answers in the places of samples; errors stay where they are."""
        samples = [sample for sample in held if not isinstance(sample, BadInput)]
        answers = iter(self._answers(samples, options) if samples else [])
        for sample in held:
            yield sample if isinstance(sample, BadInput) else next(answers)

    def _enough(self, held: Sequence[Any]) -> int:
        """How many inputs make a batch, by the size of those that are held."""
        most = min(filter(None, (self.processor.max_batch, *map(_fixed_batch, self.runners.values()))), default=None)
        if self.batch_size != "auto":
            return min(self.batch_size, most or self.batch_size)
        sizes = [sample.nbytes for sample in held if not isinstance(sample, BadInput)]
        return most or max(1, min(BATCH_MOST, BATCH_BYTES // max(sizes, default=1)))

    def _answers(self, samples: Sequence[Any], options: dict[str, Any]) -> list[Result]:
        """Drives the Processor's steps: each asks for one run of one part's Runner."""
        steps = self.processor.steps(samples, **options)
        try:
            part, feeds = next(steps)
            while True:
                part, feeds = steps.send(_run(self.runners[part], feeds))
        except StopIteration as end:
            answers: list[Result] = end.value
            return answers

    @overload
    def similarity(self, a: str, b: str) -> float: ...
    @overload
    def similarity(self, a: Any, b: Any) -> Any: ...
    def similarity(self, a: Any, b: Any) -> Any:
        """The cosine of two embeddings, -1 to 1; of lists, the matrix [len(a), len(b)] in float32."""
        from zoo.tasks.sentence_embedding import cosines

        first, second = (list(x) if isinstance(x, list | tuple) else [x] for x in (a, b))
        vectors = self._vectors([*first, *second])
        matrix = cosines(vectors[: len(first)], vectors[len(first) :])
        if isinstance(a, list | tuple) or isinstance(b, list | tuple):
            return matrix
        return float(matrix[0, 0])

    def rank(self, query: str, texts: Iterable[str], *, top_k: int | None = None) -> Ranking:
        """The texts by their similarity to the query, most similar first; the first `top_k` if that is given."""
        from zoo.tasks.sentence_embedding import cosines, ranking

        if isinstance(texts, str):
            raise BadInput("rank wants a query and a list of texts, and was given one text")
        if top_k is not None and top_k < 1:
            raise BadInput(f"top_k: expected a whole number of at least 1, got {top_k!r}")
        listed = list(texts)
        vectors = self._vectors([query, *listed])
        return ranking(query, listed, cosines(vectors[:1], vectors[1:])[0], top_k)

    def _vectors(self, inputs: Sequence[Any]) -> Array:
        vectors = []
        for answer in self.stream(inputs):
            if not isinstance(answer, Embedding):
                raise BadInput(f"similarity is of embeddings, and this model gives a {type(answer).__name__}")
            vectors.append(answer.vector)
        if not vectors:
            raise BadInput("nothing to compare: the lists are empty")
        return np.stack(vectors)


def _fixed_batch(runner: Runner) -> int | None:
    """How many rows the graph takes at once, where that is a number; 1 and more."""
    sizes = [spec.shape[0] for spec in runner.inputs if spec.shape]
    return min((size for size in sizes if isinstance(size, int) and size > 0), default=None)


def _run(runner: Runner, feeds: Feeds) -> Mapping[str, Array]:
    """One run, the arrays in the dtypes that the graph wants; a graph of a fixed batch gets its last row repeated."""
    count = next(iter(feeds.values())).shape[0]
    fixed = _fixed_batch(runner) or count
    if count > fixed:
        parts = [{k: v[i : i + fixed] for k, v in feeds.items()} for i in range(0, count, fixed)]
        outputs = [_run(runner, part) for part in parts]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
    wanted = {spec.name: spec.dtype for spec in runner.inputs}
    filled = {
        name: np.concatenate([array, np.repeat(array[-1:], fixed - count, 0)]) if count < fixed else array
        for name, array in feeds.items()
    }
    answered = runner.run({name: array.astype(_dtype(wanted[name]), copy=False) for name, array in filled.items()})
    return {name: array[:count] for name, array in answered.items()} if count < fixed else answered


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:  # bfloat16 and its like: numpy knows them once ml_dtypes is imported
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
