"""zoo.verify: the frameworks side by side, each in a process of its own, on the same seeded inputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zoo.errors import ZooError
from zoo.loaders import Changes, Model, canonical_of, resolve, runner, source
from zoo.verdicts import REFERENCE, Bisected, Verdict, hardware, keep
from zoo.version import __version__

if TYPE_CHECKING:
    from zoo.converters.bisect import Parting
    from zoo.converters.runner import Array
    from zoo.loaders import ModelLike

TIMEOUT_S = 600
BISECT_TIMEOUT_S = 3600  # every value of the graph is compared
SAVED = ("inputs.npz", "expected.npz", "got.npz", "node.onnx")


def verify(
    model: ModelLike,
    frameworks: Sequence[str] | None = None,
    *,
    bisect: bool = False,
    out: str | PathLike[str] | None = None,
    **changes: Unpack[Changes],
) -> list[Verdict]:
    """Run a model in frameworks (those that are installed, without any) and compare their outputs.

    `bisect` compares every value of the graph too, and says where a framework parts from the reference: the first node
    whose outputs differ while its inputs agree. Its inputs, both results and the node itself are saved in
    `out/<framework>`, or in the store. Verdicts on models of the registry are kept, and shown by `zoo info`.

    A model of models gives the verdicts of its parts. Raises UnknownFramework, MissingFramework and what `load` raises.
    """
    from zoo.converters.frameworks import FRAMEWORKS, framework

    if isinstance(frameworks, str):
        frameworks = [frameworks]
    named = [framework(name) for name in frameworks or ()] or [f for f in FRAMEWORKS.values() if f.is_installed]
    for one in named:
        one.version  # noqa: B018 - raises MissingFramework before any work
    what = resolve(model, **changes)
    place = Path(fspath(out)).expanduser() if out is not None else None
    if what.entry is not None and what.entry.parts:
        return [
            verdict
            for part, name in what.entry.parts.items()
            for verdict in verify(name, frameworks, bisect=bisect, out=place / part if place else None)
        ]
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        _prepare(what, changes, Path(folder))
        for one in named:
            verdict = _verdict(what, one.name, one.version, Path(folder))
            if not changes:
                keep(what, verdict)
            if bisect:
                verdict = replace(verdict, bisected=_bisected(one.name, one.version, Path(folder), place))
            verdicts.append(verdict)
    return verdicts


def _prepare(model: Model, changes: Mapping[str, Any], folder: Path) -> None:
    """The inputs, the reference's outputs, the graph that gave them, and what the other processes are to open."""
    from zoo.converters import arrays
    from zoo.converters.whole import specs_of
    from zoo.converters.writers.onnx.runner import open_plain
    from zoo.converters.writers.onnx.writer import save
    from zoo.examples import feeds

    bound = source(model)
    examples = feeds(bound, specs_of(bound)[0], model.weights)
    path = save(bound, folder / "model.onnx")[0]
    arrays.save(folder / "inputs.npz", examples)
    arrays.save(folder / "expected.npz", open_plain(path).run(examples))
    job = {"model": model.name, "changes": dict(changes)} if model.entry is not None else {"model": str(path)}
    (folder / "job.json").write_text(json.dumps(job))


def _verdict(model: Model, framework: str, version: str, folder: Path) -> Verdict:
    from zoo.converters import arrays
    from zoo.converters.frameworks import framework as find
    from zoo.converters.verify import compare

    outputs = folder / f"{framework}.npz"
    problem = _process("run", framework, folder, outputs, timeout_s=TIMEOUT_S)
    found = None if problem else compare(arrays.load(folder / "expected.npz"), arrays.load(outputs))
    return Verdict(
        model=model.name,
        framework=framework,
        version=version,
        agrees=found is not None and found.agrees,
        max_absolute=found.max_absolute if found else None,
        max_relative=found.max_relative if found else None,
        top1=found.top1 if found else None,
        tolerance=found.tolerance if found else None,
        problem=problem,
        polyzoo=__version__,
        onnxruntime=find(REFERENCE).version,
        hardware=hardware(),
        date=date.today().isoformat(),
    )


