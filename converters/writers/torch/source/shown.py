"""The forward of one module as text, for people: what `model.code` and `print(model.layer1[0].code)` show."""

from __future__ import annotations

from torch import fx

from zoo.converters.writers.source.classes import Class
from zoo.converters.writers.source.layout import laid_out
from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.parameters import Parameters
from zoo.converters.writers.source.steps import mark_numbers, placeholders
from zoo.converters.writers.source.terms import Callee, Columns
from zoo.converters.writers.torch.source.forward import Forward
from zoo.converters.writers.torch.source.tree import steps_of


def shown(module: fx.GraphModule) -> str:
    """`def forward` with its lines. Raises HubError where a step has no form that a person could write."""
    steps = steps_of(module.graph)
    mark_numbers(steps, lambda path: None)
    names: list[str] = []
    for placeholder in placeholders(steps):
        names.append(unique(str(placeholder.target), {*names, "self"}))
    parameters = Parameters(Columns(1), set(), set(names))
    cls = Class(Callee("Model"), None, {}, steps, [], parameters, "", [""], is_chain=False)
    body = [line for text in Forward(cls, module, names).lines() for line in laid_out(f"    {text}")]
    return "\n".join([*laid_out(f"def forward({', '.join(['self', *names])}):"), *body, ""])
