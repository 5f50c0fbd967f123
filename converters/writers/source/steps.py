"""A forward as steps that can be changed, compared and written: what a torch.fx graph holds, without its rules.

They are made of torch.fx's graphs, or by lowerings that stand in for a framework's functions (traced.py).

`sink_sizes` lets a module read a size from a tensor that it gets anyway, `fold_loops` makes a loop of calls in turn,
`align` finds how one forward is another one with some steps left out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Step:
    """One node: fx's op or `loop`, its target, and arguments among which other steps stand."""

    op: str
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    is_number: bool = False  # a size, or arithmetic on sizes: an integer of Python's when the module runs
    path: str = ""  # the author's module that it is of, where that is not said by who holds it

    def inputs(self) -> Iterator[Step]:
        """The steps that this one reads, one by one as often as it does."""
        yield from steps_in((self.args, self.kwargs))


@dataclass(frozen=True)
class Name:
    """A literal that is a name of the file's: jnp.float32."""

    text: str


def steps_in(x: Any) -> Iterator[Step]:
    """Every step in nested arguments."""
    if isinstance(x, Step):
        yield x
    elif isinstance(x, (list, tuple)):
        for item in x:
            yield from steps_in(item)
    elif isinstance(x, dict):
        for item in x.values():
            yield from steps_in(item)
    elif isinstance(x, slice):
        yield from steps_in((x.start, x.stop, x.step))


