"""ONNX models made to harm, or made wrongly: (what it is, the model, a part of the error that names the place)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Case = tuple[str, ModelProto, str]
node = helper.make_node
MANY = 2**40


def value(name: str, dtype: int = 1, shape: Sequence[int | str] | None = ("n", 3)) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def array(values: object, name: str = "w") -> TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def graph(nodes: Iterable[NodeProto], inputs: Iterable[ValueInfoProto], *outputs: str) -> GraphProto:
    return helper.make_graph(list(nodes), "inner", list(inputs), [value(name, shape=None) for name in outputs])


def model(
    *nodes: NodeProto,
    inputs: Iterable[ValueInfoProto] = (value("x"),),
    outputs: Iterable[ValueInfoProto] = (value("y", shape=None),),
    held: Iterable[TensorProto] = (),
    opsets: dict[str, int] | None = None,
    functions: Iterable[FunctionProto] = (),
) -> ModelProto:
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(held))
    imports = [helper.make_opsetid(*item) for item in ({"": 21} if opsets is None else opsets).items()]
    return helper.make_model(made, opset_imports=imports, ir_version=10, functions=list(functions))


def relu(**changes: object) -> ModelProto:
    """A model that is right but for fields that are set as `changes` say."""
    made = model(node("Relu", ["x"], ["y"], name="n"))
    for name, what in changes.items():
        setattr(made, name, what)
    return made


def tensor(dtype: int = 1, dims: Sequence[int] = (3,), **data: object) -> ModelProto:
    return model(node("Add", ["x", "w"], ["y"]), held=[TensorProto(name="w", data_type=dtype, dims=dims, **data)])


def attribute(**changes: object) -> ModelProto:
    made = model(node("Softmax", ["x"], ["y"], name="n", axis=1))
    for name, what in changes.items():
        setattr(made.graph.node[0].attribute[0], name, what)
    return made


def function(name: str, *nodes: NodeProto, opset: int = 21) -> FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a"], ["b"], list(nodes), imports)


def calling(*functions: FunctionProto, name: str = "F") -> ModelProto:
    return model(node(name, ["x"], ["y"], domain="f"), functions=functions, opsets={"": 21, "f": 1})


def call(name: str, source: str = "a", target: str = "b") -> NodeProto:
    return node(name, [source], [target], domain="f")


def bomb(depth: int = 40, opset: int = 21) -> ModelProto:
    """Each function calls the one before twice."""
    doubled = [
        function(f"F{i}", call(f"F{i - 1}", "a", "m"), call(f"F{i - 1}", "m"), opset=opset) for i in range(1, depth)
    ]
    return calling(function("F0", node("Relu", ["a"], ["b"]), opset=opset), *doubled, name=f"F{depth - 1}")


def deep(depth: int) -> ModelProto:
    """If in If."""
    inner = graph([node("Relu", ["x"], ["o"])], [], "o")
    for i in range(depth):
        other = graph([node("Identity", ["x"], [f"e{i}"])], [], f"e{i}")
        inner = graph([node("If", ["c"], [f"o{i}"], then_branch=inner, else_branch=other)], [], f"o{i}")
    made = node("If", ["c"], ["y"], then_branch=inner, else_branch=graph([node("Identity", ["x"], ["e"])], [], "e"))
    return model(made, inputs=[value("x"), value("c", 9, [])])


def body(op: str, inner: GraphProto, **attributes: object) -> ModelProto:
    held = [array(np.int64(3), "m"), array(True, "c")]
    taken = {"If": ["c"], "Loop": ["m", "", "x"], "Scan": ["x"]}[op]
    names = ["then_branch", "else_branch"] if op == "If" else ["body"]
    return model(node(op, taken, ["y"], name="n", **dict.fromkeys(names, inner), **attributes), held=held)


def odd(op: str, *arrays: object, shape: Sequence[int | str] = (1, 4, 8, 8), **attributes: object) -> ModelProto:
    """One node with constants behind its first input."""
    held = [array(a, f"w{i}") for i, a in enumerate(arrays)]
    made = node(op, ["x", *(t.name for t in held)], ["y"], name="n", **attributes)
    return model(made, inputs=[value("x", 1, shape)], held=held)


def of_constants(op: str, *arrays: object, **attributes: object) -> ModelProto:
    """One node that reads constants alone, and so could be computed when the model is read."""
    held = [array(a, f"w{i}") for i, a in enumerate(arrays)]
    made = [
        node(op, [t.name for t in held], ["k"], name="n", **attributes),
        node("ReduceSum", ["k"], ["r"], keepdims=0),
    ]
    return model(*made, node("Cast", ["r"], ["f"], to=1), node("Add", ["x", "f"], ["y"]), held=held)


def structure() -> Iterator[Case]:
    """Names and the order of nodes."""
    add = node("Add", ["x", "b"], ["a"], name="first")
    yield "a circle", model(add, node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])), "circle: .*'first'"
    yield "a node that reads itself", model(node("Add", ["x", "y"], ["y"])), r"circle: node 0 \(Add\)"
    yield "a name that nothing gives", model(node("Add", ["x", "w"], ["y"], name="n")), "'n'.*reads 'w'"
    yield "an output that nothing gives", model(node("Relu", ["x"], ["a"])), "output 'y' is given by no"
    yield "two nodes with one output", model(*[node("Relu", ["x"], ["y"])] * 2), "gives 'y', which is given already"
    yield "a node that gives an input", model(node("Relu", ["x"], ["x"])), "gives 'x', which is given already"
    yield "one name twice in a node", model(node("TopK", ["x", "x"], ["y", "y"])), "gives 'y', which is given"
    yield "two inputs of one name", model(node("Relu", ["x"], ["y"]), inputs=[value("x")] * 2), "two inputs .* 'x'"
    twice = model(node("Add", ["x", "w"], ["y"]), held=[array(np.float32(1))] * 2)
    yield "two initializers of one name", twice, "two initializers are called 'w'"
    yield "an input without a name", model(node("Relu", [""], ["y"]), inputs=[value("")]), "no name"
    yield "no output", model(node("Relu", ["x"], ["y"]), outputs=[]), "no outputs"
    yield "an input without a type", model(node("Relu", ["x"], ["y"]), inputs=[ValueInfoProto(name="x")]), "no type"
    inner = graph([node("Relu", ["nowhere"], ["o"])], [], "o")
    yield "a name that nothing gives in a body", body("If", inner), "_branch: node 0.*'nowhere'"
    circle = graph([node("Add", ["x", "o"], ["a"]), node("Relu", ["a"], ["o"])], [], "o")
    yield "a circle in a body", body("If", circle), "_branch: .*circle"


def versions() -> Iterator[Case]:
    """What the model says of itself."""
    yield "no opset", model(node("Relu", ["x"], ["y"]), opsets={}), "names no opset"
    yield "opset 0", model(node("Relu", ["x"], ["y"]), opsets={"": 0}), "'ai.onnx' is said to be 0"
    yield "a negative opset", model(node("Relu", ["x"], ["y"]), opsets={"": -1}), "is said to be -1"
    yield "an opset of the future", model(node("Relu", ["x"], ["y"]), opsets={"": 99}), "opset 99; .* up to"
    yield "an opset beyond 32 bits", model(node("Relu", ["x"], ["y"]), opsets={"": 2**62}), f"opset {2**62}"
    other = model(node("Relu", ["x"], ["y"]), opsets={"ai.onnx.ml": 3})
    yield "no opset of the default domain", other, "names no opset of the domain 'ai.onnx'"
    twice = model(node("Relu", ["x"], ["y"]))
    twice.opset_import.add(domain="ai.onnx", version=13)
    yield "two opsets of one domain", twice, "is said to be 13 and 21"
    yield "no IR version", relu(ir_version=0), "IR version 0"
    yield "an IR version of the future", relu(ir_version=2**40), f"IR version {2**40}"


def nodes() -> Iterator[Case]:
    """Nodes that don't fit their operator."""
    yield "too few inputs", model(node("Add", ["x"], ["y"], name="n")), r"'n' \(Add\): input 1 is left out"
    yield "too many inputs", model(node("Relu", ["x"] * 3, ["y"], name="n")), "'n'.*3 inputs; Relu takes 1"
    yield "an empty input", model(node("Relu", [""], ["y"])), "input 0 is left out"
    yield "too many outputs", model(node("Relu", ["x"], ["y", "z"])), "has 2 outputs"
    yield "no outputs", model(node("Relu", ["x"], []), node("Relu", ["x"], ["y"])), "has 0 outputs"
    yield "no operator", model(node("", ["x"], ["y"])), "no operator"
    yield "an unknown operator", model(node("Whirl", ["x"], ["y"], name="n")), "(?s)no lowering.*Whirl.* n"
    yield "a domain that is not imported", model(node("Whirl", ["x"], ["y"], domain="made.up")), "made.up::Whirl"
    yield "an attribute of another type", model(node("Softmax", ["x"], ["y"], axis="one")), "'axis' is STRING"
    yield "an attribute that is missing", model(node("Cast", ["x"], ["y"])), "Cast wants an attribute 'to'"
    yield "an attribute too much", model(node("Relu", ["x"], ["y"], colour=3)), "no attribute 'colour'"
    twice = attribute()
    twice.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    yield "an attribute twice", twice, "two of its attributes"
    yield "an attribute that holds something else", attribute(type=7), "'axis' does not hold what its type says"
    yield "an attribute of no type", attribute(type=0), "'axis' does not hold"
    referring = attribute()
    referring.graph.node[0].attribute[0].ClearField("i")
    referring.graph.node[0].attribute[0].ref_attr_name = "axis"
    yield "a reference to no function's attribute", referring, "refers to a function's"
    yield "a Constant without a value", model(node("Constant", [], ["k"]), node("Add", ["x", "k"], ["y"])), "Constant"
    lying = model(node("Constant", [], ["k"], value=array([1.0])), node("Add", ["x", "k"], ["y"]))
    lying.graph.node[0].attribute[0].t.dims[0] = 2**50
    yield "a Constant that lies about its size", lying, "attribute 'value': tensor 'w'"
    yield "a cast to no dtype", model(node("Cast", ["x"], ["y"], to=99)), "Cast"
    yield "a permutation of other axes", odd("Transpose", perm=[5, 6, 7, 8]), "'n' \\(Transpose\\)"
    yield "an axis that is not there", odd("Concat", axis=9), "'n' \\(Concat\\): axis"
    yield "strides of 0", odd("MaxPool", kernel_shape=[2, 2], strides=[0, 0]), "'n' \\(MaxPool\\)"
    yield "blocks of 0", odd("DepthToSpace", blocksize=0), "'n' \\(DepthToSpace\\)"
    yield "no parts", odd("Split", num_outputs=0), "'n' \\(Split\\)"
    yield "a trillion parts", odd("Split", num_outputs=MANY), "'num_outputs' is 1099511627776"
    yield "an axis beyond all", odd("Gather", np.int64([0]), axis=2**62), "'n' \\(Gather\\)|Gather 'n'"
    yield "operands of two dtypes", odd("Add", np.int64([1])), "'n' \\(Add\\)"
    yield "shapes that don't go together", odd("Add", np.float32([1, 2, 3])), "'n' \\(Add\\)"


