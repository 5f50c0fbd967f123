"""zoo verify: do the frameworks agree on a model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import command as cli
from zoo.cli.names import complete

if TYPE_CHECKING:
    from zoo.verification import Verdict


@cli.command("verify", epilog="zoo verify efficientnet-lite0\nzoo verify minilm-l6 --framework torch --json")
@click.argument("model", shell_complete=complete)
@click.option("--framework", "frameworks", multiple=True, metavar="NAME", help="Only this one; may be given again.")
@click.option("--architecture", metavar="NAME", help="The graph for a file that has weights alone.")
@click.pass_context
def command(ctx: click.Context, model: str, frameworks: tuple[str, ...], architecture: str | None) -> None:
    """Compare MODEL between frameworks.

    It is run in every one that is here, and its outputs compared with ONNX Runtime's. Exit code 1 when one disagrees.
    """
    import zoo

    changes: dict[str, Any] = {"architecture": architecture} if architecture else {}
    verdicts = zoo.verify(model, list(frameworks) or None, **changes)
    cli.show(verdicts, lines)
    if not all(verdict.agrees for verdict in verdicts):
        ctx.exit(1)


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A line a verdict, and under the table why there are no figures where there are none."""
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
    return cli.table(rows, heads, right="ABSOLUTE RELATIVE TOP1 ALLOWED") + problems


def _small(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.1e}"
