"""A flat list of steps cut along the author's tree: a run of steps of one module becomes that module's own forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import getitem

from zoo.converters.writers.source.steps import Step, mapped, replace_step


@dataclass(eq=False)
class Scope:
    """One of the author's modules: its class, its children in his order, and its forward once there is one.

    `is_open` is a container whose children are called from where it stands, `is_chain` one that calls them in turn.
    """

    path: str
    cls: str
    children: dict[str, Scope] = field(default_factory=dict)
    steps: list[Step] | None = None
    is_layer: bool = False
    is_open: bool = False
    is_chain: bool = False

    def walk(self) -> Iterator[Scope]:
        """The module and all below it, the outermost first."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def at(self, path: str) -> Scope | None:
        """The module at a path below this one."""
        found: Scope | None = self
        for part in path.split(".") if path else ():
            found = found.children.get(part) if found is not None else None
        return found


def nest(root: Scope, steps: list[Step]) -> None:
    """Give each module of the tree its forward, `root` the rest; `steps` are of the whole model, in order.

    A module whose steps are not one run (it is called twice, or others stand in between) gets none: what it computes
    stands where it is called from.
    """
    _assign_owners(root, steps)
    _read_where_used(steps)
    _nest(root, steps, "")


def _assign_owners(root: Scope, steps: Sequence[Step]) -> None:
    """Let a step's path be the module in whose forward it stands: the nearest around it that is no layer."""
    for step in steps:
        path = step.path
        if step.op == "call_module" and _is_layer(root, path):
            path = path.rpartition(".")[0]
        while path and ((scope := root.at(path)) is None or scope.is_layer or scope.is_open):
            path = path.rpartition(".")[0]
        step.path = path


def _is_layer(root: Scope, path: str) -> bool:
    scope = root.at(path)
    return scope is not None and scope.is_layer


def _read_where_used(steps: list[Step]) -> None:
    """Read weights right before their first reader, in the module that holds both it and the weight."""
    made: list[Step] = []
    for step in steps:
        if step.op == "get_attr":
            continue
        reads = [r for r in dict.fromkeys(step.inputs()) if r.op == "get_attr"]
        for read in reads:
            is_constant = bool(read.kwargs)
            copied = Step("get_attr", read.target, kwargs=read.kwargs)
            copied.path = step.path if is_constant else _common(str(read.target).rpartition(".")[0], step.path)
            if is_constant and step.path:
                copied.target = f"{step.path}.{read.target}"
            replace_step([step], read, copied)
            made.append(copied)
        made.append(step)
    steps[:] = made


def _common(a: str, b: str) -> str:
    """The deepest module that holds both paths."""
    parts = []
    for x, y in zip(a.split("."), b.split("."), strict=False):
        if x != y:
            break
        parts.append(x)
    return ".".join(parts)


def _nest(scope: Scope, steps: list[Step], prefix: str) -> None:
    for child in _callable(scope):
        within = f"{child.path}."
        run = [s for s in steps if f"{s.path}.".startswith(within) and s.op not in ("placeholder", "output")]
        if not _is_one_call(steps, run):
            continue
        inner = _cut(steps, run, child.path, prefix.removesuffix("."))
        _nest(child, inner, within)
    for step in steps:
        if step.op in ("call_module", "get_attr"):
            target = str(step.target)
            step.target = "" if f"{target}." == prefix else target.removeprefix(prefix)
    scope.steps = steps


def _callable(scope: Scope) -> Iterator[Scope]:
    """The children that this module may call, those of its containers among them."""
    for child in scope.children.values():
        if child.is_open:
            yield from _callable(child)
        elif not child.is_layer:
            yield child


def _is_one_call(steps: Sequence[Step], run: Sequence[Step]) -> bool:
    """Whether the steps can be one call: there are some, and none needs what another module makes of an earlier one."""
    inside, started = set(run), False
    tainted: set[Step] = set()
    for step in steps:
        inputs = list(step.inputs())
        depends = any(i in tainted for i in inputs)
        if step in inside:
            started = True
            if depends:
                return False
        elif started and (depends or any(i in inside for i in inputs)):
            tainted.add(step)
    return any(s.op != "get_attr" for s in run)


def _cut(steps: list[Step], run: list[Step], path: str, owner: str) -> list[Step]:
    """Take the run out of `steps`, in favour of one call before the first reader; the child's own steps."""
    inside = set(run)
    arguments = list(dict.fromkeys(i for s in run for i in s.inputs() if i not in inside))
    others = [s for s in steps if s not in inside]
    read_outside = {i for s in others for i in s.inputs()}
    results = [s for s in run if s in read_outside]
    taken = {
        a: Step("placeholder", "x" if len(arguments) == 1 else f"x{i + 1}", is_number=a.is_number)
        for i, a in enumerate(arguments)
    }
    for step in run:
        step.args = mapped(step.args, lambda x: taken.get(x, x) if isinstance(x, Step) else x)
        step.kwargs = mapped(step.kwargs, lambda x: taken.get(x, x) if isinstance(x, Step) else x)
    returned = results[0] if len(results) == 1 else tuple(results)
    inner = [*taken.values(), *run, Step("output", "output", (returned,))]
    call = Step("call_module", path, tuple(arguments), path=owner)
    parts = [
        Step("call_function", getitem, (call, i), path=owner, is_number=r.is_number) for i, r in enumerate(results)
    ]
    several = parts if len(results) > 1 else []
    at = next((i for i, s in enumerate(others) if any(r in inside for r in s.inputs())), len(others))
    for old, new in zip(results, several or [call], strict=True):
        replace_step(others, old, new)
    call.is_number = len(results) == 1 and results[0].is_number
    steps[:] = [*others[:at], call, *several, *others[at:]]
    return inner
