"""What there is to choose from: the places of a graph where a layout can be chosen, and the forms of each.

A *site* is a node, or an input or output of the graph. Its first form is what stands there; more are found by carrying
layouts from value to value, beginning at the operators that ONNX defines with channels first. Transpositions of the
graph's own are no sites: they are what they are, another layout of the same value.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

import onnx_ir as ir

from zoo.converters.graph import DOMAIN, bodies, is_parameter
from zoo.converters.layout import axes, elementwise, shapes
from zoo.converters.layout.bound import EASY, Takes, channels_last_form
from zoo.converters.layout.forms import Form, Rule, form_of, sizes
from zoo.converters.layout.perms import Perm, compose, inverse, own
from zoo.converters.writers.driver import Body

RULES: Mapping[str, Rule] = elementwise.RULES | axes.RULES | shapes.RULES
OURS: Mapping[str, Rule] = elementwise.OURS | axes.OURS
Ask: TypeAlias = Callable[[Perm, bool], Form | None]  # layout, of what: False if it is read, True if it is given
MAX_FORMS = 6  # of one site: what stands there, its channels-last form, and what a few neighbours would like


class Edge(Enum):
    """What may become of an input or output of a graph."""

    LAST = "last"  # its channels may be last
    FIRST = "first"  # it stays; what is transposed there counts for its size alone
    INSIDE = "inside"  # it stays, and is no edge: of a body of If, Loop or Scan, or one that was turned before


Edges: TypeAlias = Mapping[ir.Value, Edge]


class View(NamedTuple):
    """A value as a transposition of another, which no Transpose gives."""

    base: ir.Value
    perm: Perm


class Use(NamedTuple):
    """A site that reads a value as its input `at`, transposed by `perm`."""

    site: int
    at: int
    perm: Perm


@dataclass
class Flow:
    """A value on its way from the site that gives it to those that read it."""

    value: ir.Value
    source: int
    index: int
    uses: list[Use] = field(default_factory=list)


@dataclass
class Site:
    """What can be chosen in one place. `thing` is a node, or the value that is an input or an output of the graph."""

    thing: ir.Node | ir.Value
    forms: list[Form]
    ask: Ask | None = None  # what gives further forms
    is_edge: bool = False  # transpositions there are what was asked for, and count for their size alone
    prefers_last: bool = False  # where nothing else decides


@dataclass
class Plan:
    """The sites of a graph, the values between them, and the form that is chosen for each site."""

    sites: list[Site]
    flows: dict[ir.Value, Flow]
    views: dict[ir.Value, View]
    chosen: list[int]

    def form(self, site: int) -> Form:
        """The chosen form."""
        return self.sites[site].forms[self.chosen[site]]


def fixed_values(graph: ir.Graph) -> set[ir.Value]:
    """What doesn't depend on what the user feeds: constants, parameters, and what is computed of them alone."""
    fixed: set[ir.Value] = set()
    for node in graph:
        fixed.update(v for v in node.inputs if v is not None and (v.is_initializer() or is_parameter(v)))
        if node.inputs and not any(bodies(node)) and all(v is None or v in fixed for v in node.inputs):
            fixed.update(node.outputs)
    return fixed


def captured(node: ir.Node) -> list[ir.Value]:
    """The values of the graphs around it that the bodies of a node read."""
    return list(dict.fromkeys(v for body in bodies(node) for v in Body(body, {}).captured))


def sites_of(graph: ir.Graph, takes: Takes, inputs: Edges, outputs: Edges) -> Plan:
    """The sites of a graph with the forms that they have by themselves, and the values between them."""
    fixed = fixed_values(graph)
    plan = Plan([], {}, {}, [])
    for value, edge in inputs.items():
        _given(plan, value, edge)
    for node in graph:
        perm = transposition(node)
        if perm is not None and node.inputs[0] is not None and node.inputs[0] not in fixed:
            base, before = _view(plan, node.inputs[0], len(perm))
            plan.views[node.outputs[0]] = View(base, compose(before, perm))
        elif not fixed.issuperset(node.outputs):
            site = _site(node, takes)
            is_free = shapes.takes_any(node)
            _read(plan, site, [] if is_free else [*node.inputs, *captured(node)], fixed)
            for i, value in enumerate(node.outputs):
                plan.flows[value] = Flow(value, len(plan.sites) - 1, i)
    for value in dict.fromkeys(graph.outputs):
        edge = outputs[value]
        ask = edge_form if edge is Edge.LAST else None
        site = Site(value, [Form((None,), ())], ask, is_edge=edge is Edge.FIRST, prefers_last=True)
        _read(plan, site, [value], fixed)
    plan.chosen = [0] * len(plan.sites)
    return plan