def mapped(x: Any, f: Callable[[Any], Any]) -> Any:
    """Nested arguments with `f` of each leaf, be it a step or a literal."""
    if isinstance(x, list):
        return [mapped(i, f) for i in x]
    if isinstance(x, tuple):
        return tuple(mapped(i, f) for i in x)
    if isinstance(x, dict):
        return {k: mapped(v, f) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(mapped(x.start, f), mapped(x.stop, f), mapped(x.step, f))
    return f(x)


def replace_step(steps: Sequence[Step], old: Step, new: Any) -> None:
    """Let every reader of `old` read `new`."""
    for step in steps:
        if any(i is old for i in step.inputs()):
            step.args = mapped(step.args, lambda x: new if x is old else x)
            step.kwargs = mapped(step.kwargs, lambda x: new if x is old else x)


def chained(steps: Sequence[Step] | None) -> list[str] | None:
    """The children that a forward calls, each on what the one before made, where it does nothing else."""
    if steps is None or len(steps) < 3 or steps[0].op != "placeholder":
        return None
    calls = steps[1:-1]
    if any(s.op != "call_module" or s.args != (b,) for s, b in zip(calls, steps, strict=False)):
        return None
    return [s.target for s in calls] if steps[-1].args == (calls[-1],) else None


def placeholders(steps: Sequence[Step]) -> list[Step]:
    """What the forward takes, in order."""
    return [s for s in steps if s.op == "placeholder"]


def is_size(step: Step) -> bool:
    """Whether the step is `x.shape[i]`."""
    return (
        step.op == "call_function"
        and step.target is operator.getitem
        and isinstance(step.args[0], Step)
        and is_shape(step.args[0])
        and isinstance(step.args[1], int)
    )


def mark_numbers(steps: Sequence[Step], inner: Callable[[str], list[Step] | None]) -> None:
    """Note on each step whether it is a number, through the children that numbers are handed to and come back from."""
    for step in steps:
        if is_size(step) or step.op == "call_method" and step.target in ("item", "numel", "size", "dim"):
            step.is_number = True
        elif step.op == "call_function" and step.target in ARITHMETIC:
            step.is_number = all(isinstance(a, int) or isinstance(a, Step) and a.is_number for a in step.args)
        elif step.op == "call_module" and (within := inner(step.target)) is not None:
            for argument, placeholder in zip(step.args, placeholders(within), strict=False):
                placeholder.is_number = isinstance(argument, int) or isinstance(argument, Step) and argument.is_number
            mark_numbers(within, _below(inner, step.target))
            result = within[-1].args[0]
            step.is_number = isinstance(result, Step) and result.is_number
        elif step.op == "call_function" and step.target is operator.getitem:
            step.is_number = _is_number_of(step.args, inner)


def _below(inner: Callable[[str], list[Step] | None], path: str) -> Callable[[str], list[Step] | None]:
    return lambda name: inner(f"{path}.{name}")


def _is_number_of(args: tuple[Any, ...], inner: Callable[[str], list[Step] | None]) -> bool:
    call, i = args
    within = inner(call.target) if isinstance(call, Step) and call.op == "call_module" and type(i) is int else None
    results = within[-1].args[0] if within else None
    if not isinstance(results, tuple) or not 0 <= i < len(results):
        return False
    return isinstance(results[i], int) or isinstance(results[i], Step) and results[i].is_number


def is_shape(step: Step) -> bool:
    """Whether the step is `x.shape`."""
    return step.op == "call_function" and step.target is getattr and step.args[1:] == ("shape",)


ARITHMETIC = {operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg}


def sink_sizes(steps: list[Step], inner: Callable[[str], list[Step] | None]) -> None:
    """`child(x, x.shape[0])` -> `child(x)`, where the child reads the size itself; of `x.device` the same.

    `inner` gives the steps of a child by its path, if it has a forward of its own that is called once.
    """
    for call in steps:
        if call.op != "call_module" or call.kwargs or (within := inner(call.target)) is None:
            continue
        taken, kept = placeholders(within), list[Any]()
        if len(taken) != len(call.args):
            continue
        own = {a: p for a, p in zip(call.args, taken, strict=True) if isinstance(a, Step)}
        for argument, placeholder in zip(call.args, taken, strict=True):
            if isinstance(argument, Step) and (made := _read_again(argument, own)) is not None:
                at = within.index(placeholder)
                replace_step(within, placeholder, made[-1])
                within[at : at + 1] = []
                after = 1 + max(i for i, s in enumerate(within) if s.op == "placeholder")
                within[after:after] = made
            else:
                kept.append(argument)
        call.args = tuple(kept)
    drop_unread(steps)


def _read_again(step: Step, own: Mapping[Step, Step]) -> list[Step] | None:
    """Steps that read the same size or device from a placeholder."""
    if step.op != "call_function" or not step.args or not isinstance(step.args[0], Step):
        return None
    base = step.args[0]
    if step.target is getattr and step.args[1] == "device" and base in own:
        return [Step("call_function", getattr, (own[base], "device"))]
    if step.target is operator.getitem and is_size(step) and base.args[0] in own:
        shape = Step("call_function", getattr, (own[base.args[0]], "shape"))
        return [shape, Step("call_function", operator.getitem, (shape, step.args[1]))]
    return None


def drop_unread(steps: list[Step]) -> None:
    """Drop what nobody reads."""
    read = set[Step]()
    for step in reversed(steps):
        if step in read or step.op in ("placeholder", "output"):
            read.update(step.inputs())
    steps[:] = [s for s in steps if s in read or s.op in ("placeholder", "output")]


def fold_loops(steps: list[Step], holds: Callable[[str, int], bool]) -> None:
    """`x = self.layers[0](x, m); x = self.layers[1](x, m); ...` -> one step `loop` over self.layers (or over self).

    `holds` tells whether the container of that path has that many children and no more, numbered from 0.
    """
    i = 0
    while i < len(steps):
        run, place = _run(steps, i)
        path = str(steps[i].target).rpartition(".")[0]
        if len(run) > 1 and holds(path, len(run)):
            loop = Step("loop", path, run[0].args, {"place": place})
            at = steps.index(run[-1])
            replace_step(steps, run[-1], loop)
            steps[at] = loop
            steps[:] = [s for s in steps if s not in run[:-1]]
        i += 1


def _run(steps: Sequence[Step], start: int, first: int | None = 0) -> tuple[list[Step], int]:
    """Calls of `p.0`, `p.1`, ... that each take the one before at the same place, and else the same.

    `first` is the number that the run has to begin with; None is any.
    """
    begin = steps[start]
    path, _, number = str(begin.target).rpartition(".")
    run, place = [begin], -1
    if begin.op != "call_module" or begin.kwargs or not number.isdigit() or first not in (None, int(number)):
        return [], 0
    while True:
        last = run[-1]
        readers = [s for s in steps if any(x is last for x in s.inputs())]
        here = str(int(number) + len(run))
        expected = f"{path}.{here}" if path else here
        if len(readers) != 1 or readers[0].op != "call_module" or readers[0].target != expected:
            return run, max(place, 0)
        new = readers[0]
        places = [i for i, a in enumerate(new.args) if a is last]
        same = len(new.args) == len(last.args) and all(
            i in places or a is b for i, (a, b) in enumerate(zip(new.args, last.args, strict=True))
        )
        if new.kwargs or len(places) != 1 or not same or place not in (-1, places[0]):
            return run, max(place, 0)
        place = places[0]
        run.append(new)


def fold_runs(steps: list[Step], alike: Callable[[str, str], bool]) -> None:
    """`x = f(p["2"], x); x = f(p["3"], x)` -> one step `loop` over the children from `start` to before `stop`.

    `alike` tells whether two children are called alike. A run of two is none yet.
    """
    i = 0
    while i < len(steps):
        run, place = _run(steps, i, first=None)
        same = [s for n, s in enumerate(run) if all(alike(run[0].target, r.target) for r in run[: n + 1])]
        if len(same) > 2:
            path, _, start = str(same[0].target).rpartition(".")
            how = {"place": place, "start": int(start), "stop": int(start) + len(same)}
            loop = Step("loop", path, same[0].args, how)
            at = steps.index(same[-1])
            replace_step(steps, same[-1], loop)
            steps[at] = loop
            steps[:] = [s for s in steps if s not in same[:-1]]
        i += 1


# ---- one forward as a case of another


@dataclass
class Alignment:
    """Which step of the smaller forward each step of the larger one is, and by what the others are passed over."""

    matched: dict[Step, Step]
    passed: dict[Step, Step]  # a step that is left out -> the one whose value stands for it
    left: int = 20_000  # comparisons until it is given up


def align(large: Sequence[Step], small: Sequence[Step]) -> Alignment | None:
    """How `small` is `large` with some steps left out, each in favour of one of its inputs; None if it isn't."""
    a, b = placeholders(large), placeholders(small)
    if len(a) != len(b):
        return None
    found = Alignment(dict(zip(a, b, strict=True)), {})
    if not _match(large[-1], small[-1], found):
        return None
    if {id(s) for s in found.matched.values()} != {id(s) for s in small}:
        return None
    return found if len(set(found.matched.values())) == len(found.matched) else None


def _match(a: Step, b: Step, found: Alignment) -> bool:
    found.left -= 1
    if found.left < 0:
        return False
    if a in found.passed:
        return _match(found.passed[a], b, found)
    if a in found.matched:
        return found.matched[a] is b
    before = dict(found.matched), dict(found.passed)
    found.matched[a] = b
    if b.op != "placeholder" and is_alike(a, b) and _match_arguments((a.args, a.kwargs), (b.args, b.kwargs), found):
        return True
    found.matched, found.passed = dict(before[0]), dict(before[1])
    if a.op not in ("call_module", "call_function", "call_method"):
        return False
    for value in dict.fromkeys(a.inputs()):
        found.passed[a] = value
        if _match(value, b, found):
            return True
        found.matched, found.passed = dict(before[0]), dict(before[1])
    return False


def is_alike(a: Step, b: Step) -> bool:
    """Whether both do the same to their arguments."""
    return a.op == b.op and (a.target is b.target or a.target == b.target)


def _match_arguments(a: Any, b: Any, found: Alignment) -> bool:
    if isinstance(a, Step) or isinstance(b, Step):
        return isinstance(a, Step) and isinstance(b, Step) and _match(a, b, found)
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_match_arguments(x, y, found) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(_match_arguments(a[k], b[k], found) for k in a)
    if isinstance(a, slice):
        return _match_arguments((a.start, a.stop, a.step), (b.start, b.stop, b.step), found)
    return type(a) in (int, float) and not (type(a) is int and (a < 0) != (b < 0)) or a == b