def _bisected(framework: str, version: str, folder: Path, out: Path | None) -> Bisected:
    """The report of a bisection in a process of its own, and what it saved in its place."""
    made = folder / f"{framework}-parting"
    made.mkdir()
    if (said := _process("bisect", framework, folder, made, timeout_s=BISECT_TIMEOUT_S)) is not None:
        return Bisected(0, 0.0, problem=said)
    facts = json.loads((made / "report.json").read_text())
    report = Bisected(**facts | {"nodes": tuple(facts["nodes"])})
    if report.value is None:
        return report
    return replace(report, saved=_saved(made, framework, version, folder, out))


def _saved(made: Path, framework: str, version: str, folder: Path, out: Path | None) -> Path:
    """Bring what reproduces a parting to where it stays: `out/<framework>`, or built/."""
    from zoo.digests import hash_file
    from zoo.keys import key
    from zoo.store import default_store

    if out is not None:
        place = out / framework
        place.mkdir(parents=True, exist_ok=True)
        return _copy(made, place)
    given = [hash_file(folder / name).digest for name in ("model.onnx", "inputs.npz")]
    store, name = default_store(), key("parting", {"framework": [framework, version], "given": given})
    if store.built(name) is None:
        with store.build(name) as place:
            _copy(made, place)
    built = store.built(name)
    assert built is not None
    return built


def _copy(made: Path, place: Path) -> Path:
    for name in SAVED:
        if (made / name).exists():
            shutil.copyfile(made / name, place / name)
    return place


def _process(task: str, framework: str, folder: Path, out: Path, *, timeout_s: float) -> str | None:
    """Run a task of `_worker`; the last line that it said if it failed."""
    command = [sys.executable, "-W", "ignore", "-m", "zoo.verification", task, framework, str(folder), str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {timeout_s:g} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


# ---- in a process of its own


def _worker(task: str, framework: str, folder: Path, out: Path) -> None:
    from zoo.converters import arrays

    job = json.loads((folder / "job.json").read_text())
    model, changes = job["model"], job.get("changes", {})
    feeds = arrays.load(folder / "inputs.npz")
    if task == "run":
        arrays.save(out, runner(model, framework, device="cpu", **changes).run(feeds))
    else:
        _bisect(resolve(model, **changes), framework, feeds, out)


def _bisect(model: Model, framework: str, feeds: Mapping[str, Array], out: Path) -> None:
    """Compare every value, and write the report and what reproduces the parting."""
    from zoo.converters.bisect import Side, bisect
    from zoo.converters.whole import written
    from zoo.converters.writers.onnx.writer import session

    reference = source(model)
    candidate = reference if framework == REFERENCE else canonical_of(model, framework)
    found = bisect(
        Side(reference, lambda graph, arrays: session(graph, device="cpu", plain=True).run(arrays)),
        Side(candidate, lambda graph, arrays: written(graph, framework, device="cpu").run(arrays)),
        feeds,
    )
    report: dict[str, Any] = {"compared": found.compared, "max_relative": found.max_relative, "nodes": []}
    if (parting := found.parting) is not None:
        report |= {
            "value": parting.value,
            "nodes": list(parting.nodes),
            "module": parting.module,
            "difference": parting.difference.max_relative if parting.difference else None,
            "alone": parting.alone.max_relative if parting.alone else None,
            "problem": parting.problem,
        }
        _save(parting, out)
    (out / "report.json").write_text(json.dumps(report))


def _save(parting: Parting, out: Path) -> None:
    from zoo.converters import arrays
    from zoo.converters.writers.onnx.writer import save

    arrays.save(out / "inputs.npz", parting.inputs)
    arrays.save(out / "expected.npz", {parting.value: parting.expected})
    if not parting.problem:
        arrays.save(out / "got.npz", {parting.value: parting.got})
    if parting.graph is not None:
        save(parting.graph, out / "node.onnx")


if __name__ == "__main__":
    try:
        _worker(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    except ZooError as error:
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
