"""Each rule by itself: a node in a form of its, transposed around, computes what the node did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from zoo.converters.graph import OPSET
from zoo.converters.infer import infer_shapes
from zoo.converters.layout import bound
from zoo.converters.layout.forms import Form, form_of
from zoo.converters.layout.perms import channels_last, inverse, own
from zoo.converters.layout.plan import make_plan
from zoo.converters.layout.rewrite import Rewriter
from zoo.converters.layout.sites import OURS, RULES, Edge

Draw = Callable[[st.SearchStrategy[Any]], Any]
SEEDS = st.integers(0, 2**16)
QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Case:
    """A node with what it reads: `x` is fed, the rest are constants unless they are fed too."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(SEEDS))
        self.feeds: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        self.is_free = draw(st.booleans())  # whether the graph knows the sizes of what it is fed

    def shape(self, least: int = 2, most: int = 5, largest: int = 4) -> list[int]:
        return list(self.draw(st.lists(st.integers(1, largest), min_size=least, max_size=most)))

    def fed(self, shape: Any, dtype: Any = np.float32, name: str = "") -> str:
        name = name or f"x{len(self.feeds)}"
        self.feeds[name] = self.array(shape, dtype)
        return name

    def array(self, shape: Any, dtype: Any = np.float32) -> Any:
        if dtype is bool:
            return self.random.random(shape) < 0.5
        if np.issubdtype(dtype, np.integer):
            return self.random.integers(0, 5, shape).astype(dtype)
        return self.random.uniform(-2, 2, shape).astype(dtype)

    def given(self, array: Any, dtype: Any = np.int64) -> str:
        """A constant, or the same fed."""
        name = f"c{len(self.constants) + len(self.feeds)}"
        array = np.asarray(array, dtype)
        (self.feeds if self.draw(st.booleans()) else self.constants)[name] = array
        return name

    def constant(self, array: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants) + len(self.feeds)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def axis(self, rank: int) -> int:
        return int(self.draw(st.integers(-rank, rank - 1)))

    def axes(self, rank: int) -> list[int]:
        some = self.draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
        return [int(a) - rank if self.draw(st.booleans()) else int(a) for a in some]

    def model(
        self, op_type: str, inputs: list[str], outputs: int, attributes: Mapping[str, Any], domain: str
    ) -> ir.Model:
        names = [f"y{i}" for i in range(outputs)]
        node = helper.make_node(op_type, inputs, names, name="node", domain=domain, **attributes)
        fed = []
        for name, array in self.feeds.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            hide = self.is_free and array.ndim > 1
            dims = [f"{name}_{i}" if hide and (i == 0 or array.shape[i] > 2) else n for i, n in enumerate(array.shape)]
            fed.append(helper.make_tensor_value_info(name, kind, dims))
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        outs = [onnx.ValueInfoProto(name=name) for name in names]
        graph = helper.make_graph([node], "case", fed, outs, constants)
        model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10))
        infer_shapes(model)
        return model


def unary(op_type: str) -> Callable[[Case], Any]:
    return lambda case: (op_type, [case.fed(case.shape())], 1, {})


def broadcast(case: Case) -> Any:
    shape = case.shape()
    names = [case.fed(shape)]
    for _ in range(case.draw(st.integers(1, 2))):
        low = case.draw(st.integers(0, len(shape)))
        other = [n if case.draw(st.booleans()) else 1 for n in shape][low:]
        names.append(case.given(case.array(other), np.float32))
    return "Sum", case.draw(st.permutations(names)), 1, {}


def where(case: Case) -> Any:
    shape = case.shape()
    return "Where", [case.fed(shape, bool), case.fed(shape), case.given(case.array(shape[-1:]), np.float32)], 1, {}


def prelu(case: Case) -> Any:
    shape = case.shape(3)
    return "PRelu", [case.fed(shape), case.constant(case.array([shape[1], *[1] * (len(shape) - 2)]), np.float32)], 1, {}


def clip(case: Case) -> Any:
    return "Clip", [case.fed(case.shape()), case.constant(-1, np.float32), case.constant(1, np.float32)], 1, {}


