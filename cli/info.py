"""zoo info: the card of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from zoo import registry
from zoo.cli import command as cli
from zoo.cli.names import complete
from zoo.entry import File, License, ModelEntry, Weights, plain
from zoo.store import Store, default_store
from zoo.verdicts import Verdict, verdicts_of


@cli.command("info", epilog="zoo info resnet50\nzoo info resnet50:imagenet1k-v1 --json")
@click.argument("model", shell_complete=complete)
def command(model: str) -> None:
    """Show the card of MODEL.

    What it is, who published it under which licence, how strongly its files are pinned, and what `zoo verify` found
    here with the versions that are installed.
    """
    entry = registry.info(model)
    verdicts = verdicts_of(entry)
    cli.show({**plain(entry), "verdicts": verdicts}, lambda _: card(entry, verdicts))


def card(entry: ModelEntry, verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    """The facts of an entry and of each of its weights, as lines."""
    yield f"{entry.name}  {entry.title}"
    known = (
        ("task", entry.task),
        ("architecture", entry.architecture),
        ("parts", ", ".join(f"{part}: {name}" for part, name in entry.parts.items())),
        ("parameters", f"{entry.params:,}" if entry.params else None),
        ("paper", entry.paper),
        ("also called", ", ".join(entry.aliases)),
        ("opens in", ", ".join(entry.frameworks)),
        ("deprecated", entry.deprecated),
        ("catalog", entry.catalog),
    )
    yield from (f"  {line}" for line in cli.pairs(known))
    store = default_store()
    for place, weights in enumerate(entry.weights.values()):
        yield ""
        yield f"  {entry.name}:{weights.tag}" + (
            "  (what the bare name means)" if place == 0 and len(entry.weights) > 1 else ""
        )
        facts = [*_weights(entry, weights, store), *map(_verdict, verdicts.get(weights.tag, ()))]
        yield from (f"    {line}" for line in cli.pairs(facts))


def _weights(entry: ModelEntry, weights: Weights, store: Store) -> Iterator[tuple[str, object]]:
    yield "publisher", weights.publisher
    yield "licence", _license(weights.license)
    yield "data set", weights.dataset
    yield "metrics", ", ".join(f"{name} {value:g}" for name, value in weights.metrics.items())
    yield "size", cli.size(weights.size_bytes)
    for role, files in weights.files.items():
        for file in files:
            stored = store.stored(file, f"{entry.name}:{weights.tag}")
            yield role, f"{file.path}  ({'stored' if stored else 'not fetched yet'})"
            yield "  pinned by", _pin(file)
            yield "  from", ", ".join(file.sources)
    for kind, fields in weights.input.items():
        yield f"{kind} input", _spec(fields)
    yield "output", _spec(weights.output)
    yield "tested", str(weights.tested) if weights.tested else "never fetched and run by Polyzoo"
    yield "unavailable", f"since {weights.unavailable}" if weights.unavailable else None


def _verdict(verdict: Verdict) -> tuple[str, str]:
    """A verdict as a fact: how far the numbers are apart, and where and when that was measured."""
    said = "agrees" if verdict.agrees else "DIFFERS"
    top1 = "" if verdict.top1 is None else f", top-1 the same for {100 * verdict.top1:.0f} %"
    return (
        f"in {verdict.framework} {verdict.version}",
        f"{said}: {verdict.max_absolute:.1e} apart, relative {verdict.max_relative:.1e} ({verdict.tolerance:.0e} is "
        f"allowed){top1}; from ONNX Runtime {verdict.onnxruntime} on {verdict.hardware}, {verdict.date}",
    )


def _license(license: License) -> str:
    if license.weights is None:
        return "unknown: its publisher states none"
    where = f", stated in: {license.stated}" if license.stated else ""
    return f"{license.weights} ({license.kind}){where}"


def _pin(file: File) -> str:
    return f"{file.pin}  {file.digest}" if file.digest else f"{file.pin}; the first fetch records the whole SHA-256"


def _spec(fields: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in fields.items()) if isinstance(fields, dict) else ""
