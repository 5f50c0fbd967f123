"""zoo convert: a model as a file of another format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import command as cli
from zoo.cli.changes import change_options, taken
from zoo.cli.names import complete

if TYPE_CHECKING:
    from zoo.conversion import Conversion


@cli.command(
    "convert",
    epilog="""
    zoo convert efficientnet-lite0 --to onnx -o lite0.onnx
    zoo convert resnet50 --to torch -o resnet50.pt2
    zoo convert resnet50 --to torch-source -o resnet50/
    zoo convert resnet50 --to saved-model -o resnet50/
    zoo convert resnet50 --to tflite --dtype float16 -o resnet50.tflite
    zoo convert vit-b-16 --to onnx -o vit.onnx --input-size 448 --num-classes 10
    zoo convert weights.pth --architecture timm/resnet50 --to safetensors -o resnet50.safetensors
    """,
)
@click.argument("model", shell_complete=complete)
@click.option(
    "--to", "to", required=True, metavar="FORMAT", help="torch, torch-source, onnx, ...: `zoo formats` lists them."
)
@click.option("-o", "--out", required=True, type=click.Path(), metavar="PATH", help="Where to write it.")
@click.option(
    "--opset", type=click.IntRange(1), metavar="N", help="Of an ONNX file; by itself the one that the graph has."
)
@click.option(
    "--dtype",
    metavar="NAME",
    help="float16, bfloat16, float32, float64: weights, inputs and outputs. Of TFLite float16, int8-dynamic, int8.",
)
@click.option("--samples", type=click.Path(), metavar="PATH", help="An .npz of inputs: the ranges of a TFLite int8.")
@click.option(
    "--architecture", metavar="NAME", help="The graph for a file that has weights alone: timm/resnet50, or a model."
)
@click.option(
    "--check/--no-check", default=True, show_default=True, help="Compare the outputs of both on seeded inputs."
)
@change_options
def command(model: str, to: str, out: str, architecture: str | None, **options: Any) -> None:
    """Write MODEL in another format.

    The outputs of both are compared on seeded inputs; when they differ nothing is written.
    """
    import zoo

    changes = taken(options) | ({"architecture": architecture} if architecture else {})
    cli.show(zoo.convert(model, to, out, **options, **changes), lines)


def lines(made: Conversion) -> Iterator[str]:
    """What was written, and how well it agrees."""
    yield f"{made.path}  {cli.size(made.size_bytes)}, {made.to} of {made.model}"
    yield f"checked: {made.checked}"
    if made.agreement is not None:
        found = made.agreement
        mean = "" if found.mean_relative is None else f", its root mean square {found.mean_relative:.1e}"
        allowed = f"{found.tolerance:.0e} is allowed"
        yield f"largest difference: {found.max_absolute:.1e}, relative {found.max_relative:.1e}{mean} ({allowed})"
