"""Whole families of models the whole way: publisher's module -> graph + his file -> native module, compared.

    python tools/sweep.py torch timm                every model of tools/families.yaml, each in a process of its own
    python tools/sweep.py torch torchvision --only '^res' --jobs 1

Weights are seeded random numbers. Each row says what held: outputs (largest error over the largest magnitude), keys and
bits of the state_dict, module tree, gradients, train(), torch.compile(fullgraph=True), torch.export, bfloat16, float16.
The table goes to docs/conformance/FRAMEWORK-FAMILY.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOUND = 1e-4  # the issue's: float32 through a hundred layers in another order of summation
COLUMNS = ("outputs", "keys", "tree", "gradients", "train", "compile", "export", "bfloat16", "float16")
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


def examine(framework: str, family: str, name: str, folder: Path, checks: Sequence[str] = COLUMNS) -> Row:
    """Take one model the whole way and say what held; outputs, keys and tree always, the rest of COLUMNS if asked."""
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
        start = time.perf_counter()
        if framework != "torch":
            made = zoo.runner(path, framework, architecture=graph).run({k: v.numpy() for k, v in feeds.items()})
            row["outputs"] = worst(want, [torch.as_tensor(v) for v in made.values()])
        else:
            native = zoo.load(path, "torch", architecture=graph)
            row["convert_s"] = round(time.perf_counter() - start, 2)
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
        "gradients": lambda: gradients(source, native, inputs),
        "train": lambda: trains(native, inputs),
        "compile": lambda: worst(want, [t for _, t in flat(compiled(native.eval())(*inputs))]),
        "export": lambda: worst(want, [t for _, t in flat(exported(native.eval(), inputs)(*inputs))]),
        "bfloat16": lambda: halved(source, native.eval(), inputs, torch.bfloat16),
        "float16": lambda: halved(source, native.eval(), inputs, torch.float16),
    }
    row |= {column: _said(check) for column, check in rest.items() if column in checks}
    return row


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
    framework: str, family: str, names: Sequence[str], jobs: int, timeout: float, checks: Sequence[str] = COLUMNS
) -> list[Row]:
    """Every model in a process of its own, a few at once."""
    options = ["--checks", *checks]

    def one(name: str) -> Row:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "row.json"
            log = Path(tempfile.gettempdir()) / f"sweep-{family}-{name}.log"
            command = [sys.executable, "-W", "ignore", __file__, framework, family, *options, "--one", name]
            command += ["--out", str(out)]
            try:
                with log.open("w") as file:
                    subprocess.run(command, timeout=timeout, stdout=file, stderr=file, check=False)
            except subprocess.TimeoutExpired:
                return {"model": name, "status": "failed", "why": f"took longer than {timeout:.0f} s"}
            if not out.exists():
                return {"model": name, "status": "failed", "why": f"the process died: {log.read_text()[-200:]}"}
            row: Row = json.loads(out.read_text())
        return row

    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(one, names):
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def document(framework: str, family: str, rows: Sequence[Row]) -> str:
    """The table, and what stands outside it."""
    packages = {"torchvision": "torchvision", "timm": "timm", "transformers": "transformers"}
    versions = ", ".join(f"{p} {version(p)}" for p in dict.fromkeys(("torch", packages[family], "onnx")))
    done = [r for r in rows if r["status"] != "not exported"]
    agree = [r for r in done if r["status"] == "agrees"]
    columns = [c for c in COLUMNS if any(c in r for r in rows)]
    lines = [
        f"# {family} in {framework}",
        "",
        f"`make sweep FRAMEWORK={framework} FAMILY={family}` with {versions}: {len(agree)} of {len(done)} models that",
        f"torch exports agree with the publisher's own module within {BOUND:.0e}. Weights are seeded random numbers.",
        "An error is the largest difference over the largest magnitude; `no` is said more of below.",
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
    notes = [(r["model"], c, r[c]) for r in done for c in columns if isinstance(r.get(c), str)]
    if notes:
        lines += ["", "## What did not hold", "", *(f"- {m}, {c}: {why}" for m, c, why in notes)]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0e}" if value else "0"
    return "" if value is None else "no"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep; exit 1 if a model that is exported doesn't agree."""
    sys.path.insert(0, str(Path(__file__).parent))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework")
    parser.add_argument("family", choices=("torchvision", "timm", "transformers"))
    parser.add_argument("--only", default="", help="a regular expression that names match")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=900, help="seconds a model")
    parser.add_argument("--checks", nargs="*", default=COLUMNS, choices=COLUMNS, help="all, which takes hours")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="where the document goes")
    args = parser.parse_args(arguments)
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            args.out.write_text(
                json.dumps(examine(args.framework, args.family, args.one, Path(folder), args.checks), default=str)
            )
        return 0
    from families import recipes

    names = [name for name in recipes(args.family) if re.search(args.only, name)]
    rows = sweep(args.framework, args.family, names, args.jobs, args.timeout, args.checks)
    out = args.out or (None if args.only else ROOT / "docs" / "conformance" / f"{args.framework}-{args.family}.md")
    if out:
        out.write_text(document(args.framework, args.family, rows))
    exported = [r for r in rows if r["status"] != "not exported"]
    agree = sum(r["status"] == "agrees" for r in exported)
    print(f"{agree} of {len(exported)} agree; {len(rows) - len(exported)} can't be exported")
    return int(agree < len(exported))


if __name__ == "__main__":
    sys.exit(main())
