"""What a tf.function can't hold: sequences and optionals whose length or presence is only known when they are there."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.converters.writers.keras.program import Program, Step

BODIES = ("If", "Loop", "Scan", "SequenceMap")


def why_eager(program: Program) -> str:
    """Why a program is computed step by step and not as one graph; an empty string if it is a graph."""
    return next(_reasons(program), "")


def _reasons(program: Program) -> Iterator[str]:
    for name in (*program.inputs, *program.outputs):
        if program.specs[name].kind != "tensor":
            yield f"{name!r} is a {program.specs[name].kind}"
        elif not program.specs[name].dtype:
            yield f"the dtype of {name!r} is not known"
    for step in program.steps:
        yield from _of_step(step, program)


def _of_step(step: Step, program: Program) -> Iterator[str]:
    if step.op in BODIES and any(program.specs[n].kind != "tensor" for n in (*step.inputs, *step.outputs) if n):
        yield f"{step.op} {step.name!r} hands on sequences or optionals"
    for body in (value for value in step.attributes.values() if isinstance(value, Program)):
        for inner in body.steps:
            yield from _of_step(inner, body)
