"""The cut and the plan: no cheaper choice is left, on questions and graphs that nobody wrote."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from zoo.converters.graph import OPSET, PARAMETER
from zoo.converters.infer import infer_shapes
from zoo.converters.layout import plan as planning
from zoo.converters.layout.cut import NO, YES, Costs
from zoo.converters.layout.sites import Edge

QUICK = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def costs(draw: Any) -> tuple[int, list[tuple[str, Any, Any, int]]]:
    """A number of questions, and what answers to them cost."""
    n = draw(st.integers(1, 6))
    question, some = st.integers(0, n - 1), st.sets(st.integers(0, n - 1), min_size=1, max_size=3)
    cost = st.integers(1, 9)
    plain = st.tuples(st.just("add"), st.just(NO) | question, st.just(YES) | question, cost)
    no = st.tuples(st.just("any_no"), some, st.just(YES) | question, cost)
    yes = st.tuples(st.just("any_yes"), st.just(NO) | question, some, cost)
    return n, draw(st.lists(plain | no | yes, max_size=12))


def price(kind: str, no: Any, yes: Any, cost: int, answers: dict[int, bool]) -> int:
    if kind == "add":
        return cost * (no != yes and not answers[no] and answers[yes])
    if kind == "any_no":
        return cost * (any(not answers[q] for q in no) and answers[yes])
    return cost * (not answers[no] and any(answers[q] for q in yes))


@QUICK
@given(costs())
def test_the_cut_is_as_cheap_as_the_cheapest_of_all_answers_and_says_yes_least(drawn):
    n, terms = drawn
    made = Costs(n)
    for kind, no, yes, cost in terms:
        getattr(made, kind)(no, yes, cost)
    found = made.settle()
    all_answers = [{NO: False, YES: True} | dict(enumerate(answers)) for answers in product((False, True), repeat=n)]
    prices = [sum(price(*term, answers) for term in terms) for answers in all_answers]
    ours = {NO: False, YES: True} | {q: q in found for q in range(n)}
    assert min(prices) == sum(price(*term, ours) for term in terms)
    cheapest = [answers for answers, total in zip(all_answers, prices, strict=True) if total == min(prices)]
    assert sum(ours.values()) == min(sum(answers.values()) for answers in cheapest)


class Graphs:
    """Graphs of pictures and matrices, drawn node by node; every one is valid and all of its sizes are known."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.nodes: list[Any] = []
        self.weights: list[tuple[str, tuple[int, ...]]] = []
        self.constants: list[Any] = []
        self.values: list[tuple[str, tuple[int, ...]]] = [("x", (2, 2, 4, 4)), ("z", (2, 2, 4, 4)), ("t", (2, 4, 2))]

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def weight(self, *shape: int) -> str:
        self.weights.append((f"w{len(self.weights)}", shape))
        return self.weights[-1][0]

    def constant(self, numbers: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(numbers, dtype), name))
        return name

    def pick(self, rank: int = 0) -> tuple[str, tuple[int, ...]]:
        fitting = [value for value in self.values if rank in (0, len(value[1]))]
        return fitting[-1 - self.draw(st.integers(0, min(len(fitting) - 1, 5)))]

    def grow(self) -> None:
        self.values.append(getattr(self, self.draw(st.sampled_from(STEPS)))())

    def conv(self) -> Any:
        x, (n, c, h, w) = self.pick(4)
        k = 3 if min(h, w) > 2 else 1
        out = self.draw(st.sampled_from([2, 4]))
        pads = [k // 2] * 4
        return self.node("Conv", x, self.weight(out, c, k, k), kernel_shape=[k, k], pads=pads), (n, out, h, w)

    def pool(self) -> Any:
        x, (n, c, h, w) = self.pick(4)
        if min(h, w) < 2:
            return self.node("GlobalAveragePool", x), (n, c, 1, 1)
        op = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        return self.node(op, x, kernel_shape=[2, 2], strides=[2, 2]), (n, c, h // 2, w // 2)

    def norm(self) -> Any:
        x, shape = self.pick(4)
        names = [self.weight(shape[1]) for _ in range(4)]
        return self.node("BatchNormalization", x, *names, epsilon=0.1), shape

    def unary(self) -> Any:
        x, shape = self.pick()
        return self.node(self.draw(st.sampled_from(["Relu", "Abs", "Sigmoid"])), x), shape

    def add(self) -> Any:
        x, shape = self.pick()
        same = [v for v, other in self.values if other == shape]
        return self.node("Add", x, self.draw(st.sampled_from(same))), shape

    def scale(self) -> Any:
        x, shape = self.pick()
        low = self.draw(st.integers(0, len(shape) - 1))
        other = tuple(n if self.draw(st.booleans()) else 1 for n in shape)[low:]
        name = self.weight(*other) if self.draw(st.booleans()) else self.constant(np.ones(other) * 2, np.float32)
        return self.node("Mul", *self.draw(st.permutations([x, name]))), shape

    def mean(self) -> Any:
        x, shape = self.pick(4)
        axes = sorted(self.draw(st.sets(st.integers(0, 3), min_size=1, max_size=2)))
        return self.node("ReduceMean", x, self.constant(axes)), tuple(
            1 if i in axes else n for i, n in enumerate(shape)
        )

    def gate(self) -> Any:
        x, shape = self.pick(4)
        return self.node("Mul", x, self.node("GlobalAveragePool", x)), shape

    def join(self) -> Any:
        x, shape = self.pick()
        axis = self.draw(st.integers(0, len(shape) - 1))
        return self.node("Concat", x, x, axis=axis), (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])

    def cut(self) -> Any:
        x, shape = self.pick()
        axis = self.draw(st.integers(0, len(shape) - 1))
        ends = [self.constant([n]) for n in (0, 1, axis)]
        return self.node("Slice", x, *ends), (*shape[:axis], 1, *shape[axis + 1 :])

    def softmax(self) -> Any:
        x, shape = self.pick()
        return self.node("Softmax", x, axis=self.draw(st.integers(0, len(shape) - 1))), shape

    def matmul(self) -> Any:
        x, shape = self.pick()
        return self.node("MatMul", x, self.weight(shape[-1], 3)), (*shape[:-1], 3)

    def turn(self) -> Any:
        x, shape = self.pick()
        common = [(0, 2, 3, 1), (0, 3, 1, 2)] if len(shape) == 4 else [tuple(range(len(shape)))[::-1]]
        perm = self.draw(st.sampled_from(common) | st.permutations(range(len(shape))))
        return self.node("Transpose", x, perm=list(perm)), tuple(shape[i] for i in perm)

    def flat(self) -> Any:
        x, (n, *rest) = self.pick()
        return self.node("Reshape", x, self.constant([0, 1, -1])), (n, 1, prod(rest))

    def merge(self) -> Any:
        x, (a, b, c, d) = self.pick(4)
        to = self.draw(st.sampled_from([(a, b, c * d), (a, b * c, d), (a * b, c, d)]))
        return self.node("Reshape", x, self.constant(to)), to

    def split(self) -> Any:
        x, shape = self.pick()
        axes = [i for i, n in enumerate(shape) if n % 2 == 0]
        if not axes or len(shape) > 4:
            return self.node("Relu", x), shape
        axis = self.draw(st.sampled_from(axes))
        to = (*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :])
        return self.node("Reshape", x, self.constant(to)), to

    def model(self) -> ir.Model:
        def value(name: str, shape: Any) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        inputs = [value(*v) for v in (*self.values[:3], *self.weights)]
        ends = self.values[3:][-3:]
        outputs = [value(*v) for v in dict(ends).items()]
        graph = helper.make_graph(self.nodes, "drawn", inputs, outputs, self.constants)
        made = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10))
        for name, _ in self.weights:
            next(v for v in made.graph.inputs if v.name == name).metadata_props[PARAMETER] = "parameter"
        infer_shapes(made)
        return made

    def feeds(self) -> dict[str, Any]:
        random = np.random.default_rng(0)
        shapes = (*self.values[:3], *self.weights)
        return {name: random.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes}


