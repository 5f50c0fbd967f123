"""Carry out a plan: every node in its chosen form, and a Transpose where two sites see a value in different layouts.

A value is transposed once for all that read it so. What becomes of other values than activations:

    a constant                     another constant
    a parameter                    a Transpose or Reshape of the parameter, for a writer to do once when it binds
    axes of size 1 that move       a Reshape, which moves nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import LAYOUT, PATH, all_graphs, bodies, constant, is_parameter, module_path
from zoo.converters.layout.bound import make_last
from zoo.converters.layout.forms import Form, at, sizes, vector
from zoo.converters.layout.perms import Perm, Size, between, channels_last, compose, is_view, own
from zoo.converters.layout.shapes import equation_of, takes_any, target
from zoo.converters.layout.sites import Plan, Site, View, captured, fixed_values, transposition

Array = np.ndarray[Any, Any]


class Rewriter:
    """One graph on its way to its plan."""

    def __init__(self, model: ir.Model, graph: ir.Graph, plan: Plan, names: set[str | None]) -> None:
        self.model, self.graph, self.plan, self.names = model, graph, plan, names
        self.fixed = fixed_values(graph)
        self.held: dict[ir.Value, Perm] = {}  # the layout that a value is stored in, if not the graph's own
        self.views: dict[ir.Value, View] = {}
        self.made: dict[tuple[ir.Value, Perm], ir.Value] = {}  # (value, layout) -> what holds it so
        self.vectors: dict[tuple[object, ...], ir.Value] = {}

    def run(self) -> None:
        """Rewrite the graph from its inputs to its outputs."""
        outputs = []
        sites = {site.thing: (site, form) for site, form in self._chosen() if isinstance(site.thing, ir.Node)}
        for site, form in self._chosen():
            if isinstance(site.thing, ir.Value) and form.gives and form.gives[0] is not None:
                self._store(site.thing, form.gives[0])
            elif isinstance(site.thing, ir.Value) and form.takes:
                outputs.append((site.thing, form.takes[0]))
        transposes = [node for node in self.graph if transposition(node) is not None]
        for node in list(self.graph):
            if node in sites:
                self._change(node, sites[node][1])
            elif node in transposes and node.inputs[0] not in self.fixed:
                self._turn(node)
        for value, perm in outputs:
            self._hand_out(value, perm)
        for node in reversed(transposes):
            if not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
                self.graph.remove(node, safe=True)

    def _chosen(self) -> list[tuple[Site, Form]]:
        return [(site, self.plan.form(i)) for i, site in enumerate(self.plan.sites)]

    def _store(self, value: ir.Value, perm: Perm) -> None:
        """From here on a value is stored in a layout."""
        self.held[value] = perm
        if value.shape is not None:
            value.shape = ir.Shape([value.shape[axis] for axis in perm])

    # ---- nodes

    def _turn(self, node: ir.Node) -> None:
        """A Transpose of the graph's own is one of what is stored; none where that stands so already."""
        x, perm = node.inputs[0], transposition(node)
        assert x is not None and perm is not None  # noqa: S101 - see `run`
        base, before = self.views.get(x) or View(x, own(len(perm)))
        self.views[node.outputs[0]] = View(base, layout := compose(before, perm))
        have = self.held.get(base, own(len(perm)))
        step = between(have, layout)
        if have != layout and (base, layout) not in self.made and not is_view(step, sizes(base) or ()):
            node.replace_input_with(0, base)
            node.attributes["perm"] = ir.AttrInt64s("perm", step)
            self.made[base, layout] = node.outputs[0]

    def _change(self, node: ir.Node, form: Form) -> None:
        """Bring a node into a form."""
        for outer in captured(node):
            if (now := self._read(outer, None, node)) is not outer:
                _replace_inside(node, outer, now)
        for name, what in form.attributes.items():
            node.attributes[name] = ir.convenience.convert_attribute(name, what)
        if takes_any(node):
            self._take_any(node)
        else:
            for i, value in enumerate(node.inputs):
                if value is not None and i in form.lined_up:
                    node.replace_input_with(i, self._lined_up(value, form.lined_up[i], node))
                elif value is not None:
                    node.replace_input_with(i, self._read(value, form.takes[i], node))
        for i, numbers in form.constants.items():
            self._set(node, i, self._vector(node, i, numbers))
        for i, picks in form.picks.items():
            if at(node, i) is not None:
                self._set(node, i, self._picked(node, i, picks))
        for value, perm in zip(node.outputs, form.gives, strict=False):
            if perm is not None:
                self._store(value, perm)
        if form.is_last:
            make_last(self.model, node)

    def _set(self, node: ir.Node, i: int, value: ir.Value) -> None:
        if i >= len(node.inputs):
            node.resize_inputs(i + 1)
        node.replace_input_with(i, value)

    def _take_any(self, node: ir.Node) -> None:
        """Shape, Size and Einsum read what is stored, and say so."""
        layouts = []
        for i, value in enumerate(node.inputs):
            assert value is not None  # noqa: S101 - none of them has optional inputs
            (base, perm), have = self._stored(value)
            if node.op_type == "Einsum" and have == own(len(have)):  # a Transpose of the graph's own stays
                base, have = self._read(value, None, node), perm
            layouts.append(between(perm, have))  # of the value that the node means
            node.replace_input_with(i, base)
        if all(perm == own(len(perm)) for perm in layouts):
            return
        if node.op_type == "Einsum" and (equation := equation_of(node)) is not None:
            pairs = zip(equation[0], layouts, strict=True)
            left = ("".join(letters[a] for a in perm) if perm else letters for letters, perm in pairs)
            node.attributes["equation"] = ir.AttrString("equation", f"{','.join(left)}->{equation[1]}")
        if node.op_type == "Shape":
            self._shape(node, layouts[0])

    def _shape(self, node: ir.Node, perm: Perm) -> None:
        """Shape(x)[start:end] of what is stored as Transpose(x, perm)."""
        n = len(perm)
        start, end, _ = slice(node.attributes.get_int("start", 0), node.attributes.get_int("end", n)).indices(n)
        places = [perm.index(axis) for axis in range(start, end)]
        first = places[0] if places else 0
        if places == list(range(first, first + len(places))):
            node.attributes["start"] = ir.AttrInt64("start", first)
            node.attributes["end"] = ir.AttrInt64("end", first + len(places))
            return
        for name in ("start", "end"):
            node.attributes.pop(name, None)
        whole = self._insert("Shape", [node.inputs[0]], node, dtype=ir.DataType.INT64, dims=[n])
        node.op_type = "Gather"
        node.resize_inputs(2)
        node.replace_input_with(0, whole)
        node.replace_input_with(1, self._constant(np.array(places, np.int64)))
        node.attributes["axis"] = ir.AttrInt64("axis", 0)

    # ---- values

    def _stored(self, value: ir.Value) -> tuple[View, Perm]:
        """What a value is a transposition of, and the layout in which that is stored."""
        view = self.views.get(value) or View(value, own(len(sizes(value) or ())))
        return view, self.held.get(view.base, own(len(view.perm)))

    def _read(self, value: ir.Value, perm: Perm | None, before: ir.Node | None) -> ir.Value:
        """What holds a value in a layout; made right before a node, or at the end."""
        if value in self.fixed:
            return value if perm is None else self._fixed(value, perm, before)
        (base, view), have = self._stored(value)
        layout = view if perm is None else compose(view, perm)
        if have == layout:
            return base
        if (base, layout) not in self.made:
            self.made[base, layout] = self._transposed(base, between(have, layout), before)
            node = self.made[base, layout].producer()
            if node is not None and node.op_type == "Transpose":
                is_own = "the graph's own: " * (value is not base)
                node.metadata_props[LAYOUT] = is_own + _reason(base, have, before, layout)
        return self.made[base, layout]

    def _fixed(self, value: ir.Value, perm: Perm, before: ir.Node | None) -> ir.Value:
        """A constant or parameter in a layout."""
        while (node := value.producer()) is not None and (step := transposition(node)) is not None:
            source = node.inputs[0]
            assert source is not None  # noqa: S101 - see `transposition`
            value, perm = source, compose(step, perm)
        if perm == own(len(perm)):
            return value
        if (value, perm) not in self.made:
            array = _array(value)
            self.made[value, perm] = (
                self._transposed(value, perm, before) if array is None else self._constant(array.transpose(perm), value)
            )
        return self.made[value, perm]

    def _lined_up(self, value: ir.Value, perm: Perm, before: ir.Node) -> ir.Value:
        """An operand of a lower rank, where what it is broadcast to stands in a layout."""
        if (value, perm) in self.made:
            return self.made[value, perm]
        have = sizes(value) or ()
        dims = (1,) * (len(perm) - len(have)) + have
        want = [dims[axis] for axis in perm]
        while want[:1] == [1]:
            want.pop(0)
        array = _array(value)
        if array is not None:
            made = array.reshape([int(d) for d in dims]).transpose(perm)
            self.made[value, perm] = self._constant(made.reshape([int(d) for d in want]), value)
            return self.made[value, perm]
        x = self._read(value, None, before)
        if not is_view(perm, dims):  # a parameter, see `operand`
            x = self._transposed(self._reshaped(x, have, dims, before), perm, before)
            have = tuple(dims[axis] for axis in perm)
        self.made[value, perm] = self._reshaped(x, have, want, before)
        return self.made[value, perm]

    def _transposed(self, value: ir.Value, perm: Perm, before: ir.Node | None) -> ir.Value:
        """What is stored, with its axes in another order."""
        have = sizes(value) or ()
        want = [have[axis] for axis in perm]
        if is_view(perm, have):
            return self._reshaped(value, have, want, before)
        return self._insert("Transpose", [value], before, dtype=value.dtype, dims=want, perm=perm)

    def _reshaped(
        self, value: ir.Value, have: Sequence[Size], want: Sequence[Size], before: ir.Node | None
    ) -> ir.Value:
        """The same elements with axes of size 1 at other places."""
        if list(have) == list(want):
            return value
        shape = target(have, want)
        if shape is not None:
            return self._insert(
                "Reshape", [value, self._constant(np.array(shape, np.int64))], before, dtype=value.dtype, dims=want
            )
        for op_type, axes, dims in (
            ("Squeeze", [i for i, d in enumerate(have) if d == 1], [d for d in have if d != 1]),
            ("Unsqueeze", [i for i, d in enumerate(want) if d == 1], want),
        ):
            if axes:
                indices = self._constant(np.array(axes, np.int64))
                value = self._insert(op_type, [value, indices], before, dtype=value.dtype, dims=dims)
        return value

    def _hand_out(self, value: ir.Value, perm: Perm | None) -> None:
        """An output of the graph leaves in a layout, under its own name."""
        now = self._read(value, perm, None)
        if now is value:
            return
        if now.is_graph_input() or now.is_graph_output() or now.is_initializer():
            now = self._insert("Identity", [now], None, dtype=now.dtype, dims=sizes(now) or ())
        name, value.name = value.name, self._unique(f"{value.name}.inside")
        for i, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[i] = now
        now.name = name

    # ---- what is new

    def _insert(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        before: ir.Node | None,
        *,
        dtype: ir.DataType | None,
        dims: Sequence[Size],
        **attributes: Any,
    ) -> ir.Value:
        name = self._unique(f"{inputs[0].name if inputs[0] else ''}.{op_type}")
        node = ir.node(op_type, inputs, attributes, name=name)
        out = node.outputs[0]
        out.name, out.shape = name, ir.Shape([None if str(d).startswith("?") else d for d in dims])
        out.type = None if dtype is None else ir.TensorType(dtype)
        if before is None:
            self.graph.append(node)
            return out
        if path := module_path(before):
            node.metadata_props[PATH] = path
        self.graph.insert_before(before, node)
        return out

    def _unique(self, name: str) -> str:
        unique, n = name, 0
        while unique in self.names:
            unique, n = f"{name}_{n}", n + 1
        self.names.add(unique)
        return unique

    def _constant(self, array: Array, like: ir.Value | None = None) -> ir.Value:
        """An initializer, of the name of another or for its numbers; one for all that are the same."""
        key = (array.tobytes(), array.dtype, array.shape)
        if like is not None or key not in self.vectors:
            name = "axes" if like is None else f"{like.name}.in_layout"
            made = constant(self.model.graph, self._unique(name), array)
            if like is not None:
                return made
            self.vectors[key] = made
        return self.vectors[key]

    def _vector(self, node: ir.Node, i: int, numbers: int | Sequence[int]) -> ir.Value:
        """Numbers as input `i` of a node, of the dtype that stands there, or that a Slice has all over."""
        have = at(node, i)
        if have is not None and vector(have) == np.reshape(numbers, -1).tolist():
            return have
        like = have if have is not None else at(node, 1)
        is_short = like is not None and like.dtype == ir.DataType.INT32
        return self._constant(np.array(numbers, np.int32 if is_short else np.int64))

    def _picked(self, node: ir.Node, i: int, picks: Sequence[int]) -> ir.Value:
        """Members of a vector."""
        value = node.inputs[i]
        assert value is not None  # noqa: S101 - see `_change`
        array = _array(value)
        if array is not None:
            return self._constant(array.reshape(-1)[list(picks)])
        indices = self._constant(np.array(picks, np.int64))
        return self._insert("Gather", [value, indices], node, dtype=value.dtype, dims=[len(picks)], axis=0)


def _array(value: ir.Value) -> Array | None:
    """The numbers of a constant."""
    return None if value.const_value is None or is_parameter(value) else value.const_value.numpy()


def _replace_inside(node: ir.Node, old: ir.Value, new: ir.Value) -> None:
    for outer in bodies(node):
        for body in all_graphs(outer):
            for inner in body:
                for i, value in enumerate(inner.inputs):
                    if value is old:
                        inner.replace_input_with(i, new)
            for i, value in enumerate(body.outputs):
                if value is old:
                    body.outputs[i] = new


def _reason(base: ir.Value, have: Perm, reader: ir.Node | None, want: Perm) -> str:
    """Why a Transpose stands between two places, in words."""
    giver = base.producer()
    source = f"the input {base.name!r}" if giver is None else _named(giver)
    to = "an output of the graph" if reader is None else _named(reader)
    return f"{source} gives {_words(have)}, {to} takes {_words(want)}"


def _named(node: ir.Node) -> str:
    return f"{node.op_type} {(node.name or node.outputs[0].name)!r}"


def _words(perm: Perm) -> str:
    if perm == own(len(perm)):
        return "the graph's own order"
    return "channels last" if perm == channels_last(len(perm)) else f"axes in the order {list(perm)}"
