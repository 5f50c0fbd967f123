"""The whole registry in every framework that is installed, written to docs/parity.md: how far from the reference.

    python tools/parity.py                  every model that was fetched and run here (`tested:` in registry.yaml)
    python tools/parity.py --only minilm    those whose name fits, to look at; nothing is written

Exit code 1 when a model disagrees, or does not run.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import zoo
from zoo.converters.frameworks import FRAMEWORKS
from zoo.entry import ModelEntry
from zoo.errors import FetchError
from zoo.verdicts import Verdict, hardware

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parity.md"
BUILT_IN = "built-in"


def main() -> int:
    """Verify what is asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="of the model's name")
    asked = parser.parse_args()
    frameworks = [framework.name for framework in FRAMEWORKS.values() if framework.is_installed]
    found: dict[str, list[Verdict] | str] = {}
    for name, said in models(asked.only):
        found[name] = said or verdicts(name, frameworks)
        print("\n".join(row(name, found[name], frameworks)), flush=True)
    if not asked.only:
        PAGE.write_text(page(found, frameworks))
    wrong = [v for said in found.values() if not isinstance(said, str) for v in said if not v.agrees]
    for verdict in wrong:
        print(f"{verdict.model} in {verdict.framework}: {verdict.problem or 'DIFFERS'}", file=sys.stderr)
    return 1 if wrong else 0


def models(pattern: str) -> Iterator[tuple[str, str]]:
    """Every model of the built-in catalog with the tag of its weights, and why it is not run; empty where it is."""
    for entry in zoo.models():
        if entry.catalog != BUILT_IN or not re.search(pattern, entry.name):
            continue
        if entry.parts:
            yield entry.name, f"made of {', '.join(entry.parts.values())}"
        yield from ((f"{entry.name}:{weights.tag}", _why_not(entry, weights.tag)) for weights in entry.weights.values())


def _why_not(entry: ModelEntry, tag: str) -> str:
    weights = entry.weights[tag]
    if weights.unavailable:
        return f"unavailable since {weights.unavailable}"
    return "" if weights.tested else "not fetched here"


def verdicts(name: str, frameworks: Sequence[str]) -> list[Verdict] | str:
    """How the frameworks agree on a model, or why its bytes can't be had."""
    try:
        return zoo.verify(name, frameworks)
    except FetchError as error:
        return f"not fetched here: {error.message}"


def row(name: str, said: list[Verdict] | str, frameworks: Sequence[str]) -> Iterator[str]:
    """A model's row of the table."""
    if isinstance(said, str):
        yield f"| `{name}` | {said} |" + " |" * (len(frameworks) - 1)
        return
    by_name = {verdict.framework: verdict for verdict in said}
    yield f"| `{name}` | " + " | ".join(_cell(by_name[framework]) for framework in frameworks) + " |"


def _cell(verdict: Verdict) -> str:
    if verdict.problem:
        return " ".join(verdict.problem.replace("|", "&#124;").split())
    figure = f"{verdict.max_relative:.1e}"
    return figure if verdict.agrees else f"**{figure}** ({verdict.tolerance:.0e} is allowed)"


def page(found: dict[str, list[Verdict] | str], frameworks: Sequence[str]) -> str:
    """The whole page."""
    versions = ", ".join(f"{FRAMEWORKS[name].package} {FRAMEWORKS[name].version}" for name in frameworks)
    ran = [said for said in found.values() if not isinstance(said, str)]
    agree = sum(verdict.agrees for said in ran for verdict in said)
    heads = [f"{name} {FRAMEWORKS[name].version}" for name in frameworks]
    lines = [
        "# Parity: every model in every framework",
        "",
        f"Made by `make parity` on {date.today().isoformat()}: polyzoo {version('polyzoo')}, {versions}, "
        f"Python {platform.python_version()} on {hardware()}.",
        "",
        "The reference is the published graph and weights in ONNX Runtime, nothing optimised. Each framework runs",
        "in a process of its own on the same seeded inputs. A cell is the largest difference of all outputs over their",
        "largest magnitude; 1e-04 is allowed in float32 (`converters/verify.py` says why).",
        f"Of {len(found)} models {len(ran)} could be fetched where this was made: "
        f"{agree} of {len(ran) * len(frameworks)} cells agree.",
        "",
        f"| model | {' | '.join(heads)} |",
        f"|---|{'---|' * len(frameworks)}",
        *(line for name, said in found.items() for line in row(name, said, frameworks)),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
