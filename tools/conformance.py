"""How much of ONNX's backend suite passes in a framework, written to docs/conformance/.

    python tools/conformance.py --framework torch             every case: <framework>.md and the list of those that pass
    python tools/conformance.py --framework torch --held      the listed cases alone; nothing is written
    python tools/conformance.py --only 'node/test_(add|mul)'  a part, to look at; nothing is written

Exit code 1 when a case of the checked-in list no longer passes: the list never shrinks by itself, so nothing is written
then either. A case may only leave it by hand, in a commit that says why.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import suite
import yaml
from suite import GROUPS, Case, Result

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "conformance"
REASONS = HERE / "conformance.yaml"
SHOWN = 300  # characters of an error


def main() -> int:
    """Run what is asked for; the exit code."""
    asked = arguments()
    held_path = asked.docs / f"{asked.framework}.txt"
    held = held_path.read_text().split() if held_path.exists() else []
    chosen = [
        case
        for case in suite.cases(asked.groups, asked.operators)
        if re.search(asked.only, case.id) and (not asked.held or case.id in held)
    ][:: asked.every]
    results = suite.run_all(chosen, asked.framework, jobs=asked.jobs, timeout_s=asked.timeout_s, tell=teller(chosen))
    print("\n".join(table(results.values(), reasons_of(chosen, results, asked.framework))))
    lost = [case for case in held if case in results and not results[case].passed]
    for case in lost:
        print(f"{case} passed before: {brief(results[case].problem)}", file=sys.stderr)
    if lost:
        return 1
    is_whole = asked.groups == list(GROUPS) and not asked.operators and asked.every == 1 and not asked.only
    if is_whole and not asked.held:
        if gone := [case for case in held if case not in results]:
            print(f"{len(gone)} listed cases are not in this onnx's suite: {gone[0]}, ...", file=sys.stderr)
            return 1
        asked.docs.mkdir(parents=True, exist_ok=True)
        held_path.write_text("".join(f"{case}\n" for case in listed(chosen, results, asked.framework)))
        (asked.docs / f"{asked.framework}.md").write_text(report(chosen, results, asked.framework))
    elif not asked.held:
        print("\n".join(f"{r.case}: {brief(r.problem)}" for r in results.values() if not r.passed))
    return 0


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--operators", nargs="+", default=[], metavar="FILE", help="of onnx.backend.test.case.node")
    parser.add_argument("--only", default="", metavar="REGEX", help="of group/name")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one case of so many")
    parser.add_argument("--held", action="store_true", help="the checked-in list alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout-s", type=float, default=60)
    parser.add_argument("--docs", type=Path, default=DOCS)
    return parser.parse_args()


def teller(chosen: Sequence[Case]) -> Any:
    """What shows how far it is, on a terminal."""
    if not sys.stderr.isatty():
        return lambda n: None
    return lambda n: print(f"\r{n} of {len(chosen)}", end="\n" if n == len(chosen) else "", file=sys.stderr)


def reasons_of(
    chosen: Sequence[Case], results: Mapping[str, Result], framework: str
) -> dict[str, Mapping[str, Any] | None]:
    """Of each case that does not pass the row of conformance.yaml that says why; None where none does."""
    return {
        case.id: next((row for row in rows_of(framework) if _fits(row, case, results[case.id].problem)), None)
        for case in chosen
        if not results[case.id].passed
    }


def rows_of(framework: str) -> list[Mapping[str, Any]]:
    """The rows of conformance.yaml for a framework, those for every one first."""
    table = yaml.safe_load(REASONS.read_text())
    return [*table["every framework"], *table.get(framework, [])]


def listed(chosen: Sequence[Case], results: Mapping[str, Result], framework: str) -> list[str]:
    """The cases that pass and always will; those that are a matter of luck are left out."""
    random = [row for row in rows_of(framework) if row.get("random")]
    return sorted(c.id for c in chosen if results[c.id].passed and not any(_fits(row, c, "") for row in random))


def _fits(row: Mapping[str, Any], case: Case, problem: str) -> bool:
    """Whether all that a row asks for is so: one of its dtypes, of its operators, its patterns of name and error."""
    facts = suite.described(case)
    return (
        ("types" not in row or bool(facts["types"] & set(row["types"])))
        and ("operators" not in row or bool(facts["operators"] & set(row["operators"])))
        and ("case" not in row or re.search(row["case"], case.id) is not None)
        and ("error" not in row or re.search(row["error"], problem) is not None)
    )


def brief(problem: str) -> str:
    """An error on one line, without what every one of them says."""
    text = " ".join(problem.split()).partition(" Nothing was written.")[0]
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def table(results: Any, reasons: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """A row a group: how many cases, how many pass, and of the others how many want what the framework lacks."""
    passed, total, lacking = Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        group = result.case.partition("/")[0]
        row = reasons.get(result.case)
        total[group] += 1
        passed[group] += result.passed
        lacking[group] += bool(row and row.get("lacks"))
    yield "| group | cases | pass | share | want what the framework lacks | other |"
    yield "|---|--:|--:|--:|--:|--:|"
    for group in (g for g in (*GROUPS, "all") if total[g] or g == "all"):
        p, n, k = (c.total() if group == "all" else c[group] for c in (passed, total, lacking))
        yield f"| {group} | {n:,} | {p:,} | {100 * p / max(n, 1):.1f} % | {k} | {n - p - k} |"


def report(chosen: Sequence[Case], results: Mapping[str, Result], framework: str) -> str:
    """The page of a framework: versions, the table, and every case that does not pass, with why."""
    from zoo.converters.frameworks import framework as find

    target, reasons = find(framework), reasons_of(chosen, results, framework)
    versions = {name: version(name) for name in ("polyzoo", "onnx")} | {target.distribution: target.version}
    versions["numpy"] = version("numpy")
    lines = [
        f"# ONNX's backend suite in {framework}",
        "",
        f"Made by `make conformance FRAMEWORK={framework}`: "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f", Python {platform.python_version()}, {platform.system()} on {platform.machine()}.",
        "",
        "Every case goes through `zoo.converters.backend`, in a worker process with a time limit. Its outputs have the",
        "expected dtype and shape, and differ by no more than the case's own rtol and atol, as the suite sets them.",
        f"The cases that pass are listed in [{framework}.txt]({framework}.txt); a test runs them again.",
        "",
        *table(results.values(), reasons),
        "",
    ]
    known: dict[str, list[str]] = defaultdict(list)
    for case, row in reasons.items():
        if row is not None:
            known[row["reason"]].append(case)
    lines += ["## What does not pass", ""] if reasons else []
    for reason, names in sorted(known.items(), key=lambda item: -len(item[1])):
        lines += [f"**{reason}** ({len(names)})", "", ", ".join(f"`{name}`" for name in sorted(names)), ""]
    if unknown := [case for case, row in reasons.items() if row is None]:
        lines += ["| case | what happens |", "|---|---|"]
        lines += [f"| `{case}` | {brief(results[case].problem).replace('|', '&#124;')} |" for case in sorted(unknown)]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
