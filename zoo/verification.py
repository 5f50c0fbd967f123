"""zoo.verify: the frameworks side by side, each in a process of its own, on the same seeded inputs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zoo.errors import HubError, UsageError
from zoo.loaders import Changes, Model, resolve, runner, source, specs_of

if TYPE_CHECKING:
    from zoo.loaders import ModelLike

REFERENCE = "onnx"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a framework's outputs differ from the reference's: from the unoptimised graph in ONNX Runtime.

    `max_relative` is the largest difference over the largest magnitude; `top1` the share of rows with the same winner,
    None where outputs are no scores. `problem` says why there are no figures.
    """

    model: str
    framework: str
    version: str
    agrees: bool
    max_absolute: float | None
    max_relative: float | None
    top1: float | None
    tolerance: float | None
    problem: str | None = None


def verify(
    model: ModelLike, frameworks: Sequence[str] | None = None, *, bisect: bool = False, **changes: Unpack[Changes]
) -> list[Verdict]:
    """Run a model in frameworks (those that are installed, without any) and compare their outputs.

    A model of models gives the verdicts of its parts. Raises UnknownFramework, MissingFramework and what `load` raises.
    """
    from zoo.converters.frameworks import FRAMEWORKS, framework

    if bisect:
        raise UsageError("bisect= is not supported by this version of polyzoo yet")
    if isinstance(frameworks, str):
        frameworks = [frameworks]
    named = [framework(name) for name in frameworks or ()] or [f for f in FRAMEWORKS.values() if f.is_installed]
    for one in named:
        one.version  # noqa: B018 - raises MissingFramework before any work
    what = resolve(model, **changes)
    if what.entry is not None and what.entry.parts:
        return [verdict for part in what.entry.parts.values() for verdict in verify(part, frameworks)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _prepare(what, place)
        return [_verdict(what, one.name, one.version, place) for one in named]


def _prepare(model: Model, folder: Path) -> None:
    """The inputs, the reference's outputs, and for a graph in memory its file."""
    import numpy as np

    from zoo.converters.writers.onnx.runner import open_plain
    from zoo.converters.writers.onnx.writer import save
    from zoo.examples import feeds

    bound = source(model)
    examples = feeds(bound, specs_of(bound)[0], model.weights)
    path = save(bound, folder / "model.onnx")[0]
    expected = open_plain(path).run(examples)
    np.savez(folder / "inputs.npz", **examples)
    np.savez(folder / "expected.npz", **expected)
    job: Any = str(path)
    if model.entry is not None:
        job = model.name
    (folder / "job.json").write_text(json.dumps(job))


def _verdict(model: Model, framework: str, version: str, folder: Path) -> Verdict:
    from zoo.converters.verify import compare

    outputs = folder / f"{framework}.npz"
    command = [sys.executable, "-W", "ignore", "-m", "zoo.verification", framework, str(folder), str(outputs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0 or not outputs.exists():
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Verdict(model.name, framework, version, False, None, None, None, None, problem=said)
    found = compare(_arrays(folder / "expected.npz"), _arrays(outputs))
    numbers = found.max_absolute, found.max_relative, found.top1, found.tolerance
    return Verdict(model.name, framework, version, found.agrees, *numbers)


def _arrays(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _worker(framework: str, folder: Path, outputs: Path) -> None:
    """In a process of its own: run the job in one framework and save what comes out."""
    import numpy as np

    job = json.loads((folder / "job.json").read_text())
    made = runner(job, framework, device="cpu")
    np.savez(outputs, **made.run(_arrays(folder / "inputs.npz")))


if __name__ == "__main__":
    try:
        _worker(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except HubError as error:
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