def _given(plan: Plan, value: ir.Value, edge: Edge) -> None:
    """A site for a value that the graph is given from outside."""
    ask = edge_form if edge is Edge.LAST else None
    plan.flows[value] = Flow(value, len(plan.sites), 0)
    plan.sites.append(Site(value, [Form((), (None,))], ask, is_edge=edge is Edge.FIRST, prefers_last=True))


def _read(plan: Plan, site: Site, values: Iterable[ir.Value | None], fixed: set[ir.Value]) -> None:
    """Add a site, and note that it reads these values."""
    uses = []
    for i, value in enumerate(values):
        if value is None or value in fixed:
            continue
        base, perm = _view(plan, value, len(sizes(value) or ()))
        if base not in plan.flows:
            _given(plan, base, Edge.INSIDE)  # of a graph around this one
        uses.append((base, i, perm))
    for base, i, perm in uses:
        plan.flows[base].uses.append(Use(len(plan.sites), i, perm))
    plan.sites.append(site)


def _view(plan: Plan, value: ir.Value, rank: int) -> View:
    return plan.views.get(value) or View(value, own(rank))


def transposition(node: ir.Node) -> Perm | None:
    """What a Transpose does; None for any other node, and where the rank is not known."""
    if node.op_type != "Transpose" or node.domain or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    return tuple(node.attributes.get_ints("perm", reversed(own(len(node.inputs[0].shape)))))


def _site(node: ir.Node, takes: Takes) -> Site:
    plain = Form(tuple(None for _ in node.inputs), tuple(None for _ in node.outputs))
    form = channels_last_form(node)
    if form is not None and takes(node):
        return Site(node, [plain, form] if node.op_type in EASY else [form], prefers_last=True)
    table = RULES if node.domain in ("", "ai.onnx") else OURS if node.domain == DOMAIN else {}
    rule = table.get(node.op_type)
    return Site(node, [plain], None if rule is None else functools.partial(form_of, rule, node))


def edge_form(perm: Perm, below: bool) -> Form | None:
    """An input or output of the graph has one axis last that was not (it need not have a batch), or what it says."""
    if len(perm) < 3 or list(perm[:-1]) != sorted(perm[:-1]):
        return None
    return Form((), (perm,)) if below else Form((perm,), ())


def carry(plan: Plan) -> None:
    """Carry layouts along the values, and note every form that a site could take then."""
    queue: deque[tuple[ir.Value, Perm]] = deque()
    seen: set[tuple[ir.Value, Perm]] = set()

    def offer(value: ir.Value | None, perm: Perm | None) -> None:
        """Let everybody at a value know that somebody there would have it in a layout."""
        if value is None or perm is None:
            return
        base, before = _view(plan, value, len(perm))
        wanted = compose(before, perm)
        if base in plan.flows and (base, wanted) not in seen and wanted != own(len(wanted)):
            seen.add((base, wanted))
            queue.append((base, wanted))

    def note(site: Site, form: Form) -> None:
        if isinstance(site.thing, ir.Node):
            for value, perm in (
                *zip(site.thing.inputs, form.takes, strict=False),
                *zip(site.thing.outputs, form.gives, strict=True),
            ):
                offer(value, perm)

    def ask(site: Site, perm: Perm, index: int, below: bool) -> None:
        form = site.ask(perm, below) if site.ask is not None and len(site.forms) < MAX_FORMS else None
        if form is None or (form.gives if below else form.takes)[index] != perm:
            return
        if all((form.takes, form.gives) != (other.takes, other.gives) for other in site.forms):
            site.forms.append(form)
            note(site, form)

    for site in plan.sites:
        for form in site.forms:
            if form.is_last:
                note(site, form)
    while queue:
        value, perm = queue.popleft()
        flow = plan.flows[value]
        ask(plan.sites[flow.source], perm, flow.index, below=True)
        for use in flow.uses:
            if use.at < len(plan.sites[use.site].forms[0].takes):
                ask(plan.sites[use.site], compose(inverse(use.perm), perm), use.at, below=False)