def bodies() -> Iterator[Case]:
    """If, Loop and Scan whose graphs take or give another number of values."""
    empty, one = graph([], []), graph([node("Relu", ["q"], ["o"])], [value("q")], "o")
    yield "a branch that gives nothing", body("If", empty), "it has to take 0 and give 1"
    yield "a branch with an input", body("If", one), "it has to take 0 and give 1"
    yield "a loop whose body takes one value", body("Loop", one), "it has to take 3 and give 2"
    yield "a scan over 500 inputs of one", body("Scan", one, num_scan_inputs=500), "num_scan_inputs is 500"


def functions() -> Iterator[Case]:
    """Functions that call, read or give what can't be."""
    yield "a function that calls itself", calling(function("F", call("F"))), "circle: f::F -> f::F"
    mutual = calling(function("F", call("G")), function("G", call("F")))
    yield "functions that call each other", mutual, "circle: f::F -> f::G -> f::F"
    yield "a billion calls", bomb(), "so often that 5.*e.11 nodes"
    yield "a billion calls in an older opset", bomb(opset=18), "so often that"
    chain = [function(f"F{i}", call(f"F{i - 1}")) for i in range(1, 3000)]
    yield (
        "functions without end",
        calling(function("F0", node("Relu", ["a"], ["b"])), *chain, name="F2999"),
        "deeper than",
    )
    once = function("F", node("Relu", ["a"], ["b"]))
    yield "two functions of one name", calling(once, once), "two functions are called f::F"
    wide = calling(once)
    wide.graph.node[0].input.extend(["x", "x"])
    yield "a call with too many inputs", wide, "takes 1 inputs .* here it has 3"
    yield "a function that reads nothing's", calling(function("F", node("Relu", ["z"], ["b"]))), "f::F: .*'z'"
    yield "a function that gives nothing", calling(function("F", node("Relu", ["a"], ["q"]))), "f::F: its output 'b'"
    circle = function("F", node("Add", ["a", "c"], ["b"]), node("Relu", ["b"], ["c"]))
    yield "a circle in a function", calling(circle), "f::F: .*circle"


