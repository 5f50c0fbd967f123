"""Passes over graphs that nobody wrote: each gives the same outputs, and a second run of it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import RemoveUnusedNodesPass

from zoo.converters import canonical as passes
from zoo.converters.fold import fold_constants, fold_shapes
from zoo.converters.fuse import fuse
from zoo.converters.graph import OPSET

Shape = tuple[int | str, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
MAX_ELEMENTS = 400  # of one sample
IDS = st.integers(0, 10**6)


class Value(NamedTuple):
    """A value of the graph that is being made: float32, of numbers and named free sizes."""

    name: str
    shape: Shape


class Maker:
    """Adds nodes at random, every one of them valid."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.nodes = draw, list[onnx.NodeProto]()
        self.initializers: list[onnx.TensorProto] = []
        self.inputs = [Value("x", ("batch", 3, 4)), Value("z", ("batch", 3, 4)), Value("t", ("batch", "length", 4))]
        self.values = list(self.inputs)

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """The name of the one output of a new node."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """A constant, as a node or as an initializer; the same content may stand there under many names."""
        tensor = numpy_helper.from_array(np.asarray(array, dtype=dtype))
        if self.draw(st.booleans()):
            return self.node("Constant", value=tensor)
        tensor.name = f"c{len(self.initializers)}"
        self.initializers.append(tensor)
        return tensor.name

    def pick(self, where: Callable[[Shape], bool] = lambda shape: True) -> Value:
        """One of the values so far; the first input has a shape that everything takes."""
        fitting = [value for value in self.values if where(value.shape)] or self.inputs[:1]
        return fitting[-1 - self.draw(st.integers(0, len(fitting) - 1))]

    def unary(self) -> Value:
        x = self.pick()
        op_type = self.draw(st.sampled_from(["Relu", "Abs", "Neg", "Tanh", "Sigmoid", "Identity", "Softplus"]))
        return Value(self.node(op_type, x.name), x.shape)

    def binary(self) -> Value:
        x = self.pick()
        y = self.pick(lambda shape: shape == x.shape)
        op_type = self.draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"]))
        names = [x.name, y.name if y.shape == x.shape else x.name]
        return Value(self.node(op_type, *names), x.shape)

    def scaled(self) -> Value:
        x, number = self.pick(), self.draw(st.sampled_from([0.0, 0.5, 1.0, 1.702, 2.0, 3.0, 6.0]))
        op_type = self.draw(st.sampled_from(["Add", "Mul", "Sub"]))
        shape = self.draw(st.sampled_from([(), (1,), (1,) * len(x.shape)]))
        names = [x.name, self.constant(np.full(shape, number))]
        return Value(self.node(op_type, *(names if self.draw(st.booleans()) else names[::-1])), x.shape)

    def known(self) -> Value:
        """Arithmetic over constants, beside a value."""
        x, parts = self.pick(), [self.constant(self.draw(st.sampled_from([1.0, 2.0, 3.0]))) for _ in range(2)]
        number = self.node(self.draw(st.sampled_from(["Add", "Mul", "Div"])), *parts)
        return Value(self.node("Add", x.name, number), x.shape)

    def cast(self) -> Value:
        x = self.pick()
        if self.draw(st.booleans()):
            return Value(self.node("CastLike", x.name, self.constant(1.0)), x.shape)
        return Value(self.node("Cast", x.name, to=TensorProto.FLOAT), x.shape)

    def transposed(self) -> Value:
        x = self.pick()
        perm = self.draw(st.permutations(range(len(x.shape))))
        return Value(self.node("Transpose", x.name, perm=perm), tuple(x.shape[i] for i in perm))

    def sliced(self) -> Value:
        x = self.pick(lambda shape: any(isinstance(n, int) and n > 1 for n in shape))
        axis = self.draw(st.sampled_from([i for i, n in enumerate(x.shape) if isinstance(n, int) and n > 1]))
        size = int(x.shape[axis])
        start, step = self.draw(st.integers(0, size - 1)), self.draw(st.integers(1, 2))
        end = self.draw(st.sampled_from([size, 2**63 - 1, max(size - 1, start + 1)]))
        numbers = [self.constant([n], np.int64) for n in (start, end, axis - len(x.shape), step)]
        length = len(range(size)[start:end:step])
        return Value(self.node("Slice", x.name, *numbers), (*x.shape[:axis], length, *x.shape[axis + 1 :]))

    def concatenated(self) -> Value:
        x = self.pick(lambda shape: any(isinstance(n, int) for n in shape))
        axis = self.draw(st.sampled_from([i for i, n in enumerate(x.shape) if isinstance(n, int)]))
        times = self.draw(st.integers(1, 2))
        shape = (*x.shape[:axis], int(x.shape[axis]) * times, *x.shape[axis + 1 :])
        return Value(self.node("Concat", *[x.name] * times, axis=axis), shape)

    def unsqueezed(self) -> Value:
        x = self.pick(lambda shape: len(shape) < 4)
        axis = self.draw(st.integers(0, len(x.shape)))
        name = self.node("Unsqueeze", x.name, self.constant([axis], np.int64))
        if self.draw(st.booleans()):
            return Value(self.node("Squeeze", name, self.constant([axis], np.int64)), x.shape)
        return Value(name, (*x.shape[:axis], 1, *x.shape[axis:]))

    def reshaped(self) -> Value:
        """To [batch, ...]: the batch is read from the shape, as exporters write it, and the rest is one product."""
        x = self.pick(lambda shape: shape[0] == "batch" and all(isinstance(n, int) for n in shape[1:]))
        shape = self.node("Shape", x.name)
        if self.draw(st.booleans()):
            batch = self.node("Slice", shape, *(self.constant([n], np.int64) for n in (0, 1)))
        else:
            one = self.node("Gather", shape, self.constant(0, np.int64), axis=0)
            batch = self.node("Unsqueeze", one, self.constant([0], np.int64))
        rest = int(np.prod([int(n) for n in x.shape[1:]], dtype=int))
        parts = [n for n in (2, 3, 4) if rest % n == 0 and rest > n]
        tail = [part := self.draw(st.sampled_from(parts)), rest // part] if parts else [rest]
        given = self.draw(st.sampled_from([tail, [*tail[:-1], -1]]))
        target = self.node("Concat", batch, self.constant(given, np.int64), axis=0)
        return Value(self.node("Reshape", x.name, target), ("batch", *tail))

    def split(self) -> Value:
        """The last axis as two, every other size read from the shape: there may be several that are free."""
        x = self.pick(lambda shape: isinstance(shape[-1], int) and shape[-1] % 2 == 0 and len(shape) < 4)
        lead = self.node("Slice", self.node("Shape", x.name), *(self.constant([n], np.int64) for n in (0, -1)))
        target = self.node("Concat", lead, self.constant([2, int(x.shape[-1]) // 2], np.int64), axis=0)
        return Value(self.node("Reshape", x.name, target), (*x.shape[:-1], 2, int(x.shape[-1]) // 2))

    def merged(self) -> Value:
        """All axes but the last as one; and perhaps back, by the shape that it had."""
        x = self.pick(lambda shape: isinstance(shape[-1], int))
        flat = self.node("Reshape", x.name, self.constant([-1, x.shape[-1]], np.int64))
        if self.draw(st.booleans()):
            return Value(flat, (flat, int(x.shape[-1])))
        shape = self.node("Shape", x.name)
        sizes = [self.node("Gather", shape, self.constant([i], np.int64), axis=0) for i in range(len(x.shape))]
        return Value(self.node("Reshape", flat, self.node("Concat", *sizes, axis=0)), x.shape)

    def expanded(self) -> Value:
        x = self.pick()
        return Value(self.node("Expand", x.name, self.node("Shape", x.name)), x.shape)

    def padded(self) -> Value:
        x = self.pick()
        pads = [0] * 2 * len(x.shape)
        return Value(self.node("Pad", x.name, self.constant(pads, np.int64)), x.shape)

    def branched(self) -> Value:
        """An If whose condition is known, and whose branches read from outside."""
        x, out = self.pick(), f"b{len(self.nodes)}"
        branches = {}
        for name, op_type in (("then_branch", "Neg"), ("else_branch", "Abs")):
            info = helper.make_tensor_value_info(f"{out}_{name}", TensorProto.FLOAT, list(x.shape))
            nodes = [helper.make_node(op_type, [x.name], [f"{out}_{name}"], name=f"{out}_{name}")]
            branches[name] = helper.make_graph(nodes, f"{out}_{name}", [], [info])
        return Value(self.node("If", self.constant(self.draw(st.booleans()), np.bool_), **branches), x.shape)

    # what the fusions look for

    def gelu(self) -> Value:
        x, half, one = self.pick(), self.constant(0.5), self.constant(1.0)
        if self.draw(st.booleans()):
            inner = self.node("Erf", self.node("Div", x.name, self.constant(2**0.5)))
        else:
            cube = self.node("Pow", x.name, self.constant(3.0))
            total = self.node("Add", x.name, self.node("Mul", cube, self.constant(0.044715)))
            inner = self.node("Tanh", self.node("Mul", total, self.constant((2 / np.pi) ** 0.5)))
        factors = self.draw(st.permutations([x.name, half, self.node("Add", inner, one)]))
        return Value(self.node("Mul", self.node("Mul", *factors[:2]), factors[2]), x.shape)

    def gated(self) -> Value:
        x = self.pick()
        if self.draw(st.booleans()):
            gate = self.node("Sigmoid", x.name)
        else:
            bounds = [self.constant(n) for n in (0.0, 6.0)]
            clipped = self.node("Clip", self.node("Add", x.name, self.constant(3.0)), *bounds)
            gate = self.node("Div", clipped, self.constant(6.0))
        return Value(self.node("Mul", *self.draw(st.permutations([x.name, gate]))), x.shape)

    def norm(self) -> Value:
        x = self.pick(lambda shape: isinstance(shape[-1], int))
        axes, two = self.constant([-1], np.int64), self.constant(2.0)
        centred = self.draw(st.booleans())
        d = self.node("Sub", x.name, self.node("ReduceMean", x.name, axes)) if centred else x.name
        mean = self.node("ReduceMean", self.node("Pow", d, two), axes)
        root = self.node("Sqrt", self.node("Add", mean, self.constant(0.1)))
        out = self.node("Div", d, root)
        for op_type in ("Mul", "Add"):
            if self.draw(st.booleans()):
                out = self.node(op_type, out, self.constant(np.linspace(-1, 1, int(x.shape[-1]))))
        return Value(out, x.shape)

    def attention(self) -> Value:
        x = self.pick(lambda shape: len(shape) in (3, 4))
        x = Value(self.node("Tanh", x.name), x.shape)
        perm = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        scores = self.node("MatMul", x.name, self.node("Transpose", x.name, perm=perm))
        scores = self.node("Mul", scores, self.constant(self.draw(st.sampled_from([0.5, 1.0]))))
        return Value(self.node("MatMul", self.node("Softmax", scores, axis=-1), x.name), x.shape)

    def add(self) -> None:
        """One more value, unless it is too large."""
        made = self.draw(st.sampled_from(STEPS))(self)
        if np.prod([n for n in made.shape if isinstance(n, int)], dtype=int) <= MAX_ELEMENTS:
            self.values.append(made)

    def model(self) -> onnx.ModelProto:
        """The graph so far; one to three of its values are its outputs, and the rest may be read by nobody."""
        made = [value for value in self.values if value not in self.inputs] or [self.unary()]
        outputs = [made[-1]]
        outputs += [v for v in self.draw(st.lists(st.sampled_from(made), max_size=2, unique=True)) if v != made[-1]]

        def info(value: Value) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, list(value.shape))

        graph = helper.make_graph(
            self.nodes,
            "made",
            [info(v) for v in self.inputs],
            [info(v) for v in outputs],
            initializer=self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


STEPS: tuple[Callable[[Maker], Value], ...] = (
    *(Maker.unary, Maker.binary, Maker.scaled, Maker.known, Maker.cast, Maker.transposed, Maker.sliced),
    *(
        Maker.concatenated,
        Maker.unsqueezed,
        Maker.reshaped,
        Maker.split,
        Maker.merged,
        Maker.expanded,
        Maker.padded,
        Maker.branched,
    ),
    *(Maker.gelu, Maker.gated, Maker.norm, Maker.attention),
)


@st.composite
def models(draw: Draw) -> onnx.ModelProto:
    """Graphs of one to ten steps over three inputs with a free batch, one of them of a free length."""
    maker = Maker(draw)
    for _ in range(draw(st.integers(1, 10))):
        maker.add()
    model = maker.model()
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, batch: int) -> list[Any]:
    rng = np.random.default_rng(0)
    lengths = {"x": 3, "z": 3, "t": 5}
    feeds = {name: rng.uniform(-1, 1, (batch, n, 4)).astype(np.float32) for name, n in lengths.items()}
    outputs: list[Any] = ReferenceEvaluator(model).run(None, feeds)
    return outputs


def inferred(apply: Callable[[ir.Model], object]) -> Callable[[ir.Model], ir.Model]:
    """A single pass, as `canonical` calls it: types and shapes are known before, and dead nodes go afterwards."""

    def run_pass(model: ir.Model) -> ir.Model:
        passes.infer_shapes(model)
        apply(model)
        RemoveUnusedNodesPass()(model)
        return model

    return run_pass


PASSES: dict[str, Callable[[ir.Model], ir.Model]] = {
    "canonical": passes.canonical,
    "canonical, then fuse": lambda model: fuse(passes.canonical(model)),
    "fuse": inferred(fuse),
    "fold_constants": inferred(fold_constants),
    "fold_shapes": inferred(lambda model: (fold_constants(model), passes.infer_shapes(model), fold_shapes(model))),
    "cast_like": inferred(passes.cast_like),
    "drop_no_ops": inferred(passes.drop_no_ops),
    "drop_zero_biases": inferred(passes.drop_zero_biases),
    "take_branches": inferred(lambda model: (fold_constants(model), passes.take_branches(model))),
}
QUICK = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", PASSES)
@QUICK
@given(model=models())
def test_a_pass_does_not_change_what_is_computed(name: str, model: onnx.ModelProto) -> None:
    after = ir.to_proto(PASSES[name](ir.from_proto(model)))
    onnx.checker.check_model(after)
    for batch in (1, 3):
        for expected, got in zip(run(model, batch), run(after, batch), strict=True):
            assert (expected.shape, expected.dtype) == (got.shape, got.dtype)
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))  # of sums that are taken in another order
            np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["canonical", "canonical, then fuse"])
@QUICK
@given(model=models())
def test_a_second_run_changes_nothing(name: str, model: onnx.ModelProto) -> None:
    def data(model: ir.Model) -> bytes:
        return ir.to_proto(model).SerializeToString(deterministic=True)

    once = PASSES[name](ir.from_proto(model))
    first = data(once)
    twice = fuse(once) if "fuse" in name else passes.canonical(once)
    assert first == data(twice)
