"""A forward as a person writes it: short steps inside others, a value that takes the place of the one before keeps its
name, flags as `if`, calls in turn as `for`.
"""

from __future__ import annotations

import keyword
import operator
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.converters.writers.source.classes import Class, Region
from zoo.converters.writers.source.expressions import INFIX, Writer
from zoo.converters.writers.source.naming import stem, unique
from zoo.converters.writers.source.steps import Step, is_shape, is_size, placeholders
from zoo.converters.writers.source.terms import Var

WIDE, NARROW = 84, 44  # how long a chain of methods, and any other step, may be to stand inside another
LINE, MOST_INSIDE = 100, 3
ELEMENTWISE = {*INFIX, operator.neg}
CALLED_AFTER = {  # what a value is called after the function that makes it
    "matmul": "product",
    "cat": "joined",
    "stack": "joined",
    "scaled_dot_product_attention": "attended",
    **dict.fromkeys(("attention", "dot_product_attention"), "attended"),
    **dict.fromkeys(("gather_nd", "take"), "part"),
    "concatenate": "joined",
    "expand_dims": "expanded",
    "broadcast_to": "expanded",
    "astype": "converted",
    "cast": "converted",
    "einsum": "product",
    "arange": "positions",
    "softmax": "weights",
    "reshape": "reshaped",
    "transpose": "transposed",
    "permute": "permuted",
    "expand": "expanded",
    "unsqueeze": "expanded",
    "flatten": "flat",
    "to": "converted",
    "getitem": "part",
    "squeeze": "part",
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear", "batch_norm", "layer_norm", "group_norm"), "out"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "max_pool2d", "avg_pool2d"), "out"),
    "select": "selected",
    "split": "parts",
    "chunk": "parts",
}
GENERAL = {"x", "y", "z", "out", *CALLED_AFTER.values()}
WORDS = {*keyword.kwlist, "self", "math", "lattice", "CONSTANTS", "print", "range", "len", "int", "str", "max", "min"}
COMPARISONS = {operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge}
LOGICAL = {operator.and_, operator.or_, operator.xor, operator.invert}


@dataclass(eq=False)
class Statement:
    """One line, or one `if` (region) with the lines in it; `reads` are the steps whose variables it reads, in order."""

    step: Step
    reads: list[Step] = field(default_factory=list)
    region: Region | None = None


