"""Whole families of models the whole way: publisher's module -> graph + his file -> native module, compared.

    python tools/sweep.py torch timm                every model of tools/families.yaml, each in a process of its own
    python tools/sweep.py torch timm --resume       those that have no row yet
    python tools/sweep.py torch torchvision --only '^res' --jobs 1 --checks sizes

Weights are seeded random numbers. Each row says what held: outputs (largest error over the largest magnitude), the same
at other batches and lengths, keys and bits of the state_dict, module tree, gradients, train(),
torch.compile(fullgraph=True), torch.export, bfloat16, float16. A row is kept as soon as it is there, in
docs/conformance/FRAMEWORK-FAMILY.jsonl, and the table FRAMEWORK-FAMILY.md is made of the rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent.parent / "docs" / "conformance"
BOUND = 1e-4  # the issue's: float32 through a hundred layers in another order of summation
ALWAYS = ("outputs", "keys", "tree")
CHECKS = ("sizes", "gradients", "train", "compile", "export", "bfloat16", "float16")
COLUMNS = (*ALWAYS, *CHECKS)
FAMILIES = ("torchvision", "timm", "transformers")  # the name of the publisher's package as well
PRELOADED = ("torch", "torch._dynamo", "torch.onnx", "onnxscript", "families", "zoo.loaders")
Row = dict[str, Any]


# ---- one model, in a process of its own


def relative(want: Any, got: Any) -> float:
    """The largest difference over the largest magnitude; infinite where shapes or what is finite differ."""
    import torch

    want, got = want.detach().double(), got.detach().double()
    if want.shape != got.shape or not torch.equal(want.isfinite(), got.isfinite()):
        return float("inf")
    finite = want.isfinite()
    scale = float(want[finite].abs().max()) if finite.any() else 1.0
    return float((want - got)[finite].abs().max()) / (scale or 1.0) if finite.any() else 0.0


def worst(want: Sequence[Any], got: Sequence[Any]) -> float:
    """The largest of the errors of several tensors."""
    return max((relative(a, b) for a, b in zip(want, got, strict=True)), default=float("inf"))


def examine(framework: str, family: str, name: str, folder: Path, checks: Sequence[str] = CHECKS) -> Row:
    """Take one model the whole way and say what held: outputs, keys and tree always, of CHECKS what is asked for."""
    import torch
    from families import build, flat
    from families import recipe as family_recipe

    import zoo
    from zoo.architectures.make import export, export_by_tracing, weightless
    from zoo.converters.canonical import canonical

    row: Row = {"model": name}
    source = build(family, name)
    row["parameters"] = sum(p.numel() for p in source.module.parameters())
    try:
        start = time.perf_counter()
        made = export_by_tracing(source) if family_recipe(family, name).get("traced") else export(source)
        graph = canonical(weightless(made, source, f"{family}/{name}"))
        row["export_s"] = round(time.perf_counter() - start, 1)
    except Exception as error:  # noqa: BLE001 - what torch can't export is a result
        traceback.print_exc()
        return row | {"status": "not exported", "why": _brief(error)}
    path = folder / "published.pth"
    torch.save(source.module.state_dict(), path)
    with torch.no_grad():
        want = [tensor for _, tensor in flat(source.module(**source.kwargs))]
    feeds = dict(zip([v.name for v in zoo_inputs(graph)], (t for _, t in flat(source.kwargs)), strict=True))
    try:
        if framework != "torch":
            made = zoo.runner(path, framework, architecture=graph).run({k: v.numpy() for k, v in feeds.items()})
            row["outputs"] = worst(want, [torch.as_tensor(v) for v in made.values()])
        else:
            start = time.process_time()
            native = zoo.load(path, "torch", architecture=graph)
            row["convert_s"] = round(time.process_time() - start, 2)
            row |= against(source, native, want, list(feeds.values()), checks)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return row | {"status": "failed", "why": _brief(error)}
    row["status"] = "agrees" if row["outputs"] <= BOUND and row.get("keys", True) is True else "differs"
    return row


def zoo_inputs(graph: Any) -> list[Any]:
    """The graph's inputs without its parameters."""
    from zoo.converters.graph import data_inputs

    return data_inputs(graph.graph)


