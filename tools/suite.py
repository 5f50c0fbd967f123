"""ONNX's backend suite: its cases as data, one case run, and many of them, each in a worker with a time limit."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

GROUPS = ("node", "light", "simple", "pytorch-converted", "pytorch-operator")
DATA = Path(onnx.backend.test.__file__).parent / "data"
START_S = 900  # for a worker to import its framework on a busy machine


@dataclass(frozen=True, slots=True)
class Case:
    """A model, sets of inputs and expected outputs in the graph's order, and the suite's own tolerances."""

    group: str
    name: str
    model: bytes
    data: Sequence[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def id(self) -> str:
        """`group/name`, by which reports and lists know it."""
        return f"{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case: `problem` is empty where it passed."""

    case: str
    problem: str

    @property
    def passed(self) -> bool:
        """Whether every output had the expected dtype, shape and values."""
        return not self.problem


# ---- cases


def cases(groups: Iterable[str] = GROUPS, operators: Sequence[str] = ()) -> list[Case]:
    """Every case of the groups in the installed onnx; of the group `node` only the files `operators`, if any are named.

    The node cases are computed by the suite when it is imported, which takes some ten seconds for all of them.
    """
    found: list[Case] = []
    for group in groups:
        if group == "node":
            found += _node_cases(operators)
        elif group == "light":
            found += _light_cases()
        else:
            found += _folder_cases(group)
    return found


def _node_cases(operators: Sequence[str]) -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if operators:
            for name in operators:
                importlib.import_module(f"onnx.backend.test.case.node.{name}")
            from onnx.backend.test.case.node import _NodeTestCases as made
        else:
            made = load_model_tests(kind="node")
    for case in made:
        data = [([_array(v) for v in i], [_array(v) for v in o]) for i, o in case.data_sets]
        yield Case("node", case.name, case.model.SerializeToString(), data, case.rtol, case.atol)


def _folder_cases(group: str) -> Iterator[Case]:
    for case in sorted(load_model_tests(kind=group), key=lambda case: str(case.name)):
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        data = [
            (_values(place, "input", model.graph.input), _values(place, "output", model.graph.output))
            for place in sorted(folder.glob("test_data_set*"))
        ]
        yield Case(group, case.name, model.SerializeToString(), data, case.rtol, case.atol)


def _light_cases() -> Iterator[Case]:
    """Whole topologies whose weights are made by the graph itself; the suite feeds them arange(n) / n."""
    for case in sorted(load_model_tests(kind="real"), key=lambda case: str(case.name)):
        path = DATA / "light" / Path(case.url).name
        model = onnx.load(path)
        filled = {tensor.name for tensor in model.graph.initializer}
        feeds = []
        for value in (v for v in model.graph.input if v.name not in filled):
            shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
            n = int(np.prod(shape))
            feeds.append((np.arange(n).reshape(shape) / n).astype(np.float32))
        expected = [
            numpy_helper.to_array(onnx.load_tensor(path.with_name(f"{path.stem}_output_{i}.pb")))
            for i in range(len(model.graph.output))
        ]
        yield Case("light", case.name, model.SerializeToString(), [(feeds, expected)], case.rtol, case.atol)