class Forward:
    """Writes the forward of one class; what a framework says is in a subclass."""

    words = frozenset(WORDS)  # what no variable may be called
    receiver = "self"  # what holds the children
    prefix = "self."  # stands before a parameter of the constructor

    def __init__(self, cls: Class, names: Sequence[str]) -> None:
        self.cls = cls
        self.steps = cls.steps or []
        self.region_of = {s: r for r in cls.regions for s in r.steps}
        self.readers: dict[Step, list[Step]] = defaultdict(list)
        for step in self.steps:
            for read in step.inputs():
                self.readers[read].append(step)
        self.names: dict[Step, str] = dict(zip(placeholders(self.steps), names, strict=True))
        self.arguments = list(self.names.values())
        self.is_impure = any(s.op == "call_method" and s.target.endswith("_") for s in self.steps)  # order matters then
        self.inside: set[Step] = set()
        self.parts: dict[Step, dict[int, Step]] = {}  # a call that returns several -> its results by number
        self.writer = self.make_writer()
        self.statements: list[Statement] = []
        self.last: dict[Step, int] = {}

    # ---- what a framework says

    def make_writer(self) -> Writer:
        """What writes the expressions."""
        raise NotImplementedError

    def var(self, v: Var) -> str:
        """A variable of the class as an expression."""
        return self.cls.parameters.expression(v.column, self.prefix)

    def is_mask(self, step: Step) -> bool:
        """Whether a step makes truth values."""
        if step.target is operator.getitem:
            return isinstance(step.args[0], Step) and self.is_mask(step.args[0])
        return step.target in COMPARISONS or step.target in LOGICAL and any(self.is_mask(s) for s in step.inputs())

    def is_attention(self, step: Step) -> bool:
        """Whether a step's first three arguments are query, key and value."""
        name = str(getattr(step.target, "__name__", step.target)).rpartition(".")[2]
        return step.op == "call_function" and name in ("attention", "dot_product_attention")

    def returns(self, step: Step) -> int | None:
        """How many results a child returns, where it returns several."""
        raise NotImplementedError

    def helpers(self) -> set[str]:
        """The names of functions that a variable would hide."""
        return set()

    def test(self, flag: Var | str) -> str:
        """What an `if` asks: a flag, or whether there is such a child."""
        return f"self.{flag} is not None" if isinstance(flag, str) else self.var(flag)

    def loop(self, step: Step, variable: str, given: Sequence[str]) -> tuple[str, str]:
        """The head of a loop over children, and the call of one of them."""
        held = self.writer.access(step.target) if step.target else "self"
        return f"for {variable} in {held}:", f"{variable}({', '.join(given)})"

    # ---- lines

    def lines(self) -> list[str]:
        """The body of the forward."""
        self._unpack()
        self._put_inside()
        self._order()
        self._name_all()
        made: list[str] = []
        opened: Region | None = None
        for i, statement in enumerate(self.statements):
            if statement.region is not opened and statement.region is not None:
                made += self._opening(statement.region)
            opened = statement.region
            made += [("    " if opened else "") + line for line in self._lines(statement, i)]
        return made

    # ---- what stands inside what

    def _unpack(self) -> None:
        """`a, b = self.child(x)` where every reader takes one result by its number."""
        for step in self.steps:
            readers = self.readers[step]
            if step.op != "call_module" or not readers:
                continue
            if not all(r.target is operator.getitem and type(r.args[1]) is int and r.args[1] >= 0 for r in readers):
                continue
            if len({r.args[1] for r in readers}) == len(readers) and not any(r in self.region_of for r in readers):
                self.parts[step] = {r.args[1]: r for r in readers}

    def _put_inside(self) -> None:
        self.writer.name = lambda s: None if s in self.inside else self.names.get(s, "value")
        results = {r for parts in self.parts.values() for r in parts.values()}
        order = {s: i for i, s in enumerate(self.steps)}
        for step in self.steps:
            if step.op == "get_attr" or is_shape(step) or step.op == "call_function" and step.args[1:] == ("device",):
                self.inside.add(step)
            elif step in results or step.op in ("placeholder", "output"):
                continue
            elif is_size(step) and step.target is operator.getitem:
                if self._base_lives(step, order):
                    self.inside.add(step)
            elif self._fits_inside(step):
                self.inside.add(step)
        self.writer.name = lambda s: None if s in self.inside else self.names.get(s)

    def _base_lives(self, size: Step, order: dict[Step, int]) -> bool:
        """Whether the tensor is read at or after each place where its size is."""
        base = size.args[0].args[0]
        real = [order[r] for r in self.readers[base] if not is_shape(r)]
        return all(order[r] <= max(real, default=-1) for r in self.readers[size]) and size not in self.region_of

    def _fits_inside(self, step: Step) -> bool:
        readers = self.readers[step]
        if self.is_impure or len(readers) != 1 or self.region_of.get(step) is not self.region_of.get(readers[0]):
            return False
        reader = readers[0]
        if any(r.exit is step or r.entry is step for r in self.cls.regions) or reader.op == "loop" or step.op == "loop":
            return False
        if reader.op == "output" and (not isinstance(reader.args[0], Step) or step in self.parts):
            return False
        if reader.op == "output" and step.op == "call_module":
            return True
        if step.op == "call_module":
            return False
        text = self.writer.step(step)[0]
        is_receiver = reader.args[:1] == (step,) and (
            reader.op == "call_method" or reader.target in (getattr, operator.getitem)
        )
        if reader.op == "output":
            return len(text) <= LINE
        fits = len(text) <= (WIDE if is_receiver else NARROW)
        return fits and len(text) + len(self.writer.step(reader)[0]) <= LINE and self._count(step) < MOST_INSIDE

    def _count(self, step: Step) -> int:
        made = [s for s in step.inputs() if s in self.inside and s.op in ("call_function", "call_method")]
        return sum(1 + self._count(s) for s in made if not is_shape(s) and not is_size(s))

    # ---- in which order, and what reads what

    def _order(self) -> None:
        done: set[Step] = set()
        for step in self.steps:
            region = self.region_of.get(step)
            if step in self.inside or step.op == "placeholder" or step in done:
                continue
            if any(step in parts.values() for parts in self.parts.values()):
                continue
            if region is not None and step is not region.exit:
                continue
            for one in region.steps if region else [step]:
                if one not in self.inside:
                    self.statements.append(Statement(one, self._reads(one), region))
                    done.add(one)
            if region:
                self.statements[-1].reads.append(region.entry)
        for i, statement in enumerate(self.statements):
            for read in statement.reads:
                self.last[read] = i

    def _reads(self, step: Step) -> list[Step]:
        found: list[Step] = []
        for read in step.inputs():
            found += self._reads(read) if read in self.inside else [read]
        return list(dict.fromkeys(found))

    # ---- what everything is called

    def _name_all(self) -> None:
        chains: dict[Step, list[Step]] = {p: [p] for p in self.names}
        for i, statement in enumerate(self.statements):
            step = statement.step
            if step.op == "output":
                continue
            for made in self.parts[step].values() if step in self.parts else [step]:
                before = None if step in self.parts else self._before(statement, i, chains)
                chain = chains[before] if before is not None else []
                chain.append(made)
                chains[made] = chain
        spans: dict[int, tuple[int, int]] = {}
        at = {s.step: i for i, s in enumerate(self.statements)}
        at |= {r: at[s] for s, parts in self.parts.items() for r in parts.values()}
        unique_chains = list({id(c): c for c in chains.values()}.values())
        for chain in unique_chains:
            start = -1 if chain[0] in self.names else at[chain[0]]
            spans[id(chain)] = (start, max(self.last.get(s, at.get(s, -1)) for s in chain))
        named: list[tuple[str, tuple[int, int]]] = []
        loops = {self._loop_variable(s) for s in self.steps if s.op == "loop"}
        loops |= self.helpers()
        for chain in unique_chains:
            start, end = spans[id(chain)]
            if chain[0] in self.names:
                name = self.names[chain[0]]
            else:
                taken = {n for n, (a, b) in named if a < end and start < b} | self.words | loops
                name = unique(self._word(chain), taken | set(self.arguments))
            named.append((name, (start, end)))
            for step in chain:
                self.names[step] = name

    def _before(self, statement: Statement, i: int, chains: dict[Step, list[Step]]) -> Step | None:
        """The value whose name the statement's result takes over, if that one is read here for the last time."""
        step = statement.step
        if statement.region is not None and step is statement.region.exit:
            entry = statement.region.entry
            return entry if self.last[entry] <= i and not entry.is_number else None
        reads = [r for r in statement.reads if not r.is_number]
        dying = [r for r in reads if self.last[r] == i and chains[r][-1] is r and self._may_change(r)]
        if step.is_number or self.is_mask(step) or not dying or self._is_one_of(step):
            return None
        if step.op == "loop":
            init = step.args[step.kwargs["place"]]
            return init if init in dying else None
        if step.op == "call_function" and step.target in ELEMENTWISE:
            order = {id(c): n for n, c in enumerate({id(c): c for c in chains.values()}.values())}
            return min(dying, key=lambda r: order[id(chains[r])])
        if step.op == "call_module" and sum(r.op == "call_module" for r in self.readers[reads[0]]) > 1:
            return None  # query, key and value are three
        main = self._main(step)
        if len(reads) == 1 or main.op in ("call_module", "call_method"):
            return reads[0] if reads[0] in dying else None
        return None

    def _main(self, step: Step) -> Step:
        """What a chain of methods starts with."""
        while step.op == "call_method" and step.args[0] in self.inside:
            step = step.args[0]
        return step

    def _is_one_of(self, step: Step) -> bool:
        """Whether the step takes one part of what others take other parts of."""
        if step.target is not operator.getitem:
            return False
        return sum(r.target is operator.getitem for r in self.readers[step.args[0]]) > 1

    def _may_change(self, step: Step) -> bool:
        """Whether a value may take over the name: that of an argument that says what it is stays."""
        return step.op != "placeholder" or self.names[step] in GENERAL

    def _word(self, chain: Sequence[Step]) -> str:
        """A name for a new value and for those that take its place."""
        first = chain[0]
        if first.is_number:
            return "batch" if is_size(first) and first.args[1] == 0 else "size"
        for reader in self.readers[chain[-1]]:  # returned by name
            if reader.op == "output" and isinstance(reader.args[0], dict):
                name = next(k for k, v in reader.args[0].items() if v is chain[-1])
                return name if name.isidentifier() and not keyword.iskeyword(name) else "out"
            if self.is_attention(reader) and chain[-1] in reader.args[:3]:
                return ("query", "key", "value")[reader.args.index(chain[-1])]
        if self.is_mask(first):
            return "mask"
        if first in (r.exit for r in self.cls.regions):
            return "shortcut"
        called = [str(s.target) for s in chain if s.op == "call_module"]
        modules = list(dict.fromkeys(called))
        if len(modules) > 1:
            return "out"
        if modules:
            return stem(modules[0])
        if first.op == "loop":
            return "out"
        held = [str(i.target).rpartition(".")[2] for i in first.inputs() if i.op == "get_attr"]
        if held and not self._reads(first):
            return stem(held[0])
        if first.target is operator.getitem and first.args[0].op == "call_module":
            return stem(str(first.args[0].target))
        target = self._main(first).target
        name = str(getattr(target, "__name__", target)).strip("_").rpartition(".")[2]
        return stem(CALLED_AFTER.get(name, name))

    # ---- lines

    def _opening(self, region: Region) -> list[str]:
        test = self.test(region.flag)
        entry, made = self.names[region.entry], self.names[region.exit]
        return ([f"{made} = {entry}"] if entry != made else []) + [f"if {test}:"]

    def _lines(self, statement: Statement, i: int) -> Iterable[str]:
        step = statement.step
        if step.op == "output":
            yield f"return {self._returned(step.args[0])}"
        elif step.op == "loop":
            variable, place = self._loop_variable(step), step.kwargs["place"]
            result, init = self.names[step], self.writer.text(step.args[place])
            if result != init:
                yield f"{result} = {init}"
            given = [result if i == place else self.writer.text(a) for i, a in enumerate(step.args)]
            head, called = self.loop(step, variable, given)
            yield head
            yield f"    {result} = {called}"
        elif step in self.parts:
            results = self.parts[step]
            left = [self.names[results[n]] if n in results else "_" for n in range(max(results) + 1)]
            spread = ", ".join(left) if self.returns(step) == len(left) else None
            if spread is None or len(left) == 1:
                spread = ", ".join([*left, *["_"] * ((self.returns(step) or len(left)) - len(left))])
                spread += "," if "," not in spread else ""
            yield f"{spread} = {self.writer.step(step)[0]}"
        else:
            yield f"{self.names[step]} = {self.writer.step(step)[0]}"

    def _returned(self, x: Any) -> str:
        if isinstance(x, tuple) and len(x) > 1:
            return ", ".join(self.writer.text(v) for v in x)
        return self.writer.text(x)

    # ---- what a child's arguments are called

    def argument_names(self, step: Step) -> list[str]:
        """Names of the arguments of a child's forward, after what its first call gives."""
        words = [self._said(a) for a in step.args]
        numbers = [isinstance(a, Step) and a.is_number for a in step.args]
        held = {word for word, a in zip(words, step.args, strict=True) if _is_held(a)}
        return _argument_names(words, numbers, {*self.arguments, *held})

    def _said(self, x: Any) -> str:
        """What is given, in a word if it is a tensor of the module's own."""
        if _is_held(x):
            return stem(str(x.target))
        if isinstance(x, Step) and self.is_mask(x):
            return "mask"
        return self.writer.text(x) if isinstance(x, Step) else ""

    def _loop_variable(self, step: Step) -> str:
        name = str(step.target).rpartition(".")[2]
        word = name.removesuffix("s") if name.isidentifier() and len(name) > 1 else "module"
        return unique(word, self.words | set(self.arguments))


def _is_held(x: Any) -> bool:
    return isinstance(x, Step) and x.op == "get_attr"


def _argument_names(words: Sequence[str], numbers: Sequence[bool], given: Container[str]) -> list[str]:
    """Names of a forward's arguments after what its caller gives; the first that has no name of its own is `x`."""
    names: list[str] = []
    for word, is_number in zip(words, numbers, strict=True):
        plain_word = re.sub(r"_?\d+$", "", word)
        if is_number:
            name = "batch" if word.endswith("[0]") or plain_word == "batch" else "size"
        elif word in given and word not in GENERAL and plain_word != "x":
            name = word
        elif all(n not in names for n in ("x",)):
            name = "x"
        else:
            name = plain_word if plain_word.isidentifier() and plain_word not in GENERAL else "y"
        names.append(unique(name, {*names, *keyword.kwlist, "self"}))
    return names