def against(source: Any, native: Any, want: Sequence[Any], inputs: Sequence[Any], checks: Sequence[str]) -> Row:
    """The native module against the publisher's own, in all that a torch user does with it."""
    import torch
    from families import flat

    theirs, row = source.module, Row()

    def outputs() -> list[Any]:
        return [tensor for _, tensor in flat(native(*inputs))]

    with torch.no_grad():
        row["outputs"] = worst(want, outputs())
    state, published = native.state_dict(), theirs.state_dict()
    same_keys = list(state) == list(published)
    row["keys"] = same_keys and all(torch.equal(state[k], published[k]) for k in state)
    row["tree"] = [p for p, _ in native.named_modules()] == [p for p, _ in theirs.named_modules()]
    rest: dict[str, Callable[[], Any]] = {
        "sizes": lambda: at_other_sizes(source, native),
        "gradients": lambda: gradients(source, native, inputs),
        "train": lambda: trains(native, inputs),
        "compile": lambda: worst(want, [t for _, t in flat(compiled(native.eval())(*inputs))]),
        "export": lambda: worst(want, [t for _, t in flat(exported(native.eval(), inputs)(*inputs))]),
        "bfloat16": lambda: halved(source, native.eval(), inputs, torch.bfloat16),
        "float16": lambda: halved(source, native.eval(), inputs, torch.float16),
    }
    row |= {column: _said(check) for column, check in rest.items() if column in checks}
    return row


def at_other_sizes(source: Any, native: Any) -> float | None:
    """The error at a batch of one, and with every free size larger; None where none is free."""
    import torch
    from families import flat

    if not any(source.free[argument] for argument, x in source.kwargs.items() if isinstance(x, torch.Tensor)):
        return None
    errors = []
    for batch, longer in ((1, 0), (3, 4)):
        kwargs = {name: resized(x, source.free[name], batch, longer) for name, x in source.kwargs.items()}
        with torch.no_grad():
            want = [tensor for _, tensor in flat(source.module(**kwargs))]
            errors.append(worst(want, [tensor for _, tensor in flat(native(*kwargs.values()))]))
    return max(errors)


def resized(x: Any, free: Mapping[int, str], batch: int, longer: int) -> Any:
    """A tensor with another batch, and every other free size so much longer: its numbers from the start again."""
    import torch

    for axis, name in free.items():
        n = batch if name == "batch" else x.shape[axis] + longer
        x = x.index_select(axis, torch.arange(n) % x.shape[axis])
    return x


def gradients(source: Any, native: Any, inputs: Sequence[Any]) -> float:
    """The error of every parameter's gradient of the sum of squares of the outputs, in inference mode."""
    from families import flat

    made = []
    for module, outputs in ((source.module, lambda: source.module(**source.kwargs)), (native, lambda: native(*inputs))):
        module.zero_grad()
        loss = sum((t.float() ** 2).mean() for _, t in flat(outputs()) if t.is_floating_point())
        loss.backward()
        made.append({name: p.grad for name, p in module.named_parameters()})
        module.zero_grad()
    frozen = {name for name, p in source.module.named_parameters() if not p.requires_grad}
    want, got = ({name: g for name, g in grads.items() if g is not None and name not in frozen} for grads in made)
    if set(want) != set(got):
        raise ValueError(f"other parameters have gradients: {sorted(set(want) ^ set(got))[:3]}")
    scale = max(float(g.abs().max()) for g in want.values())
    return max(float((g - got[name]).abs().max()) / scale for name, g in want.items())