def _values(folder: Path, kind: str, declared: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    """The values `<kind>_<i>.pb` of a data set."""
    return [_value(folder / f"{kind}_{i}.pb", declared[i].type) for i in range(len([*folder.glob(f"{kind}_*.pb")]))]


def _value(path: Path, declared: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if declared.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if declared.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _array(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_array(v) for v in value]
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


# ---- one case


def run(case: Case, framework: str) -> Result:
    """Run a case through the framework's Backend, and compare."""
    from zoo.converters.backend import backend

    try:
        prepared = backend(framework).prepare(onnx.ModelProto.FromString(case.model))
        for inputs, expected in case.data:
            got = prepared.run(inputs)
            if len(got) != len(expected):
                return Result(case.id, f"{len(got)} outputs, {len(expected)} expected")
            for i, (want, have) in enumerate(zip(expected, got, strict=True)):
                if problem := difference(want, have, case.rtol, case.atol):
                    return Result(case.id, f"output {i}: {problem}")
    except Exception as error:  # noqa: BLE001 - whatever a case does to a framework is what there is to report
        return Result(case.id, f"{type(error).__name__}: {error}")
    return Result(case.id, "")


def difference(want: Any, have: Any, rtol: float, atol: float) -> str:
    """How a value differs from the expected one: in kind, length, dtype, shape or numbers; empty where it doesn't.

    Numbers are compared as the suite does: by assert_allclose with its own rtol and atol, bfloat16 with an rtol of two
    of its steps. What numpy can't compare (the other types of 8 bits and fewer) is compared as float32, as exactly.
    """
    if want is None or have is None:
        return "" if want is have else f"{_kind(have)}, {_kind(want)} expected"
    if isinstance(want, list):
        if not isinstance(have, (list, tuple)) or len(have) != len(want):
            return f"{_kind(have)}, {_kind(want)} expected"
        problems = (difference(w, h, rtol, atol) for w, h in zip(want, have, strict=True))
        return next((f"item {i}: {problem}" for i, problem in enumerate(problems) if problem), "")
    have = np.asarray(have)
    if want.dtype.kind in "OSU":
        return "" if have.shape == want.shape and (have.astype(str) == want.astype(str)).all() else "other strings"
    if have.dtype != want.dtype or have.shape != want.shape:
        return f"{_kind(have)}, {_kind(want)} expected"
    if want.dtype.name == "bfloat16":
        rtol = max(rtol, 2**-6)
    if want.dtype.isbuiltin != 1:
        want, have = want.astype(np.float32), have.astype(np.float32)
    try:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(have, want, rtol=rtol, atol=atol)
    except AssertionError as error:
        return _numbers(str(error))
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a sequence of {len(value)}"
    return "nothing" if value is None else f"{value.dtype.name} {list(value.shape)}"


def _numbers(text: str) -> str:
    """Of numpy's report the lines that say how many elements differ, and by how much."""
    wanted = ("Mismatched elements", "Max absolute", "Max relative", "nan location", "inf location")
    lines = [" ".join(line.split()) for line in text.splitlines() if any(word in line for word in wanted)]
    return "; ".join(lines) or text.strip().splitlines()[0]


# ---- many cases


def run_all(
    todo: Sequence[Case], framework: str, *, jobs: int, timeout_s: float, tell: Callable[[int], None] = lambda n: None
) -> dict[str, Result]:
    """Run cases in `jobs` worker processes; the results by case. A worker that dies or hangs costs its case alone."""
    left, results = deque(todo), dict[str, Result]()
    failures: list[BaseException] = []

    def drain() -> None:
        worker = None
        try:
            while not failures and (case := _next(left)) is not None:
                worker = worker or Worker(framework)
                results[case.id] = worker.run(case, timeout_s)
                tell(len(results))
                if not worker.is_alive:
                    worker = None
        except BaseException as error:  # noqa: BLE001 - raised again where the threads are joined
            failures.append(error)
        finally:
            if worker is not None:
                worker.stop()

    threads = [threading.Thread(target=drain) for _ in range(min(jobs, len(todo)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {case.id: results[case.id] for case in todo}


def _next(left: deque[Case]) -> Case | None:
    try:
        return left.popleft()
    except IndexError:
        return None


class Worker:
    """A process that runs one case after the other. Raises RuntimeError when its framework can't be imported."""

    def __init__(self, framework: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(framework, theirs), daemon=True)
        self._process.start()
        theirs.close()
        problem = self._received() if self._pipe.poll(START_S) else f"no answer after {START_S} s"
        if problem != "":
            self.stop()
            raise RuntimeError(f"a worker for {framework} did not start: {problem or 'it died'}")

    def run(self, case: Case, timeout_s: float) -> Result:
        """The result of a case; afterwards the worker is dead if the case was the end of it."""
        self._pipe.send(case)
        if not self._pipe.poll(timeout_s):
            self.stop()
            return Result(case.id, f"not done after {timeout_s:g} s")
        problem = self._received()
        if problem is None:
            self.stop()
            return Result(case.id, f"the process died with exit code {self._process.exitcode}")
        return Result(case.id, problem)

    @property
    def is_alive(self) -> bool:
        """Whether another case can be sent."""
        return self._process.is_alive()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _received(self) -> str | None:
        try:
            return str(self._pipe.recv())
        except (EOFError, ConnectionError):
            return None


def _serve(framework: str, pipe: Connection) -> None:
    """In a worker: say that the framework is here, then run each case that comes."""
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"  # as many workers as cores
    from zoo.converters.backend import backend

    try:
        pipe.send("" if backend(framework).supports_device("CPU") else f"{framework} can't run on the CPU")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # what a framework prints of an error comes back in the error too
        while True:
            pipe.send(run(pipe.recv(), framework).problem)
    except EOFError:
        return  # the parent is done


def described(case: Case) -> dict[str, Any]:
    """What a table of reasons can ask about a case: its operators and the dtypes of its inputs, outputs and casts."""
    model = onnx.ModelProto.FromString(case.model)
    operators, types = set[str](), set[int]()
    _describe(model.graph, operators, types)
    names = {onnx.TensorProto.DataType.Name(t).lower() for t in types}
    return {"operators": operators, "types": names}


def _describe(graph: onnx.GraphProto, operators: set[str], types: set[int]) -> None:
    for value in (*graph.input, *graph.output):
        types.update(_types(value.type))
    types.update(tensor.data_type for tensor in graph.initializer)
    for node in graph.node:
        operators.add(node.op_type)
        for attribute in node.attribute:
            if attribute.name == "to":
                types.add(attribute.i)
            if attribute.HasField("t"):
                types.add(attribute.t.data_type)
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _describe(body, operators, types)


def _types(declared: onnx.TypeProto) -> Iterator[int]:
    if declared.HasField("sequence_type"):
        yield from _types(declared.sequence_type.elem_type)
    elif declared.HasField("optional_type"):
        yield from _types(declared.optional_type.elem_type)
    else:
        yield declared.tensor_type.elem_type
