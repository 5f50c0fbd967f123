"""How modules are made, as terms, and the most special term that many of them are cases of (Plotkin's generalisation).

`nn.Conv2d(64, 64, 1)` and `nn.Conv2d(256, 128, 1)` generalise to `nn.Conv2d(a, b, 1)` with the columns a = (64, 256)
and b = (64, 128): the constructor of a class that is written once, and the arguments of each of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Term = Any  # a literal of Python's, a torch.dtype, a tuple of terms, or one of the classes below
REQUIRED = "<required>"


class _Nothing:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ABSENT = _Nothing("ABSENT")  # the module has no child of that name
HOLE = _Nothing("HOLE")  # nobody asks: what it would be part of is absent


@dataclass(eq=False)
class Callee:
    """What a term calls: torch's class or one of the file's own; a default of REQUIRED is none."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)  # name -> default
    positional: int = 0  # how many are given by position
    roles: dict[str, str] = field(default_factory=dict)  # of the parameters of a class of the file


@dataclass(frozen=True)
class Call:
    """A call with every argument by name, those that are the default included."""

    callee: Callee
    arguments: tuple[tuple[str, Term], ...] = ()


@dataclass(frozen=True)
class Items:
    """nn.Sequential, nn.ModuleList or nn.ModuleDict of these."""

    kind: str
    names: tuple[str, ...]
    terms: tuple[Term, ...]

    @property
    def is_numbered(self) -> bool:
        """Whether the children bear the names that torch gives them by itself."""
        return self.names == tuple(map(str, range(len(self.names))))


@dataclass(frozen=True)
class Mapped:
    """A container of one term for each of `values` (the term's LoopVar), or `values` times where that is a number."""

    kind: str
    term: Term
    values: Term


@dataclass(frozen=True)
class Optional:
    """A module where `flag` holds, and nothing (`otherwise` ABSENT) or another one elsewhere."""

    term: Term
    flag: Var
    otherwise: Term


@dataclass(frozen=True)
class Var:
    """What differs between the instances of a class: a column of their values."""

    column: int


@dataclass(frozen=True)
class LoopVar:
    """What differs between the members of one container."""


@dataclass(frozen=True)
class Factory:
    """What makes a module when it is called without arguments: `nn.ReLU`."""

    callee: Callee


@dataclass(frozen=True)
class Made:
    """The module that a factory makes, a new one in each place: `act()`."""

    factory: Term


@dataclass(frozen=True)
class Constant:
    """A tensor by the digest of its content."""

    digest: str


@dataclass
class Column:
    """The values that one place has in every instance, and the places that they were met at: (field, argument)."""

    values: list[Term]
    role: str
    uses: list[tuple[str, str]]
    in_forward: bool = False


def key(term: Term) -> Any:
    """What two terms share when they are written alike: 1, 1.0 and True are three."""
    if isinstance(term, Call):
        return id(term.callee), tuple((n, key(t)) for n, t in term.arguments)
    if isinstance(term, Items):
        return term.kind, term.names, tuple(map(key, term.terms))
    if isinstance(term, Mapped):
        return "mapped", term.kind, key(term.term), key(term.values)
    if isinstance(term, Optional):
        return "optional", key(term.term), key(term.flag), key(term.otherwise)
    if isinstance(term, (Factory, Made)):
        return type(term).__name__, id(term.callee) if isinstance(term, Factory) else key(term.factory)
    if isinstance(term, tuple):
        return tuple(map(key, term))
    return type(term).__name__, repr(term)


def is_module(term: Term) -> bool:
    """Whether the term makes a module."""
    return isinstance(term, (Call, Items, Mapped, Optional, Made))


def is_identity(term: Term) -> bool:
    """Whether the term makes a layer that hands on what it is given."""
    return isinstance(term, Call) and term.callee.name.rpartition(".")[2] == "Identity"


