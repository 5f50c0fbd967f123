"""zoo verify: do the frameworks agree on a model?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import command as cli
from zoo.cli.changes import change_options, taken
from zoo.cli.names import complete
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.verdicts import Bisected, Verdict


@cli.command(
    "verify",
    epilog="""
    zoo verify efficientnet-lite0
    zoo verify minilm-l6 --framework torch --json
    zoo verify ./model.onnx --framework torch --bisect --out parting
    """,
)
@click.argument("model", shell_complete=complete)
@click.option("--framework", "frameworks", multiple=True, metavar="NAME", help="Only this one; may be given again.")
@click.option("--architecture", metavar="NAME", help="The graph for a file that has weights alone.")
@click.option("--bisect", is_flag=True, help="Compare every value, and name the first node that differs.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Where --bisect saves the node; else in the store.",
)
@change_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    frameworks: tuple[str, ...],
    architecture: str | None,
    bisect: bool,
    out: str | None,
    **options: Any,
) -> None:
    """Compare MODEL between frameworks.

    It is run in every one that is here, and its outputs compared with ONNX Runtime's. Exit code 1 when one disagrees.

    With --bisect the graphs are run side by side: the first node whose outputs part while its inputs agree is named,
    and saved with its inputs.
    """
    import zoo

    if out is not None and not bisect:
        raise UsageError("--out says where --bisect saves what it finds", hint="Add --bisect.")
    changes = taken(options) | ({"architecture": architecture} if architecture else {})
    verdicts = zoo.verify(model, list(frameworks) or None, bisect=bisect, out=out, **changes)
    cli.show(verdicts, lines)
    if not all(verdict.agrees for verdict in verdicts):
        ctx.exit(1)


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A line a verdict; under the table why there are no figures where there are none, and where a framework parts."""
    rows = [
        (
            v.model,
            v.framework,
            v.version,
            "agrees" if v.agrees else "DIFFERS",
            *map(_small, (v.max_absolute, v.max_relative)),
        )
        + (None if v.top1 is None else f"{100 * v.top1:.0f} %", _small(v.tolerance))
        for v in verdicts
    ]
    heads = ("MODEL", "FRAMEWORK", "VERSION", "VERDICT", "ABSOLUTE", "RELATIVE", "TOP1", "ALLOWED")
    problems = [f"{v.model} in {v.framework}: {v.problem}" for v in verdicts if v.problem]
    found = [line for v in verdicts if v.bisected for line in _parting(f"{v.model} in {v.framework}", v.bisected)]
    return cli.table(rows, heads, right="ABSOLUTE RELATIVE TOP1 ALLOWED") + problems + found


def _parting(what: str, found: Bisected) -> Iterator[str]:
    """What a bisection says, as lines."""
    values = f"{found.compared:,} values of the graph"
    if found.value is None and found.problem:
        yield f"{what}: {found.problem}"
    elif found.value is None:
        yield f"{what}: no node parts; {values} differ by {_small(found.max_relative)} at most"
    else:
        where = f" of module {found.module}" if found.module else ""
        how = f"fails: {found.problem}" if found.problem else f"differs by {_small(found.difference)}"
        yield f"{what} parts at {found.nodes[-1] if found.nodes else found.value}{where}: {found.value!r} {how}"
        if len(found.nodes) > 1:
            yield f"  computed by {', '.join(found.nodes)}, which {what.rpartition(' ')[2]} has as one"
        if found.alone is not None:
            yield f"  on the reference's inputs, these nodes alone differ by {_small(found.alone)}"
        yield f"  inputs.npz, both results and node.onnx: {found.saved}"


def _small(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.1e}"
