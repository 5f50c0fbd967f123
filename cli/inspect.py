"""zoo inspect: what a file is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from zoo.cli import command as cli

if TYPE_CHECKING:
    from zoo.inspection import FileReport, TensorSpec


@cli.command("inspect", epilog="zoo inspect model.onnx\nzoo inspect weights.pth --json")
@click.argument("path", type=click.Path())
def command(path: str) -> None:
    """Show what a model file is.

    Of the file PATH the format, and its inputs, outputs, operators and parameters, or its tensors.
    """
    import zoo

    cli.show(zoo.inspect(path), lines)


def lines(report: FileReport) -> Iterator[str]:
    """The report, and after it the tensors of a file of weights."""
    yield from cli.pairs(
        (
            ("file", report.path),
            ("format", f"{report.format}, {report.holds}"),
            ("size", cli.size(report.size_bytes)),
            ("parameters", f"{report.parameters:,}"),
            ("opset", report.opset),
            *((("input" if i == 0 else " "), _spec(spec)) for i, spec in enumerate(report.inputs)),
            *((("output" if i == 0 else " "), _spec(spec)) for i, spec in enumerate(report.outputs)),
            ("operators", ", ".join(f"{name} x{count}" for name, count in report.operators.items())),
            *(
                (("opens in" if i == 0 else " "), f"{name}: {said}")
                for i, (name, said) in enumerate(report.frameworks.items())
            ),
            ("tensors", f"{len(report.tensors)} listed below" if report.tensors else None),
        )
    )
    if report.tensors:
        yield ""
        rows = [(tensor.name, tensor.dtype, list(tensor.shape)) for tensor in report.tensors]
        yield from cli.table(rows, ("TENSOR", "DTYPE", "SHAPE"))


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype} [{', '.join(map(str, spec.shape))}]"