class Columns:
    """The columns of one class while its instances are generalised; alike ones are one."""

    def __init__(self, count: int) -> None:
        self.count, self.columns = count, list[Column]()
        self._index: dict[Any, int] = {}

    def var(self, values: Sequence[Term], role: str, use: tuple[str, str], *, in_forward: bool = False) -> Var:
        """The variable of these values."""
        alike = len(self.columns) if role == "module" else None  # one module can't stand in two places
        index = self._index.setdefault((role, alike, key(tuple(values))), len(self.columns))
        if index == len(self.columns):
            self.columns.append(Column(list(values), role, []))
        column = self.columns[index]
        column.uses.append(use)
        column.in_forward |= in_forward
        return Var(index)

    def generalise(
        self, terms: Sequence[Term], use: tuple[str, str], *, role: str = "", in_forward: bool = False
    ) -> Term:
        """The most special term that all `terms` (one an instance, or HOLE) are cases of."""
        present = [t for t in terms if t is not HOLE]
        if len({key(t) for t in present}) == 1 and not isinstance(present[0], (Call, Items)):
            return present[0]
        if all(isinstance(t, Call) for t in present) and len({id(t.callee) for t in present}) == 1:
            return self._calls(terms, present[0], use)
        if all(isinstance(t, Items) for t in present) and len({t.kind for t in present}) == 1:
            return self._items(terms, present, use)
        if all(isinstance(t, tuple) for t in present) and len({len(t) for t in present}) == 1:
            return tuple(
                self.generalise([_at(t, i) for t in terms], use, role=role, in_forward=in_forward)
                for i in range(len(present[0]))
            )
        if (optional := self._optional(terms, present, use)) is not None:
            return optional
        if all(map(_is_bare, present)):
            made = [t if t is HOLE else Factory(t.callee) for t in terms]
            return Made(self.var(made, "factory", use))
        values = [None if t is ABSENT else t for t in terms]
        return self.var(values, role or role_of(use[1], present), use, in_forward=in_forward)

    def _calls(self, terms: Sequence[Term], first: Call, use: tuple[str, str]) -> Call:
        by_instance = [dict(t.arguments) if isinstance(t, Call) else None for t in terms]
        made = []
        for name, _ in first.arguments:
            values = [HOLE if a is None else a[name] for a in by_instance]
            made.append((name, self.generalise(values, (use[0], name), role=first.callee.roles.get(name, ""))))
        return Call(first.callee, tuple(made))

    def _items(self, terms: Sequence[Term], present: Sequence[Items], use: tuple[str, str]) -> Term:
        if len({t.names for t in present}) == 1:
            columns = [[_at(t if t is HOLE else t.terms, i) for t in terms] for i in range(len(present[0].terms))]
            uses = [(f"{use[0]}.{name}", use[1]) for name in present[0].names]
            made = tuple(self.generalise(c, u) for c, u in zip(columns, uses, strict=True))
            return replace(present[0], terms=made)
        if all(t.is_numbered and t.terms for t in present) and (mapped := self._mapped(terms, present, use)):
            return mapped
        return self.var(list(terms), "module", use)

    def _mapped(self, terms: Sequence[Term], present: Sequence[Items], use: tuple[str, str]) -> Mapped | None:
        """One term for the members of all containers, where at most one thing differs within a container."""
        flat = [t for items in present for t in items.terms]
        inner = Columns(len(flat))
        pattern = inner.generalise(flat, use)
        if isinstance(pattern, Var):
            return None
        if any(c.role == "module" for c in inner.columns):
            return None
        settle(inner.columns)
        bounds = [0]
        for items in present:
            bounds.append(bounds[-1] + len(items.terms))
        parts = list(zip(bounds, bounds[1:], strict=False))
        varying = {
            i
            for i, c in enumerate(inner.columns)
            if any(len({key(v) for v in c.values[a:b] if v is not HOLE}) > 1 for a, b in parts)
        }
        if len(varying) > 1 or any(HOLE in inner.columns[i].values for i in varying):
            return None

        def spread(values: Sequence[Term]) -> list[Term]:
            left = iter(values)
            return [HOLE if t is HOLE else next(left) for t in terms]

        outer: dict[int, Term] = {}
        for i, c in enumerate(inner.columns):
            if i in varying:
                outer[i] = LoopVar()
                continue
            values = [next((v for v in c.values[a:b] if v is not HOLE), HOLE) for a, b in parts]
            for u in dict.fromkeys(c.uses):
                outer[i] = self._again(spread(values), c.role, u)
        if varying:
            (i,) = varying
            lists = [tuple(inner.columns[i].values[a:b]) for a, b in parts]
            repeated = self._again(spread(lists), "list", inner.columns[i].uses[0])
        else:
            repeated = self._again(spread([b - a for a, b in parts]), "count", (use[0], "depth"))
        return Mapped(present[0].kind, substituted(pattern, lambda v: outer[v.column]), repeated)

    def _again(self, values: Sequence[Term], role: str, use: tuple[str, str]) -> Term:
        present = [v for v in values if v is not HOLE]
        if len({key(v) for v in present}) == 1:
            return present[0]
        return self.var(values, role, use)

    def _optional(self, terms: Sequence[Term], present: Sequence[Term], use: tuple[str, str]) -> Optional | None:
        """A module that some instances have, and the others nn.Identity or none."""
        others = [t for t in present if t is not ABSENT and not is_identity(t)]
        empty = [t for t in present if t is ABSENT or is_identity(t)]
        alike = len({key(t) for t in empty}) == 1
        if not others or not alike or not all(is_module(t) for t in others):
            return None
        if len({id(t.callee) if isinstance(t, Call) else t.kind for t in others}) != 1:
            return None
        inside = [t if t is not ABSENT and t is not HOLE and not is_identity(t) else HOLE for t in terms]
        flags = [HOLE if t is HOLE else i is not HOLE for t, i in zip(terms, inside, strict=True)]
        made = self.generalise(inside, use)
        return None if isinstance(made, Var) else Optional(made, self.var(flags, "flag", (use[0], "")), empty[0])


