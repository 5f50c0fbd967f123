"""Instances of one name as one class: its fields and forward, the parameters of its constructor, and each one's call.

Forwards that are alike but for numbers are one. A forward that is another one with some steps left out (no downsample,
no residual) is a case of it: those steps stand under a flag, or are called on an identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.converters.writers.source.parameters import Parameters
from zoo.converters.writers.source.steps import Alignment, Step, align, mapped, steps_in
from zoo.converters.writers.source.terms import (
    ABSENT,
    HOLE,
    Call,
    Callee,
    Columns,
    Optional,
    Term,
    Var,
    is_identity,
)
from zoo.converters.writers.source.tree import Instance, Tree

MAX_ALIGNED = 100  # steps of a forward that is compared with others: the comparison recurses


@dataclass(eq=False)
class Region:
    """Steps that only some instances have: the others read `exit`, which is `entry` where the steps are left out."""

    steps: list[Step]
    entry: Step
    exit: Step
    flag: Var | str  # a variable, or the name of a field that may be None


@dataclass(eq=False)
class Class:
    """A class of the file."""

    callee: Callee
    base: Term
    fields: dict[str, Term]
    steps: list[Step] | None
    regions: list[Region]
    parameters: Parameters
    template: str  # the path of the instance whose forward it is
    paths: list[str]
    is_chain: bool  # its forward is nn.Sequential's own
    arguments: list[str] | None = None  # of the forward, as the first caller suggests

    @property
    def name(self) -> str:
        """What it is called in the file."""
        return self.callee.name


def classes_of(tree: Tree, taken: set[str]) -> list[Class]:
    """The classes of a tree, each after those that it uses; `taken` are the names that none may have."""
    made: list[Class] = []
    for instances in tree.generations():
        for instance in instances:
            tree.describe(instance)
        families = _families(instances, tree)
        for family in families:
            name, n = family.template.name, 1
            while name in taken:
                n += 1
                name = f"{family.template.name}{n}"
            taken.add(name)
            made.append(_class(family, name, tree, taken))
    return made


@dataclass(eq=False)
class Family:
    """Instances that one class can make: which step and field of the template each of theirs is."""

    template: Instance
    members: list[tuple[Instance, dict[Step, Step], dict[Step, Step]]]
    order: list[str]


def _families(instances: Sequence[Instance], tree: Tree) -> list[Family]:
    """As few as can be, the one of the longest forward first."""
    found: list[Family] = []
    ordered = sorted(instances, key=lambda i: (-len(i.steps or ()), -len(i.fields)))
    signatures = {id(i): _signature(i) for i in instances}
    for instance in ordered:
        for family in found:
            order = _merged(family.order, list(instance.fields))
            if order is None or not _same_base(family.template, instance, tree.sequential):
                continue
            aligned = _aligned(family.template, instance, signatures)
            fits = aligned is not None and _fields_fit(family.template, instance, aligned, tree)
            if aligned is not None and fits and tree.are_alike(family.template, instance, aligned):
                trial = Family(family.template, [*family.members, (instance, aligned.matched, aligned.passed)], order)
                if _regions(trial) is not None:
                    family.members, family.order = trial.members, order
                    break
        else:
            same = {s: s for s in instance.steps or ()}
            found.append(Family(instance, [(instance, same, {})], list(instance.fields)))
    for family in found:  # the author's order of calls
        family.members.sort(key=lambda m: instances.index(m[0]))
    found.sort(key=lambda f: min(instances.index(m[0]) for m in f.members))
    return found


def _same_base(a: Instance, b: Instance, sequential: str) -> bool:
    if isinstance(a.base, Call) and isinstance(b.base, Call):
        return a.base.callee is b.base.callee
    return bool(a.base == b.base) and (a.base != sequential or list(a.fields) == list(b.fields))


def _signature(instance: Instance) -> Any:
    """The forward without its numbers, as something to compare."""
    if instance.steps is None:
        return None
    index = {s: i for i, s in enumerate(instance.steps)}

    def leaf(x: Any) -> Any:
        if isinstance(x, Step):
            return "step", index[x]
        return (type(x).__name__, x < 0) if type(x) is int else "float" if type(x) is float else ("literal", repr(x))

    return [(s.op, s.target, repr(mapped((s.args, s.kwargs), leaf))) for s in instance.steps]


def _aligned(template: Instance, instance: Instance, signatures: dict[int, Any]) -> Alignment | None:
    a, b = template.steps, instance.steps
    if a is None or b is None:
        return Alignment({}, {}) if a is b else None
    if signatures[id(template)] == signatures[id(instance)]:
        return Alignment(dict(zip(a, b, strict=True)), {})
    return align(a, b) if len(a) <= MAX_ALIGNED else None


def _merged(a: Sequence[str], b: Sequence[str]) -> list[str] | None:
    """One order that both are parts of; None where they contradict each other."""
    made, rest = list[str](), list(b)
    for name in a:
        if name in rest:
            at = rest.index(name)
            if any(r in a for r in rest[:at]):
                return None
            made += rest[:at]
            rest = rest[at + 1 :]
        made.append(name)
    return made + rest


def _fields_fit(template: Instance, instance: Instance, aligned: Alignment, tree: Tree) -> bool:
    """Whether each call that is left out calls nothing there: no child, or an identity."""
    left_out = [s for s in template.steps or () if s not in aligned.matched]
    for step in left_out:
        if step.op == "loop":
            return False
        if step.op == "call_module" and not tree.is_empty(instance, step.target):
            return False
    return True


def _regions(family: Family) -> list[tuple[list[Step], Step, Step, list[bool]]] | None:
    """(steps, entry, exit, who has them) of what only some members have; None where it can't be told by `if`s."""
    steps = family.template.steps or []
    presence = {s: tuple(s in matched for _, matched, _ in family.members) for s in steps}
    partial = [s for s in steps if not all(presence[s])]
    found: list[tuple[list[Step], Step, Step, list[bool]]] = []
    covered: set[Step] = set()
    for step in partial:
        readers = [r for r in steps if any(i is step for i in r.inputs())]
        if all(presence[r] == presence[step] for r in readers):
            continue  # read within its region alone
        if any(presence[r] == presence[step] for r in readers):
            return None
        region = _ancestors(step, {s for s in partial if presence[s] == presence[step]})
        entries = set()
        for _, matched, passed in family.members:
            if step not in matched:
                entry = step
                while entry in region:
                    if entry not in passed:
                        return None
                    entry = passed[entry]
                entries.add(entry)
        if len(entries) != 1 or covered & region:
            return None
        (entry,) = entries
        if not all(presence[entry]) and entry not in {exit_ for _, _, exit_, _ in found}:
            return None
        outside = {i for s in region for i in s.inputs() if i not in region}
        if any(not all(presence[i]) and i not in {e for _, _, e, _ in found} for i in outside):
            return None
        covered |= region
        found.append(([s for s in steps if s in region], entry, step, list(presence[step])))
    return found if covered == set(partial) else None