def tensors() -> Iterator[Case]:
    """Types, and initializers whose data is not what they say."""
    yield "bytes too few", tensor(dims=[1000], raw_data=bytes(12)), r"'w' of shape \[1000\] has 12 bytes"
    yield "numbers too few", tensor(dims=[1000], float_data=[1, 2]), "'w' .* has 2 numbers"
    yield "numbers too few by far", tensor(dims=[MANY], float_data=[1]), "'w' .* has 1 numbers"
    yield "no data", tensor(dims=[MANY]), "'w' .* has 0 numbers"
    yield "a product of sizes beyond 64 bits", tensor(dims=[2**62, 4], raw_data=b""), "'w' .* has 0 bytes"
    yield "a negative size", tensor(dims=[-3], float_data=[1, 2, 3]), "'w' has a size of -3"
    yield "a dtype that is none", tensor(99, raw_data=bytes(12)), "'w' has the dtype 99"
    yield "a dtype that is not said", tensor(0, raw_data=bytes(12)), "'w' has the dtype 0"
    untyped = model(node("Relu", ["x"], ["y"]), inputs=[value("x", 99)])
    yield "an input of no dtype", untyped, "'x' has the dtype 99"
    large = model(node("Relu", ["x"], ["y"]), inputs=[value("x", 1, [2**60, 2**60])])
    yield "an input that no memory holds", large, r"'x' has the shape \[.*no memory holds"
    sparse = model(node("Add", ["x", "w"], ["y"]))
    sparse.graph.sparse_initializer.add(values=array([1.0]), indices=array([1], "i"), dims=[2**50])
    yield "a sparse initializer", sparse, "sparse"
    mapped = relu()
    mapped.graph.input[0].type.map_type.key_type = 7
    yield "a map", mapped, "'x' is a map"
    outside = model(node("Add", ["x", "w"], ["y"]), held=[TensorProto(name="w", data_type=1, dims=[3])])
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    outside.graph.initializer[0].external_data.add(key="location", value="/etc/hostname")
    yield "data outside its folder", outside, "tensor 'w' keeps its data in"
    within = model(node("Constant", [], ["w"], value=outside.graph.initializer[0]), node("Add", ["x", "w"], ["y"]))
    yield "a constant's data outside its folder", within, "tensor 'w' keeps its data in"