def trains(native: Any, inputs: Sequence[Any]) -> bool:
    """Whether a step in train() mode runs, gives finite numbers and moves the parameters."""
    import torch
    from families import flat

    torch.manual_seed(0)
    saved = {k: v.clone() for k, v in native.state_dict().items()}
    native.train()
    optimiser = torch.optim.SGD(native.parameters(), lr=1e-6)
    loss = sum((t.float() ** 2).mean() for _, t in flat(native(*inputs)) if t.is_floating_point())
    loss.backward()
    optimiser.step()
    moved = any(p.grad is not None and p.grad.any() for p in native.parameters())
    native.zero_grad()
    native.load_state_dict(saved)
    return bool(torch.isfinite(loss)) and moved


def compiled(native: Any) -> Callable[..., Any]:
    """The module captured whole by torch.compile; its code generator is the compiler's own affair and takes minutes."""
    import torch

    torch._dynamo.reset()
    made: Callable[..., Any] = torch.compile(native, fullgraph=True, backend="aot_eager")
    return made


def exported(native: Any, inputs: Sequence[Any]) -> Callable[..., Any]:
    """The module by torch.export."""
    import torch

    made: Callable[..., Any] = torch.export.export(native, tuple(inputs)).module()
    return made


def halved(source: Any, native: Any, inputs: Sequence[Any], dtype: Any) -> float:
    """How far both modules are apart in a smaller dtype."""
    import copy

    import torch
    from families import flat

    def cast(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.to(dtype) if x.is_floating_point() else x
        return [cast(i) for i in x] if isinstance(x, (list, tuple)) else x

    theirs, ours = (copy.deepcopy(m).to(dtype) for m in (source.module, native))
    with torch.no_grad():
        want = [t for _, t in flat(theirs(**{k: cast(v) for k, v in source.kwargs.items()}))]
        return worst(want, [t for _, t in flat(ours(*(cast(x) for x in inputs)))])


def _said(check: Callable[[], Any]) -> Any:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - why it does not work is the result
        traceback.print_exc()
        return _brief(error)


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


# ---- the family


def sweep(
    framework: str, family: str, names: Sequence[str], jobs: int, timeout_s: float, checks: Sequence[str] = CHECKS
) -> Iterator[Row]:
    """The row of every model, each made in a process of its own, a few at once; what it prints is in its log."""
    context = multiprocessing.get_context("forkserver")  # what takes long to import is imported once
    context.set_forkserver_preload([*PRELOADED, family])

    def one(name: str) -> Row:
        ours, theirs = context.Pipe(duplex=False)
        log = Path(tempfile.gettempdir()) / f"sweep-{framework}-{family}-{name}.log"
        process = context.Process(target=_serve, args=(theirs, log, framework, family, name, checks))
        process.start()
        theirs.close()
        try:
            if not ours.poll(timeout_s):
                return {"model": name, "status": "failed", "why": f"took longer than {timeout_s:.0f} s"}
            row: Row = ours.recv()
        except EOFError:
            process.join()
            return {"model": name, "status": "failed", "why": f"the process died with exit code {process.exitcode}"}
        finally:
            process.kill()
            process.join()
        return row

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, names)


def _serve(pipe: Connection, log: Path, framework: str, family: str, name: str, checks: Sequence[str]) -> None:
    """In a process of its own: examine one model."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(examine(framework, family, name, Path(folder), checks))


def kept(path: Path) -> dict[str, Row]:
    """The rows of a file by their models."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["model"]: row for row in map(json.loads, lines)}


def keep(path: Path, rows: Mapping[str, Row], order: Sequence[str]) -> None:
    """Write rows in the order of their family."""
    partial = path.with_suffix(".part")
    partial.write_text("".join(f"{json.dumps(rows[name])}\n" for name in order if name in rows))
    partial.replace(path)


def _is_done(row: Row, checks: Sequence[str]) -> bool:
    """Whether a model need not be tried again: it has all checks, or torch can't export it."""
    return row["status"] == "not exported" or (row["status"] != "failed" and set(checks) <= set(row))


