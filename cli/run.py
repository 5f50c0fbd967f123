"""zoo run: a model's answers to pictures or texts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any

import click

from zoo.cli import command as cli
from zoo.cli.changes import change_options, taken
from zoo.cli.inputs import Input, pictures, texts
from zoo.cli.names import complete
from zoo.errors import BadInput, UnknownModel

DRAWS = ("ocr", "text-detection")
SAVED = (".png", ".jpg", ".jpeg")
CLASSIFIES = ("image-classification", "text-classification", "emotion", "text-direction")


@cli.command(
    "run",
    epilog="""
    zoo run efficientnet-lite0 photo.jpg
    zoo run efficientnet-lite0 holiday/ 'more/**/*.jpg' --top 1 --json
    zoo run efficientnet-lite0 photo.jpg --num-classes 0 --json
    zoo run minilm-l6 --query "how do I get my money back" sentences.txt
    zoo run ppocr page.png --save boxes.png
    curl -s https://example.org/cat.jpg | zoo run efficientnet-lite0 -
    """,
)
@click.argument("model", shell_complete=complete)
@click.argument("inputs", nargs=-1, required=True, type=click.Path())
@click.option("--query", metavar="TEXT", help="Rank the texts by their similarity to this one.")
@click.option("--top", type=click.IntRange(1), metavar="K", help="Show the K best.")
@click.option("--save", type=click.Path(), metavar="PATH", help="Draw the boxes on the picture; of several, a folder.")
@click.option("--framework", default="onnx", show_default=True, metavar="NAME", help="What computes.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1, ...")
@click.option("--dtype", metavar="NAME", help="float32, float16, bfloat16.")
@click.option(
    "--batch-size", type=click.IntRange(1), metavar="N", help="Inputs for one run of the model; by itself what fits."
)
@change_options
@click.pass_context
def command(ctx: click.Context, /, model: str, inputs: tuple[str, ...], **options: Any) -> None:
    """Run MODEL on pictures or texts.

    INPUTS are files, folders, globs, or - for stdin. A model for pictures takes picture files, and the bytes of one
    from stdin. A model for texts takes text files and stdin, a text a line, and a text itself where it has a blank
    in it.
    """
    import zoo

    changes = taken(options)
    task, is_text = kind(model)
    if changes.get("num_classes") == 0 or "outputs" in changes:
        task = "feature-extraction"
    if options["query"] is not None and not is_text:
        raise BadInput(f"--query ranks texts, and {model} is a model for pictures")
    if options["top"] and not (task in CLASSIFIES or options["query"] is not None):
        raise BadInput(f"--top is for what has a best: classification, and ranking by --query; not for {task}")
    if save := options["save"]:
        _check_save(save, task, is_single=len(inputs) == 1)
    named = iter(texts(inputs)) if is_text else iter(pictures(inputs))
    predictor = zoo.predictor(
        model,
        options["framework"],
        device=options["device"],
        dtype=options["dtype"],
        batch_size=options["batch_size"] or "auto",
        **changes,
    )
    if options["query"] is not None:
        ranking = predictor.rank(options["query"], [each.value for each in named], top_k=options["top"])
        cli.show(ranking.to_dict() if cli.wants_json() else ranking, lambda value: [str(value)])
        return
    settings = {"top_k": options["top"]} if options["top"] else {}
    if failed := answer(predictor, named, settings, save):
        ctx.exit(failed)


def _check_save(save: str, task: str, *, is_single: bool) -> None:
    if task not in DRAWS:
        raise BadInput(
            f"--save draws boxes on a picture, and {task} finds none", hint=f"It goes with {' and '.join(DRAWS)}."
        )
    if is_single and not Path(save).is_dir() and Path(save).suffix.lower() not in SAVED:
        raise BadInput(f"--save {save}: expected a name that ends with {', '.join(SAVED)}")


def kind(model: str) -> tuple[str, bool]:
    """The task of a model, and whether it takes texts; of a file, as its name tells nothing, pictures."""
    from zoo import registry

    try:
        entry, weights = registry.resolve(model)
    except UnknownModel:
        if not Path(model).expanduser().exists():
            raise
        return "feature-extraction", False
    return entry.task, "text" in (weights.input if weights else {})


def answer(predictor: Any, inputs: Iterator[Input], settings: dict[str, Any], save: str | None) -> int:
    """Print answers as they come. The exit code: 1 if one of several inputs could not be read; one alone raises."""
    head = list(islice(inputs, 2))
    is_single, failed = len(head) == 1, 0
    named, given = tee(chain(head, inputs))
    results = predictor.stream((each.value for each in given), errors="return", **settings)
    for place, (each, result) in enumerate(zip(named, results, strict=True)):
        if isinstance(result, BadInput):
            problem = BadInput(result.message.removeprefix(f"input {place}: "), hint=result.hint)
            if is_single:
                raise problem
            failed = 1
            cli.note(f"BadInput: {problem}")
            if cli.wants_json():
                cli.show_line({"input": each.name, "error": problem.message}, lambda _: ())
            continue
        if save is not None:
            draw(result, each, Path(save) if is_single else Path(save) / f"{Path(each.name).stem}-{place}.png")
        shown = {"input": each.name, **result.to_dict()} if cli.wants_json() else result
        cli.show_line(shown, partial(lines, name=None if is_single else each.name))
    return failed


def lines(result: Any, name: str | None) -> Iterator[str]:
    """An answer as lines; of several, under the name of its input."""
    if name is not None:
        yield name
    yield from (line if name is None else f"  {line}" for line in str(result).splitlines())


def draw(result: Any, each: Input, out: Path) -> None:
    """The picture with the boxes on it, as a file that is there whole or not at all."""
    from zoo.durable import trouble, write_atomically

    file = BytesIO()
    result.draw(each.value).save(file, format="JPEG" if out.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    with trouble(out, hint=""):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, file.getvalue())
    cli.note(f"Drawn: {out}")
