"""Which form each site takes: the choice that leaves the fewest transpositions, and of those the smallest.

What a choice costs is what it takes to transpose where two sites differ: a value that is read in a layout other than
the one that it is given in, once for each such layout; those of the graph's own cost the same as any.

Where there are two forms to choose from, a minimum cut gives the cheapest choice (cut.py). Where there are more, the
cheapest mixture of the choice so far with each further one is taken, over and over, as long as that lowers the cost.
The cost is a whole number of at least 0 and is lower after each step, so that this ends; nothing in it depends on
chance or on names.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import onnx_ir as ir

from zoo.converters.layout.bound import Takes
from zoo.converters.layout.cut import NO, YES, Costs
from zoo.converters.layout.forms import sizes
from zoo.converters.layout.perms import Perm, between, compose, is_view, own
from zoo.converters.layout.sites import Edges, Flow, Plan, Site, Use, carry, sites_of

FREE_SIZE = 64  # what a size that is not known counts as


def make_plan(graph: ir.Graph, takes: Takes, inputs: Edges, outputs: Edges) -> Plan:
    """The cheapest plan for a graph that is fed `inputs` and gives `outputs`: with each, what may become of it."""
    plan = sites_of(graph, takes, inputs, outputs)
    carry(plan)
    if any(len(site.forms) > 1 for site in plan.sites):
        _settle(plan)
    return plan


def is_idle(plan: Plan) -> bool:
    """Whether a plan leaves the graph as it is."""
    return not any(plan.chosen) and not any(site.forms[0].is_last for site in plan.sites)


class Price(NamedTuple):
    """What a transposition of a value costs: inside the graph, at its edge, and if it moves axes of size 1 alone."""

    inside: int
    edge: int
    view: int


def _settle(plan: Plan) -> None:
    """Choose, see above."""
    prices = _prices(plan)
    lowest, most = _cost(plan, prices, plan.chosen), max(len(site.forms) for site in plan.sites)
    is_lower = True
    while is_lower:
        is_lower = False
        for k in range(most):
            trial = _mixed(
                plan, prices, [k if k < len(site.forms) else c for site, c in zip(plan.sites, plan.chosen, strict=True)]
            )
            if (cost := _cost(plan, prices, trial)) < lowest:
                plan.chosen, lowest, is_lower = trial, cost, True


def _prices(plan: Plan) -> dict[ir.Value, Price]:
    """Fewest first, then the fewest elements, then the channels last."""
    small = len(plan.sites) + 1
    elements = {
        value: prod(size if isinstance(size, int) else FREE_SIZE for size in sizes(value) or ()) for value in plan.flows
    }
    uses = sum(len(flow.uses) * elements[value] * small for value, flow in plan.flows.items())
    one = small * (1 + uses) + small
    return {value: Price(one + n * small, n * small, small) for value, n in elements.items()}


def _held(plan: Plan, flow: Flow, form: int) -> Perm:
    """The layout that a value is given in."""
    return plan.sites[flow.source].forms[form].gives[flow.index] or own(len(sizes(flow.value) or ()))


def _wanted(plan: Plan, use: Use, form: int) -> Perm:
    """The layout that a value is read in."""
    takes = plan.sites[use.site].forms[form].takes
    asked = takes[use.at] if use.at < len(takes) else None
    return use.perm if asked is None else compose(use.perm, asked)


def _price(plan: Plan, prices: Mapping[ir.Value, Price], flow: Flow, have: Perm, want: Perm, is_edge: bool) -> int:
    """What it costs to read a value in one layout that is given in another."""
    if have == want:
        return 0
    price, dims = prices[flow.value], sizes(flow.value) or ()
    if is_view(between(have, want), [dims[axis] for axis in have]):
        return price.view
    return price.edge if is_edge or plan.sites[flow.source].is_edge else price.inside


def _cost(plan: Plan, prices: Mapping[ir.Value, Price], chosen: list[int]) -> int:
    """The cost of a choice: the number that has to become lower."""
    total = sum(site.prefers_last and not _is_last(site, form) for site, form in zip(plan.sites, chosen, strict=True))
    for flow in plan.flows.values():
        have = _held(plan, flow, chosen[flow.source])
        wants = {(_wanted(plan, use, chosen[use.site]), plan.sites[use.site].is_edge) for use in flow.uses}
        total += sum(_price(plan, prices, flow, have, want, is_edge) for want, is_edge in wants)
    return total


def _is_last(site: Site, form: int) -> bool:
    chosen = site.forms[form]
    return chosen.is_last or any(perm is not None for perm in (*chosen.takes, *chosen.gives))


def _mixed(plan: Plan, prices: Mapping[ir.Value, Price], other: list[int]) -> list[int]:
    """The cheapest mixture of the choice so far with another: for each site, is it to take the other's form?

    What a value costs is a sum over the layouts that it may be read in: the price, if somebody reads it so and it is
    not given so. As long as one of the two choices has everybody agree, these are costs that a cut knows; where it
    does not, a term is taken for a little more than it is, and the caller sees whether the cost is lower.
    """
    now = plan.chosen
    questions = {site: i for i, site in enumerate(i for i in range(len(now)) if now[i] != other[i])}
    costs = Costs(len(questions))
    for number, question in questions.items():
        site = plan.sites[number]
        if site.prefers_last:
            costs.add(NO, question, int(not _is_last(site, other[number])))
            costs.add(question, YES, int(not _is_last(site, now[number])))
    for flow in plan.flows.values():
        if flow.source in questions or any(use.site in questions for use in flow.uses):
            _add_costs(plan, prices, flow, other, questions, costs)
    answers = costs.settle()
    return [other[i] if questions.get(i) in answers else now[i] for i in range(len(now))]


def _add_costs(
    plan: Plan, prices: Mapping[ir.Value, Price], flow: Flow, other: list[int], questions: dict[int, int], costs: Costs
) -> None:
    """What a value costs, by the answers of the site that gives it and of those that read it."""
    source = questions.get(flow.source, NO)
    have = [_held(plan, flow, chosen[flow.source]) for chosen in (plan.chosen, other)]
    readers: dict[tuple[Perm, bool], tuple[set[int], set[int]]] = {}  # a layout: read by whom if they answer no, if yes
    for use in flow.uses:
        for answer, chosen in enumerate((plan.chosen, other)):
            key = _wanted(plan, use, chosen[use.site]), plan.sites[use.site].is_edge
            readers.setdefault(key, (set(), set()))[answer].add(questions.get(use.site, YES))
    for (want, is_edge), (if_no, if_yes) in readers.items():
        no, yes = (_price(plan, prices, flow, perm, want, is_edge) for perm in have)
        common = min(no, yes)
        if if_no & if_yes:  # somebody reads it so in any case
            costs.add(NO, source, yes - common)
            costs.add(source, YES, no - common)
            continue
        costs.any_no(if_no, YES, common)
        costs.any_yes(NO, if_yes, common)
        if yes > no and not if_yes:
            costs.any_no(if_no, source, yes - common)
        elif no > yes and not if_no:
            costs.any_yes(source, if_yes, no - common)
        else:
            costs.add(NO, source, yes - common)
            costs.add(source, YES, no - common)