def document(framework: str, family: str, rows: Sequence[Row], of: int) -> str:
    """The table of `rows`, out of a family of so many, and what stands outside it."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", family, "onnx"))
    done = [r for r in rows if r["status"] != "not exported"]
    agree = [r for r in done if r["status"] == "agrees"]
    columns = [c for c in COLUMNS if any(r.get(c) is not None for r in rows)]
    lines = [
        f"# {family} in {framework}",
        "",
        f"`make sweep FRAMEWORK={framework} FAMILY={family}` with {versions}: {len(agree)} of {len(done)} models that",
        f"torch exports agree with the publisher's own module within {BOUND:.0e}. Weights are seeded random numbers.",
        "An error is the largest difference over the largest magnitude; more is said below of a check that failed, and",
        "what is left out was not tried, or has no free size. Detectors are traced by torch's older exporter, which",
        "keeps the module tree in names of nodes alone: theirs are not whole.",
        *(
            []
            if len(rows) == of
            else ["", f"These are {len(rows)} of the family's {of} models; the others have not run."]
        ),
        "",
        "| model | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    lines += [
        f"| {r['model']} | " + " | ".join(_cell(r.get(c)) for c in columns) + " |" for r in done if "why" not in r
    ]
    for title, status in (("Failed", "failed"), ("Not exported by torch.onnx", "not exported")):
        found = [r for r in rows if r["status"] == status]
        if found:
            lines += ["", f"## {title}", "", *(f"- {r['model']}: {r['why']}" for r in found)]
    reasons = noted(family)
    if differing := [r["model"] for r in rows if r["status"] == "differs"]:
        lines += ["", "## Differ", "", *(f"- {m}: {reasons.get(m, 'not looked into yet')}" for m in differing)]
    notes = [(r["model"], c, r[c]) for r in done for c in columns if isinstance(r.get(c), str)]
    if notes:
        lines += ["", "## What did not hold", "", *(f"- {m}, {c}: {why}" for m, c, why in notes)]
    return "\n".join(lines) + "\n"


def noted(family: str) -> dict[str, str]:
    """The notes of families.yaml by their models."""
    recipes = yaml.safe_load((Path(__file__).parent / "families.yaml").read_text())[family]
    return {name: recipe["note"] for name, recipe in recipes.items() if recipe and "note" in recipe}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0e}" if value else "0"
    return "" if value is None else "no"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework")
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--only", default="", metavar="REGEX", help="of models' names")
    parser.add_argument("--resume", action="store_true", help="only those that failed or lack a check")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=900, help="a model")
    parser.add_argument("--checks", nargs="*", default=CHECKS, choices=CHECKS, help="all of them take hours")
    parser.add_argument("--docs", type=Path, default=DOCS)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the sweep; exit 1 if a model that is exported doesn't agree."""
    asked = arguments(given)
    from families import recipes

    order = [*recipes(asked.family)]
    path = asked.docs / f"{asked.framework}-{asked.family}.jsonl"
    rows = kept(path)
    done = {name for name, row in rows.items() if asked.resume and _is_done(row, asked.checks)}
    names = [name for name in order if re.search(asked.only, name) and name not in done]
    asked.docs.mkdir(parents=True, exist_ok=True)
    for row in sweep(asked.framework, asked.family, names, asked.jobs, asked.timeout_s, asked.checks):
        print(json.dumps(row), flush=True)
        before = rows.get(row["model"], {})
        rows[row["model"]] = {**{k: v for k, v in before.items() if k in CHECKS}, **row}
        keep(path, rows, order)
    made = [rows[name] for name in order if name in rows]
    path.with_suffix(".md").write_text(document(asked.framework, asked.family, made, len(order)))
    exported = [row for row in made if row["status"] != "not exported"]
    agree = sum(row["status"] == "agrees" for row in exported)
    print(f"{agree} of {len(exported)} agree; {len(made) - len(exported)} can't be exported")
    return int(agree < len(exported))


if __name__ == "__main__":
    sys.exit(main())