def quantise(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    kind = case.draw(st.sampled_from(["tensor", "axis", "block"]))
    scale = {"tensor": [], "axis": [shape[axis]], "block": shape}[kind]
    inputs = [case.fed(shape), case.given(np.abs(case.array(scale)) + 0.1, np.float32)]
    inputs.append(case.constant(case.array(scale, np.uint8), np.uint8))
    return "QuantizeLinear", inputs, 1, {"axis": axis} | ({"block_size": 1} if kind == "block" else {})


def dequantise(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    inputs = [case.fed(shape, np.int8), case.given(np.abs(case.array([shape[axis]])) + 0.1, np.float32)]
    return "DequantizeLinear", inputs, 1, {"axis": axis}


def along(op_type: str, inputs: int = 1) -> Callable[[Case], Any]:
    def case_of(case: Case) -> Any:
        shape = case.shape()
        return op_type, [case.fed(shape) for _ in range(inputs)], 1, {"axis": case.axis(len(shape))}

    return case_of


def concat(case: Case) -> Any:
    shape, n = case.shape(), case.draw(st.integers(1, 3))
    axis = case.axis(len(shape))
    shapes = [
        [case.draw(st.integers(1, 3)) if i == axis % len(shape) else d for i, d in enumerate(shape)] for _ in range(n)
    ]
    return (
        "Concat",
        [case.fed(shapes[0]), *(case.given(case.array(s), np.float32) for s in shapes[1:])],
        1,
        {"axis": axis},
    )


def top(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    return "TopK", [case.fed(shape), case.constant([1])], 2, {"axis": axis}


def split(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    shape[axis] = 4
    return "Split", [case.fed(shape), case.given([1, 3])], 2, {"axis": axis}


def elements(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    indices = case.random.integers(0, shape[axis], shape)
    return "GatherElements", [case.fed(shape), case.given(indices)], 1, {"axis": axis}


def scatter(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    places = np.argsort(case.random.random(shape), axis)
    return "ScatterElements", [case.fed(shape), case.given(places), case.fed(shape)], 1, {"axis": axis}


def cumulative(case: Case) -> Any:
    shape = case.shape()
    dtype = case.draw(st.sampled_from([np.int32, np.int64]))
    return "CumSum", [case.fed(shape), case.given(case.axis(len(shape)), dtype)], 1, {"exclusive": 1}


def pad(case: Case) -> Any:
    shape = case.shape()
    axes = case.axes(len(shape)) if case.draw(st.booleans()) else None
    n = len(shape) if axes is None else len(axes)
    pads = case.given(case.random.integers(0, 3, 2 * n))
    return "Pad", [case.fed(shape), pads, *([] if axes is None else ["", case.constant(axes)])], 1, {}


def slice_(case: Case) -> Any:
    shape = case.shape()
    axes = case.axes(len(shape)) if case.draw(st.booleans()) else None
    n = case.draw(st.integers(1, len(shape))) if axes is None else len(axes)
    dtype = case.draw(st.sampled_from([np.int32, np.int64]))
    starts, ends = case.random.integers(-2, 2, n), case.random.integers(1, 9, n)
    given = [case.given(starts, dtype), case.given(ends, dtype)]
    return "Slice", [case.fed(shape), *given, *([] if axes is None else [case.constant(axes, dtype)])], 1, {}


def resize(case: Case) -> Any:
    shape = case.shape(3, 4)
    axes = case.draw(st.booleans())
    named = sorted({a % len(shape) for a in case.axes(len(shape))}) if axes else range(len(shape))
    wanted = [case.draw(st.integers(1, 6)) for _ in named]
    mode = case.draw(st.sampled_from(["nearest", "linear"]))
    attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric"} | (
        {"axes": list(named)} if axes else {}
    )
    if case.draw(st.booleans()):
        return "Resize", [case.fed(shape), "", case.given(np.array(wanted) / 2 + 0.5, np.float32)], 1, attributes
    return "Resize", [case.fed(shape), "", "", case.given(wanted)], 1, attributes


def tile(case: Case) -> Any:
    shape = case.shape()
    return "Tile", [case.fed(shape), case.given(case.random.integers(1, 3, len(shape)))], 1, {}


def expand(case: Case) -> Any:
    shape = case.shape()
    low = case.draw(st.integers(0, len(shape) - 1))
    x = [n if case.draw(st.booleans()) else 1 for n in shape][low:]
    target = shape if low else shape[case.draw(st.integers(0, len(shape) - 1)) :]
    return "Expand", [case.fed(x), case.given(target)], 1, {}


def reduce(case: Case) -> Any:
    shape = case.shape()
    axes = [case.constant(case.axes(len(shape)))] if case.draw(st.booleans()) else []
    flags = {"keepdims": case.draw(st.integers(0, 1)), "noop_with_empty_axes": case.draw(st.integers(0, 1))}
    return case.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceL2"])), [case.fed(shape), *axes], 1, flags


def arg(case: Case) -> Any:
    shape = case.shape()
    return "ArgMax", [case.fed(shape)], 1, {"axis": case.axis(len(shape)), "keepdims": case.draw(st.integers(0, 1))}


def gather(case: Case) -> Any:
    shape = case.shape(2, 4)
    axis = case.axis(len(shape))
    indices = case.random.integers(-shape[axis], shape[axis], case.shape(0, 2))
    return "Gather", [case.fed(shape), case.given(indices)], 1, {"axis": axis}


def gather_nd(case: Case) -> Any:
    b, n, *rest = case.shape(3, 5)
    batch = case.draw(st.integers(0, 1))
    shape = case.draw(st.sampled_from([[2], [3, 2]]))
    indices = case.random.integers(0, n if batch else b, [*[b] * batch, *shape, 1])
    return "GatherND", [case.fed([b, n, *rest]), case.given(indices)], 1, {"batch_dims": batch}


def scatter_nd(case: Case) -> Any:
    b, n, *rest = case.shape(3, 5)
    places = case.random.permutation(b * n)[: case.draw(st.integers(1, b * n))]
    indices = np.stack([places // n, places % n], -1) if case.draw(st.booleans()) else np.arange(b)[:, None]
    updates = [*indices.shape[:-1], *[b, n, *rest][indices.shape[-1] :]]
    return "ScatterND", [case.fed([b, n, *rest]), case.given(indices), case.fed(updates)], 1, {}


def layer_norm(case: Case) -> Any:
    shape = case.shape()
    axis = case.axis(len(shape))
    scale, bias = (case.constant(case.array(shape[axis:]), np.float32) for _ in range(2))
    return "LayerNormalization", [case.fed(shape), scale, bias], 1, {"axis": axis}


def centred(case: Case) -> Any:
    shape = case.shape()
    return "MeanVarianceNormalization", [case.fed(shape)], 1, {"axes": [a % len(shape) for a in case.axes(len(shape))]}


def matmul(case: Case) -> Any:
    *batch, m, k, n = case.shape(3, 5)
    left, right = case.draw(st.sampled_from([(batch, batch), (batch, []), ([], batch)]))
    return "MatMul", [case.fed([*left, m, k]), case.given(case.array([*right, k, n]), np.float32)], 1, {}


def reshape(case: Case) -> Any:
    """Axes that are merged, split, put in and left out, written with 0 and -1."""
    pieces = [
        case.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)) for _ in range(case.draw(st.integers(1, 3)))
    ]
    x, y = list[int](), list[int]()
    for piece in pieces:
        for side in (x, y):
            side += piece if case.draw(st.booleans()) else [int(np.prod(piece))]
    for side in (x, y):
        if case.draw(st.booleans()):
            side.insert(case.draw(st.integers(0, len(side))), 1)
    target = [0 if i < len(x) and x[i] == n and case.draw(st.booleans()) else n for i, n in enumerate(y)]
    if case.draw(st.booleans()):
        target[case.draw(st.integers(0, len(target) - 1))] = -1
    return "Reshape", [case.fed(x), case.constant(target)], 1, {}


def flatten(case: Case) -> Any:
    shape = case.shape()
    return "Flatten", [case.fed(shape)], 1, {"axis": case.draw(st.integers(-len(shape), len(shape)))}


def squeeze(case: Case) -> Any:
    shape = case.shape()
    axes = case.axes(len(shape))
    for a in axes:
        shape[a] = 1
    if case.draw(st.booleans()) and not case.is_free:
        return "Squeeze", [case.fed(shape)], 1, {}
    return "Squeeze", [case.fed(shape), case.constant(axes)], 1, {}


def unsqueeze(case: Case) -> Any:
    shape = case.shape(1, 4)
    new = case.draw(st.integers(1, 2))
    axes = case.draw(st.lists(st.integers(0, len(shape) + new - 1), min_size=new, max_size=new, unique=True))
    return "Unsqueeze", [case.fed(shape), case.constant(axes)], 1, {}


def einsum(case: Case) -> Any:
    b, i, j, k = case.shape(4, 4)
    return "Einsum", [case.fed([b, i, j]), case.fed([k, b, j])], 1, {"equation": "bij, kbj -> bki"}


CASES: dict[str, Callable[[Case], Any]] = {
    "Relu": unary("Relu"),
    "Sum": broadcast,
    "Where": where,
    "PRelu": prelu,
    "Clip": clip,
    "QuantizeLinear": quantise,
    "DequantizeLinear": dequantise,
    "Softmax": along("Softmax"),
    "LpNormalization": along("LpNormalization"),
    "Concat": concat,
    "TopK": top,
    "Split": split,
    "GatherElements": elements,
    "ScatterElements": scatter,
    "CumSum": cumulative,
    "Pad": pad,
    "Slice": slice_,
    "Resize": resize,
    "Tile": tile,
    "Expand": expand,
    "Reduce": reduce,
    "ArgMax": arg,
    "Gather": gather,
    "GatherND": gather_nd,
    "ScatterND": scatter_nd,
    "LayerNormalization": layer_norm,
    "MeanVarianceNormalization": centred,
    "MatMul": matmul,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Einsum": einsum,
}


@pytest.mark.parametrize("kind", CASES)
def test_a_node_in_another_layout_computes_the_same(run, kind):
    found = []

    @QUICK
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = Case(data.draw)
        made = CASES[kind](case)
        op_type, inputs, outputs, attributes = made
        model = case.model(op_type, inputs, outputs, attributes, "")
        (node,) = model.graph
        below = data.draw(st.booleans())
        values = node.outputs if below else [v for v in node.inputs if v is not None and v.const_value is None]
        ranks = [len(v.shape) for v in values if v.shape is not None]
        assume(ranks)
        perm = data.draw(layouts_of(data.draw(st.sampled_from(ranks))))
        form = form_of(RULES[op_type], node, perm, below) if perm else None
        expected = run(model, case.feeds)
        if form is None:
            return
        found.append(form)
        _bring(model, form)
        if all(out.shape is not None for out in node.outputs):
            onnx.checker.check_model(ir.to_proto(model), full_check=True)
        got = run(model, case.feeds)
        for name, want in expected.items():
            np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-5)

    check()
    perms = {perm for form in found for perm in (*form.takes, *form.gives)} - {None}
    assert any(perm != own(len(perm)) for perm in perms)


def layouts_of(rank: int) -> st.SearchStrategy[tuple[int, ...]]:
    """All there are, and more often those that models have."""
    common = [channels_last(rank), inverse(channels_last(rank)), (1, 0, *range(2, rank))] if rank > 2 else [own(rank)]
    return st.sampled_from(common) | st.permutations(range(rank)).map(tuple)


def _bring(model: ir.Model, form: Form) -> None:
    """Put the one node of a graph in a form, with its inputs and outputs as they were."""
    graph = model.graph
    plan = make_plan(
        graph, lambda node: False, dict.fromkeys(graph.inputs, Edge.FIRST), dict.fromkeys(graph.outputs, Edge.FIRST)
    )
    (at,) = (i for i, site in enumerate(plan.sites) if isinstance(site.thing, ir.Node))
    plan.sites[at].forms.append(form)
    plan.chosen[at] = len(plan.sites[at].forms) - 1
    names = {v.name for v in (*graph.inputs, *graph.initializers.values(), *graph[0].outputs)}
    Rewriter(model, graph, plan, names).run()


def test_every_rule_has_a_case_or_shares_one():
    alone = {rule for name, rule in RULES.items() if name in CASES} | {RULES[n] for n in ("Sum", "ReduceMean", "Relu")}
    alone |= {RULES[n] for n in ("QuantizeLinear",)}
    assert not {name for name, rule in (RULES | OURS).items() if rule not in alone} - {
        "StochasticDepth",
        "Linear",
        "LinearNoBias",
    }
    assert bound.EASY < set(bound.DATA)