def values() -> Iterator[Case]:
    """Nodes that would make more than any memory holds."""
    yield "zeros without end", of_constants("ConstantOfShape", np.int64([2**62, 2**62])), "'k' would have the shape"
    many = "abcd,bd->" + "abcd" * 500
    yield "a product of sizes beyond a float", odd("Einsum", np.ones((4, 8), np.float32), equation=many), "e\\+1204 el"
    yield "a copy without end", of_constants("Expand", np.float32([1]), np.int64([MANY, 4])), "no memory holds"
    yield "a product of sizes that overflows", odd("Reshape", np.int64([2**62, 2**62])), "'n' \\(Reshape\\)"


def metadata() -> Iterator[Case]:
    """What our own exporter keeps of the author's modules, written by somebody else."""
    torn, huge = relu(), relu()
    torn.metadata_props.add(key="zoo.modules", value="{torn")
    yield "a torn module tree", torn, "zoo.modules.* is no module tree"
    linear = ["torch.nn.modules.linear.Linear", {"in_features": MANY, "out_features": MANY}]
    huge.metadata_props.add(key="zoo.modules", value=json.dumps({"": "M", "fc": linear}))
    yield "a module without end", huge, "'fc'"
    code = relu()
    name = f'a", 0) or {INJECTED} or getattr(self, "a'
    for key, texts in (("name_scopes", ["", name, "n"]), ("class_hierarchy", ["M", "torch.nn.ReLU", "n"])):
        code.graph.node[0].metadata_props.add(key=f"pkg.torch.onnx.{key}", value=repr(texts))
    yield "a module that is a program", code, "can't be written as Python's source"


