"""The columns of a class as the parameters of its constructor: few, named after what they are for, with defaults.

A column that is another one times a small integer (four times the channels), or half a kernel, is written so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.converters.writers.source.naming import unique
from zoo.converters.writers.source.terms import (
    HOLE,
    REQUIRED,
    Column,
    Columns,
    Constant,
    Factory,
    Term,
    agrees,
    is_module,
    key,
)

FACTORS = range(2, 17)
# what a size is called, by the arguments that it is given for: the first row of which all are among those
NAMES = (
    ({"in_channels", "num_channels"}, "in_channels"),
    ({"in_features"}, "in_features"),
    ({"out_channels", "num_features", "num_channels", "shape"}, "out_channels"),
    ({"out_features"}, "out_features"),
    ({"in_channels", "out_channels", "num_features", "num_channels", "groups", "shape", "channels"}, "channels"),
)
OWN_WORD = {"kernel_size", "stride", "padding", "dilation", "groups", "mode", "eps", "depth", "num_heads"}


@dataclass
class Parameter:
    """One parameter: its value in every instance (None where nobody asks for it)."""

    name: str
    values: list[Term]
    default: Term
    role: str
    in_forward: bool


class Parameters:
    """The parameters of a class, and each column as an expression of them."""

    def __init__(
        self,
        columns: Columns,
        fields: set[str],
        names: set[str],
        reserved: frozenset[str] = frozenset(),
        activations: frozenset[str] = frozenset(),
    ) -> None:
        self.columns, self.names = columns.columns, names | {"self"}
        self.taken = fields | reserved | names | {"self"}
        self.activations = activations
        self.of: list[tuple[int, str]] = [
            (i, "{}") for i in range(len(self.columns))
        ]  # base column, and how it is used
        self.optional: dict[int, int] = {}  # a flag -> the column that is None where it is false
        self._unify()
        bases = [i for i in range(len(self.columns)) if self.of[i][0] == i and i not in self.optional]
        self.parameters = {i: self._parameter(i) for i in bases}
        order = sorted(
            bases, key=lambda i: (self.parameters[i].default is not REQUIRED, self.columns[i].role != "size")
        )
        self.parameters = {i: self.parameters[i] for i in order}
        self._name()

    # ---- what is read of them

    def signature(self) -> tuple[dict[str, Any], int]:
        """The parameters with their defaults, and how many of them are given by position."""
        found = {p.name: p.default for p in self.parameters.values()}
        required = [p for p in self.parameters.values() if p.default is REQUIRED]
        positional = len(required) if len(required) <= 3 else 2
        return found, positional

    def values(self, i: int) -> list[tuple[str, Term]]:
        """The arguments of the i-th instance."""
        return [(p.name, p.values[i]) for p in self.parameters.values()]

    def expression(self, column: int, prefix: str = "") -> str:
        """A column in terms of the parameters; `prefix` is `self.` in a forward."""
        if column in self.optional:
            return f"{prefix}{self.parameters[self.of[self.optional[column]][0]].name} is not None"
        base, form = self.of[column]
        return form.format(f"{prefix}{self.parameters[base].name}")

    def is_bare(self, column: int) -> bool:
        """Whether the expression is a name alone."""
        return column not in self.optional and self.of[column][1] == "{}"

    # ---- fewer of them

    def _unify(self) -> None:
        full = [i for i, c in enumerate(self.columns) if HOLE not in c.values]
        holed = [i for i in range(len(self.columns)) if i not in full]
        sizes = sorted((i for i in full if self._is_size(i)), key=lambda i: (sum(self.columns[i].values), i))
        for n, i in enumerate(sizes):
            self._derive(i, sizes[:n])
        for i in full:
            if self.columns[i].role == "padding":
                self._halve(i, full)
        bases = [i for i in full if self.of[i][0] == i]
        for i in holed:
            role = self.columns[i].role
            if role == "module":
                bases.append(i)
                continue
            same = [
                j
                for j in bases
                if self.columns[j].role == role and agrees(self.columns[i].values, self.columns[j].values)
            ]
            if same:
                self.of[i] = (same[0], "{}")
                continue
            is_derived = self._is_size(i) and self._derive(i, [j for j in bases if self._is_size(j)])
            if not is_derived and not (role == "padding" and self._halve(i, bases)):
                bases.append(i)
        self._merge_holed([i for i in holed if self.of[i][0] == i])

    def _merge_holed(self, left: list[int]) -> None:
        for i in left:
            for j in left:
                a, b = self.columns[i], self.columns[j]
                if i >= j or self.of[i][0] != i or self.of[j][0] != j or a.role != b.role or a.role == "module":
                    continue
                if [v is HOLE for v in a.values] == [v is HOLE for v in b.values] and agrees(a.values, b.values):
                    self.of[j] = (i, "{}")
        for f, flag in enumerate(self.columns):
            if flag.role != "flag" or HOLE in flag.values or flag.in_forward:
                continue
            for i in left:
                asked = [v is not HOLE for v in self.columns[i].values]
                plain = not any(v is None for v in self.columns[i].values)
                if self.of[i][0] == i and plain and asked == flag.values and i not in self.optional.values():
                    self.optional[f] = i
                    break

    def _is_size(self, i: int) -> bool:
        values = [v for v in self.columns[i].values if v is not HOLE]
        return self.columns[i].role == "size" and all(type(v) is int and v > 0 for v in values)

    def _derive(self, i: int, bases: Sequence[int]) -> bool:
        """As a multiple of a smaller one."""
        mine = self.columns[i].values
        for factor in FACTORS:
            for j in bases:
                theirs = [v if v is HOLE else v * factor for v in self.columns[j].values]
                if self.of[j][0] == j and agrees(mine, theirs):
                    self.of[i] = (j, f"{factor} * {{}}")
                    return True
        return False

    def _halve(self, i: int, bases: Sequence[int]) -> bool:
        """A padding that keeps the size, as half of the kernel."""
        for j in bases:
            kernels = self.columns[j].values
            if self.columns[j].role != "kernel_size" or not all(type(v) is int for v in kernels) or self.of[j][0] != j:
                continue
            if agrees(self.columns[i].values, [k // 2 for k in kernels]):
                self.of[i] = (j, "{} // 2")
                return True
        return False

    # ---- their names and defaults

    def _parameter(self, i: int) -> Parameter:
        column = self.columns[i]
        shared = [c for j, c in enumerate(self.columns) if self.of[j][0] == i]
        present = [v for v in column.values if v is not HOLE]
        default: Term = REQUIRED
        if i in self.optional.values() or (len(present) < len(column.values)):
            default = None
        elif (column.role != "size" or all(a == "groups" for c in shared for _, a in c.uses)) and not any(
            is_module(v) or isinstance(v, Constant) for v in present
        ):
            (common, times), *_ = Counter(key(v) for v in present).most_common(1)
            if 2 * times > len(present) or column.role == "flag":
                default = next(v for v in present if key(v) == common)
            if column.role == "flag":
                default = False
        elif None in present:
            default = None
        values = [default if v is HOLE else v for v in column.values]
        return Parameter("", values, default, column.role, any(c.in_forward for c in shared))

    def _name(self) -> None:
        wishes = {i: self._wish(i) for i in self.parameters}
        used: set[str] = set()
        for i, parameter in self.parameters.items():
            taken = used | (self.taken if parameter.in_forward else self.names)
            wish, longer = wishes[i]
            parameter.name = unique(longer if wish in taken else wish, taken)
            used.add(parameter.name)

    def _wish(self, i: int) -> tuple[str, str]:
        """A name, and a longer one if others wish for the same."""
        uses = [u for j, c in enumerate(self.columns) if self.of[j] == (i, "{}") for u in c.uses]
        column: Column = self.columns[i]
        field, argument = uses[0]
        last = _word(field)
        if column.role in ("flag", "module", "factory", "constant"):
            name = argument if argument not in ("", "value") else last
            if name == "value":  # a member of an nn.Sequential
                makers = {v.callee.name for v in column.values if isinstance(v, Factory)}
                name = "activation" if makers and makers <= self.activations else "layer"
            return name, name
        arguments = {a for _, a in uses if not a.startswith("forward.")}
        if column.role == "size":
            other = "dim" if arguments & WIDE else min(arguments, default="size")
            name = next((n for known, n in NAMES if arguments and arguments <= known), other)
            name = "groups" if arguments == {"groups"} else name
            longer = f"{last}_{argument.removeprefix('forward.')}" if name != "size" else f"{last}_size"
            return name, _word(longer)
        if argument == "p" or not argument:
            return last, last
        if argument.startswith("forward."):
            return "scale" if last in ("mul", "truediv") else last, f"{last}_value"
        return argument, argument if argument in OWN_WORD and argument != "padding" and _single(
            uses
        ) else f"{last}_{argument}"


WIDE = {"normalized_shape", "embedding_dim", "input_size", "hidden_size", "in_features", "out_features", "dim"}
WIDE |= {"in_channels", "out_channels", "num_features"}


def _single(uses: Sequence[tuple[str, str]]) -> bool:
    return len({f for f, _ in uses}) == 1


def _word(text: str) -> str:
    """A field's path as part of a name: `blocks.0.mlp` as `mlp`."""
    parts = [p for p in text.split(".") if p and not p.isdigit()]
    word = "".join(c if c.isalnum() or c == "_" else "_" for c in (parts[-1] if parts else "value"))
    return word if word and not word[0].isdigit() else f"value_{word}"