def _ancestors(step: Step, within: set[Step]) -> set[Step]:
    found, waiting = set[Step](), [step]
    while waiting:
        one = waiting.pop()
        if one in within and one not in found:
            found.add(one)
            waiting += one.inputs()
    return found


def _class(family: Family, name: str, tree: Tree, names: set[str]) -> Class:
    members = [m for m, _, _ in family.members]
    columns = Columns(len(members))
    base = family.template.base
    if isinstance(base, Call):
        base = columns.generalise([m.base for m in members], ("", ""))
    fields = {
        field_name: columns.generalise([m.fields.get(field_name, tree.absent) for m in members], (field_name, ""))
        for field_name in family.order
    }
    regions: list[Region] = []
    for steps, entry, exit_, who in _regions(family) or []:
        child = _only_child(steps)
        if child is not None:
            values = [_held(m, child) for m in members]
            if all(is_identity(v) for v, has in zip(values, who, strict=True) if not has):
                continue
            if all(v is ABSENT for v, has in zip(values, who, strict=True) if not has):
                regions.append(Region(steps, entry, exit_, child))
                continue
        use = ("residual" if getattr(exit_.target, "__name__", "") == "add" else f"with_{_word(steps[-1])}", "")
        flag = columns.var(who, "flag", use)
        held = next(
            (n for n, t in fields.items() if isinstance(t, Optional) and (t.flag, t.otherwise) == (flag, ABSENT)), None
        )
        if held is None or not held.isidentifier():
            columns.columns[flag.column].in_forward = True
        regions.append(Region(steps, entry, exit_, held if held and held.isidentifier() else flag))
    steps_ = None
    if family.template.steps is not None:
        steps_, regions = _general_steps(family, columns, regions)
    callee = Callee(name)
    taken = {*family.order, *_places(family)}
    parameters = Parameters(columns, taken, set(names), tree.reserved, tree.activations)
    callee.parameters, callee.positional = parameters.signature()
    callee.roles = {p.name: p.role for p in parameters.parameters.values()}
    for i, member in enumerate(members):
        tree.made[id(member.module)] = Call(callee, tuple(parameters.values(i)))
    chained = base == tree.sequential and tree.is_chain(family.template)
    paths = [m.path for m in members]
    return Class(callee, base, fields, steps_, regions, parameters, family.template.path, paths, chained)