INJECTED = '__import__("os").environ.update(ZOO_INJECTED="1")'


def every() -> list[Case]:
    """All that have to be refused."""
    groups = (structure, versions, nodes, bodies, functions, tensors, values, metadata)
    return [case for group in groups for case in group()]


def harmless() -> Iterator[tuple[str, ModelProto]]:
    """Odd, and still what a model may be; none may cost much to be read and converted."""
    yield "nodes in the wrong order", model(node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"]))
    yield "sizes of -1", model(node("Relu", ["x"], ["y"]), inputs=[value("x", 1, [-1, 3])])
    yield (
        "the default domain by its long name",
        model(node("Relu", ["x"], ["y"], domain="ai.onnx"), opsets={"ai.onnx": 21}),
    )
    yield "an input that nobody reads", model(node("Relu", ["x"], ["y"]), inputs=[value("x"), value("z")])
    yield "an output's wrong type", model(node("Relu", ["x"], ["y"]), outputs=[value("y", 7, [5, 5])])
    yield "zeros that are many", of_constants("ConstantOfShape", np.int64([2**20, 2**12]))
    lying = of_constants("ConstantOfShape", np.int64([2**20, 2**12]))
    lying.graph.value_info.append(value("k", 1, [1]))
    yield "zeros that are said to be few", lying
    yield "a range that is long", of_constants("Range", np.int64(0), np.int64(2**38), np.int64(1))
    yield "a range as long as an input is large", model(
        node("Shape", ["x"], ["s"]), node("ReduceProd", ["s"], ["p"], keepdims=0),
        node("Range", ["z", "p", "o"], ["r"]),
        node("Cast", ["r"], ["y"], to=6), inputs=[value("x", 1, [2**20, 2**19])],
        held=[array(np.int64(0), "z"), array(np.int64(1), "o")]
    )  # fmt: skip
    yield "a range by steps of 0", of_constants("Range", np.int64(0), np.int64(9), np.int64(0))
    yield "a copy that is large", of_constants("Expand", np.float32([1]), np.int64([2**20, 2**14]))
    yield "tiles that are many", of_constants("Tile", np.float32([1]), np.int64([2**34]))
    yield "padding that is large", of_constants("Pad", np.float32([1]), np.int64([0, 2**34]))
    yield "classes that are many", of_constants("OneHot", np.int64([1]), np.int64(2**34), np.float32([0, 1]))
    yield "a window that is long", of_constants("HannWindow", np.int64(2**34))
    yield (
        "an image that is large",
        of_constants("Resize", np.ones((1, 1, 2, 2), np.float32), np.float32([]), np.float32([1, 1, 1e4, 1e4])),
    )
    outer = np.ones((60_000, 1), np.float32), np.ones((1, 60_000), np.float32)
    yield "a product that is large", of_constants("MatMul", *outer)
    yield "a member that is not there", of_constants("Gather", np.float32([1]), np.int64(7))
    yield "a division by zero", of_constants("Div", np.int64([1]), np.int64([0]))
    doubled = [node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(35)]
    yield (
        "a vector doubled 35 times",
        model(
            *doubled,
            node("ReduceSum", ["c35"], ["r"], keepdims=0),
            node("Add", ["x", "r"], ["y"]),
            held=[array(np.float32([1, 2]), "c0")],
        ),
    )
    made = [node("ConstantOfShape", ["s"], [f"k{i}"]) for i in range(300)]
    yield "300 times 16 MB of zeros", model(
        *made, node("Sum", ["x", *(f"k{i}" for i in range(300))], ["y"]),
        inputs=[value("x", 1, ["n", 4_000_000])], held=[array(np.int64([1, 4_000_000]), "s")]
    )  # fmt: skip
    squares = [node("Shape", ["x"], ["s0"]), *(node("Mul", [f"s{i}"] * 2, [f"s{i + 1}"]) for i in range(12))]
    yield "sizes beyond 64 bits", model(
        *squares, node("ReduceProd", ["s12"], ["p"], keepdims=0), node("Cast", ["p"], ["f"], to=1),
        node("Add", ["x", "f"], ["y"]), inputs=[value("x", 1, [7, 3])]
    )  # fmt: skip
    inner = graph([node("Identity", ["c"], ["d"]), node("Relu", ["s"], ["t"])], [], "d", "t")
    inner.input.extend([value("i", 7, []), value("c", 9, []), value("s")])
    inner.output[0].type.tensor_type.elem_type = 9
    endless = node("Loop", ["m", "", "x"], ["y"], body=inner)
    yield "a loop without end", model(endless, held=[array(np.int64(2**62), "m")])
    yield "graphs in graphs", deep(20)
    yield from names()


def names() -> Iterator[tuple[str, ModelProto]]:
    """Names that mean something in torch or in Python."""
    code = f'a", 0) or {INJECTED} or getattr(self, "a'
    odd_names = ["..", ".", "a..b", "forward", "self", "class", "a.forward", "state_dict", "a b", "λ", "x.", "training"]
    odd_names += [
        "0",
        "weight\n",
        'say "x"',
        "back\\slash",
        "a/b:0",
        "a=",
        "a~",
        "a.b",
        "a",
        "_parameters",
        "%22=",
        code,
    ]
    yield (
        "parameters of odd names",
        model(
            *(node("Add", [f"t{i}", name], [f"t{i + 1}"]) for i, name in enumerate(odd_names)),
            inputs=[value("t0")],
            outputs=[value(f"t{len(odd_names)}", shape=None)],
            held=[array(np.float32([i, i, i + 1]), name) for i, name in enumerate(odd_names)],
        ),
    )
    inputs = ["a/b", "a.b", "a b", "self", "class", "1", "forward", "x\n'\"", "λ", f'")\n{INJECTED}\n("']
    yield (
        "inputs of odd names",
        model(
            node("Sum", inputs, ["import 'os'\n"]),
            inputs=[value(name) for name in inputs],
            outputs=[value("import 'os'\n", shape=None)],
        ),
    )
