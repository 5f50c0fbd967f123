"""zoo inspect: what a file is."""

from __future__ import annotations

import click

from zoo.cli import command as cli


@cli.command("inspect", epilog="zoo inspect model.onnx\nzoo inspect weights.pth --json")
@click.argument("path", type=click.Path())
def command(path: str) -> None:
    """Show what a model file is.

    Of the file or folder PATH the format, and its inputs, outputs, operators and parameters, or its tensors.
    """
    import zoo

    cli.show(zoo.inspect(path), lambda report: cli.pairs(cli.facts(report)))