def settle(columns: Sequence[Column]) -> None:
    """Fill the holes of a column from another one of its role that has the same values elsewhere."""
    for column in columns:
        if HOLE not in column.values:
            continue
        for other in columns:
            if (
                other is not column
                and other.role == column.role
                and HOLE not in other.values
                and agrees(column.values, other.values)
            ):
                column.values = list(other.values)
                break


def agrees(holed: Sequence[Term], full: Sequence[Term]) -> bool:
    """Whether the columns have the same values wherever both have one."""
    pairs = zip(holed, full, strict=True)
    return all(key(a) == key(b) for a, b in pairs if a is not HOLE and b is not HOLE)


def substituted(term: Term, f: Callable[[Var], Term]) -> Term:
    """The term with `f` of each variable in its place."""
    if isinstance(term, Var):
        return f(term)
    if isinstance(term, Call):
        return replace(term, arguments=tuple((n, substituted(t, f)) for n, t in term.arguments))
    if isinstance(term, Items):
        return replace(term, terms=tuple(substituted(t, f) for t in term.terms))
    if isinstance(term, Made):
        return Made(substituted(term.factory, f))
    if isinstance(term, Mapped):
        return replace(term, term=substituted(term.term, f), values=substituted(term.values, f))
    if isinstance(term, Optional):
        return Optional(substituted(term.term, f), substituted(term.flag, f), substituted(term.otherwise, f))
    if isinstance(term, tuple):
        return tuple(substituted(t, f) for t in term)
    return term


SIZES = {
    *("in_channels", "out_channels", "in_features", "out_features", "num_features", "normalized_shape"),
    *("num_channels", "num_embeddings", "embedding_dim", "input_size", "hidden_size", "shape", "size", "groups"),
    *("filters", "units", "input_dim", "output_dim"),  # Keras' words
}


def role_of(name: str, values: Sequence[Term]) -> str:
    """What kind of thing a column is; only columns of one kind may be one parameter."""
    if any(is_module(v) for v in values):
        return "module"
    if any(isinstance(v, Constant) for v in values):
        return "constant"
    if name in SIZES or all(type(v) is int for v in values) and name.startswith("forward."):
        return "size"
    return name


def _is_bare(term: Term) -> bool:
    """Whether the term is a call without arguments that are worth saying."""
    return isinstance(term, Call) and all(
        key(value) == key(term.callee.parameters[name]) for name, value in term.arguments
    )


def _at(term: Term, i: int) -> Term:
    return HOLE if term is HOLE else term[i]


def runs_of(terms: Sequence[Term]) -> list[tuple[Term, int]]:
    """Equal neighbours as one with a number."""
    found: list[tuple[Term, int]] = []
    for term in terms:
        if found and key(found[-1][0]) == key(term):
            found[-1] = term, found[-1][1] + 1
        else:
            found.append((term, 1))
    return found


def has_loop_var(term: Term) -> bool:
    """Whether something in the term differs between the members of a container."""
    if isinstance(term, LoopVar):
        return True
    if isinstance(term, Call):
        return any(has_loop_var(t) for _, t in term.arguments)
    if isinstance(term, Items):
        return any(map(has_loop_var, term.terms))
    if isinstance(term, Made):
        return has_loop_var(term.factory)
    if isinstance(term, Mapped):
        return has_loop_var(term.values)
    if isinstance(term, Optional):
        return has_loop_var(term.term) or has_loop_var(term.flag)
    return isinstance(term, tuple) and any(map(has_loop_var, term))
