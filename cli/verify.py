"""zoo verify: do the frameworks agree on a model?"""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import command as cli
from zoo.cli.names import complete


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
    cli.show(verdicts, cli.records)
    if not all(getattr(verdict, "agrees", True) for verdict in verdicts):
        ctx.exit(1)