STEPS = [
    *("conv", "conv", "conv", "pool", "norm", "unary", "add", "add", "scale", "mean", "gate", "join", "cut"),
    *("softmax", "matmul", "turn", "turn", "flat", "merge", "split"),
]


@QUICK
@given(st.data())
def test_any_graph_computes_the_same_in_another_layout(compares, data):
    graphs = Graphs(data.draw)
    for _ in range(data.draw(st.integers(2, 16))):
        graphs.grow()
    model = graphs.model()
    choice = {side: data.draw(st.sampled_from(["last", "first"])) for side in ("inputs", "outputs")}
    compares(model, graphs.feeds(), **choice)


@QUICK
@given(st.data())
def test_no_other_choice_of_forms_needs_fewer_transposes(data):
    """Found by trying all of them, where each site has two forms at most; the cut is proven for those."""
    graphs = Graphs(data.draw)
    for _ in range(data.draw(st.integers(2, 9))):
        graphs.grow()
    graph = graphs.model().graph
    fed = {value: Edge.LAST for value in graph.inputs if PARAMETER not in value.metadata_props}
    plan = planning.make_plan(graph, lambda node: True, fed, dict.fromkeys(graph.outputs, Edge.LAST))
    counts = [len(site.forms) for site in plan.sites]
    assume(prod(counts) <= 5000 and max(counts) <= 2)
    prices = planning._prices(plan)
    best = min(planning._cost(plan, prices, list(chosen)) for chosen in product(*map(range, counts)))
    assert best == planning._cost(plan, prices, plan.chosen)