def _only_child(steps: Sequence[Step]) -> str | None:
    """The one child that all of the steps call, it or what it holds."""
    children = {str(s.target).partition(".")[0] for s in steps if s.op == "call_module"}
    is_call = all(s.op == "call_module" for s in steps)
    return children.pop() if is_call and len(children) == 1 and (len(steps) > 1 or "." not in steps[0].target) else None


def _held(instance: Instance, child: str) -> Term:
    """The term of a child, or the first of those that it holds."""
    found = (t for n, t in instance.fields.items() if n == child or n.startswith(f"{child}."))
    return next(found, ABSENT)


def _places(family: Family) -> Iterator[str]:
    yield from (str(s.target) for s in family.template.steps or () if s.op == "get_attr")


def _word(step: Step) -> str:
    return str(getattr(step.target, "__name__", step.target)).strip("_").rpartition(".")[2] or "it"


def _general_steps(family: Family, columns: Columns, regions: list[Region]) -> tuple[list[Step], list[Region]]:
    """The template's steps with variables for the numbers that differ."""
    new: dict[Step, Step] = {}
    for step in family.template.steps or ():
        theirs = [matched.get(step, HOLE) for _, matched, _ in family.members]
        pairs = [(t.args, t.kwargs) if isinstance(t, Step) else HOLE for t in theirs]
        word = "depth" if step.op == "loop" else _word(step)
        args, kwargs = _general((step.args, step.kwargs), pairs, columns, new, word)
        new[step] = Step(step.op, step.target, args, kwargs, step.is_number)
    remade = [Region([new[s] for s in r.steps], new[r.entry], new[r.exit], r.flag) for r in regions]
    return list(new.values()), remade


def _general(mine: Any, theirs: Sequence[Any], columns: Columns, new: dict[Step, Step], word: str) -> Any:
    if isinstance(mine, Step):
        return new[mine]
    if isinstance(mine, (list, tuple)):
        made = [_general(x, [_item(t, i) for t in theirs], columns, new, word) for i, x in enumerate(mine)]
        return made if isinstance(mine, list) else tuple(made)
    if isinstance(mine, dict):
        return {k: _general(x, [_item(t, k) for t in theirs], columns, new, word) for k, x in mine.items()}
    if isinstance(mine, slice):
        parts = ("start", "stop", "step")
        return slice(*(_general(getattr(mine, p), [_part(t, p) for t in theirs], columns, new, word) for p in parts))
    if word == "depth" and type(mine) is int:
        return columns.generalise(list(theirs), (word, word), role="count", in_forward=True)
    if type(mine) in (int, float):
        return columns.generalise(list(theirs), (word, "forward.size"), in_forward=True)
    return mine


def _item(x: Any, i: Any) -> Any:
    return HOLE if x is HOLE else x[i]


def _part(x: Any, name: str) -> Any:
    return HOLE if x is HOLE else getattr(x, name)


def steps_within(cls: Class) -> set[Step]:
    """Every step that stands under an `if`."""
    return {s for r in cls.regions for s in steps_in(r.steps)}


def where(paths: Sequence[str]) -> str:
    """Where the modules of a class stand."""
    if paths == [""]:
        return "The whole model."
    if len(paths) <= 2:
        return f"{' and '.join(f'`{p}`' for p in paths)}."
    span = f"`{paths[0]}` to `{paths[-1]}`, {len(paths)} in all."
    return span if len(span) <= 100 else f"`{paths[0]}` and {len(paths) - 1} more."
