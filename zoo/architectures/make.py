"""Make the weightless graphs: publisher's module -> exported, canonical, checked against the module -> data file.

    python -m zoo.architectures.make                     all of recipes.yaml that are not there yet
    python -m zoo.architectures.make timm/resnet50       these

Run by hand, where the publishers' packages are installed; nothing else in Polyzoo needs them. A released file is never
made again under its name (SHA256SUMS and a test hold its digest): another export is another name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import onnxscript
import torch
import yaml
from onnxscript import opset23 as op

from zoo.architectures import make_keras
from zoo.converters import graph as g
from zoo.converters.bind import bind
from zoo.converters.canonical import canonical
from zoo.converters.scopes import adopt
from zoo.converters.writers.onnx.writer import write as to_onnx

HERE = Path(__file__).parent
MAX_BYTES = 64 * 1024
TRACED_OPSET = 20  # the newest that torch's older exporter writes


class Source(NamedTuple):
    """A publisher's module, what to show it, and which sizes of that are free."""

    module: torch.nn.Module
    kwargs: dict[str, torch.Tensor]
    free: dict[str, dict[int, str]]
    outputs: list[str]
    package: str


def build(name: str, recipe: Mapping[str, Any]) -> Source:
    """The module of an architecture with seeded random weights, in inference mode."""
    torch.manual_seed(0)
    publisher, model = name.split("/")
    return settled(BUILDERS[publisher](model, recipe))


def settled(source: Source) -> Source:
    """The same in inference mode, with weights and statistics that hide nothing of what is computed."""
    source.module.eval()
    for parameter in source.module.parameters():  # a head that starts at zero would hide everything before it
        if not parameter.any():
            parameter.data.normal_(std=0.02)
    for module in source.module.modules():  # statistics that a batch norm would really have
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return source


def _image(module: torch.nn.Module, recipe: Mapping[str, Any], argument: str, package: str) -> Source:
    size = recipe["size"]
    free = {0: "batch"} | {i: n for i, n in ((2, "height"), (3, "width")) if n in recipe.get("free", ())}
    return Source(module, {argument: torch.randn(2, 3, size, size)}, {argument: free}, ["logits"], package)


def _torchvision(model: str, recipe: Mapping[str, Any]) -> Source:
    import torchvision

    return _image(torchvision.models.get_model(model, weights=None), recipe, "x", "torchvision")


def _timm(model: str, recipe: Mapping[str, Any]) -> Source:
    import timm

    return _image(timm.create_model(model, pretrained=False), recipe, "x", "timm")


def _hf(model: str, recipe: Mapping[str, Any]) -> Source:
    import transformers

    cls = getattr(transformers, recipe["class"])
    module = cls(cls.config_class(**recipe["config"]), **recipe.get("arguments", {}))
    ids = torch.randint(5, 1000, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    examples = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    kwargs = {name: examples[name] for name in recipe["inputs"]}
    outputs = list(module.eval()(**kwargs).keys())
    if under := recipe.get("under"):
        module = Under(under, module)
    return Source(module, kwargs, {name: {0: "batch", 1: "sequence"} for name in kwargs}, outputs, "transformers")


class Under(torch.nn.Module):
    """A module under an attribute, as a published file has it whose other parts (a head for pretraining) are unused."""

    def __init__(self, name: str, module: torch.nn.Module) -> None:
        super().__init__()
        self.add_module(name, module)

    def forward(self, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        """What the module gives."""
        (module,) = self.children()
        kwargs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return module(**{k: v for k, v in kwargs.items() if v is not None})


Builder = Callable[[str, Mapping[str, Any]], Source]
BUILDERS: dict[str, Builder] = {"torchvision": _torchvision, "timm": _timm, "hf": _hf}


# Dropout and stochastic depth are gone from an eval-mode export: while a graph is made, these modules call an operator
# of our own that the exporter can't see through, and that is translated into ONNX's Dropout and zoo::StochasticDepth.


@torch.library.custom_op("zoo::dropout", mutates_args=())
def _dropout(x: torch.Tensor, p: float) -> torch.Tensor:
    return x.clone()


@torch.library.custom_op("zoo::stochastic_depth", mutates_args=())
def _stochastic_depth(x: torch.Tensor, p: float, mode: str) -> torch.Tensor:
    return x.clone()


_dropout.register_fake(lambda x, p: torch.empty_like(x))
_stochastic_depth.register_fake(lambda x, p, mode: torch.empty_like(x))
ZOO = onnxscript.values.Opset(g.DOMAIN, 1)


Schema = onnx.defs.OpSchema
STOCHASTIC_DEPTH = Schema(
    "StochasticDepth",
    g.DOMAIN,
    1,
    doc="Y = X; at training each sample (mode `row`) or the whole batch (`batch`) is dropped with probability p.",
    inputs=[Schema.FormalParameter("X", "T")],
    outputs=[Schema.FormalParameter("Y", "T")],
    type_constraints=[("T", ["tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)"], "")],
    attributes=[Schema.Attribute("p", Schema.AttrType.FLOAT, ""), Schema.Attribute("mode", Schema.AttrType.STRING, "")],
)
onnx.defs.register_schema(STOCHASTIC_DEPTH)  # the exporter looks operators up here


def _dropout_to_onnx(x: Any, p: float) -> Any:
    ratio: Any = op.Constant(value_float=float(p))
    output, _mask = op.Dropout(x, ratio)
    return output


def _stochastic_depth_to_onnx(x: Any, p: float, mode: str) -> Any:
    return ZOO.StochasticDepth(x, p=float(p), mode=mode)


TRANSLATIONS = {
    torch.ops.zoo.dropout.default: _dropout_to_onnx,
    torch.ops.zoo.stochastic_depth.default: _stochastic_depth_to_onnx,
}


@contextmanager
def visible_dropout(root: torch.nn.Module) -> Iterator[None]:
    """While this is open, Dropout, torchvision's StochasticDepth and timm's DropPath call the operators above."""
    changed = []
    for module in root.modules():
        kind = type(module).__name__
        if kind == "Dropout":
            module.forward = lambda x, m=module: torch.ops.zoo.dropout(x, m.p)
        elif kind in ("StochasticDepth", "DropPath"):
            p, mode = (module.p, module.mode) if kind == "StochasticDepth" else (module.drop_prob or 0.0, "row")
            module.forward = lambda x, p=p, mode=mode: torch.ops.zoo.stochastic_depth(x, p, mode)
        else:
            continue
        changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def export(source: Source) -> ir.Model:
    """The module as torch exports it, with its weights."""
    with visible_dropout(source.module):
        program = torch.onnx.export(
            source.module,
            (),
            kwargs=source.kwargs,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=g.STORED_OPSET,
            dynamic_shapes=source.free,
            custom_translation_table=TRANSLATIONS,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave nothing")
    model: ir.Model = program.model
    return model


def export_by_tracing(source: Source) -> ir.Model:
    """The module as torch's older exporter traces it: what torch.export can't take (a detector's choice of boxes)."""
    file = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            source.module,
            tuple(source.kwargs.values()),
            file,
            dynamo=False,
            do_constant_folding=False,
            opset_version=TRACED_OPSET,
            input_names=list(source.kwargs),
        )
    model: ir.Model = ir.from_proto(onnx.load_model_from_string(file.getvalue()))
    return model


def weightless(model: ir.Model, source: Source, name: str) -> ir.Model:
    """The exported model with marked parameters for weights, the author's tree, our metadata and no other."""
    adopt(model)
    module, graph = source.module, model.graph
    graph.name = name
    state, trained = module.state_dict(), dict(module.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    names_of: dict[str, list[str]] = {}
    for key, tensor in module.state_dict(keep_vars=True).items():
        names_of.setdefault(first.setdefault(id(tensor), key), []).append(key)
    exported = dict(graph.initializers)
    for key, names in names_of.items():
        present = next((n for n in names if n in exported), None)
        value = graph.initializers.pop(present) if present else ir.Value(name=key)
        tensor = state[key]
        value.name, value.shape = key, ir.Shape(tensor.shape)
        value.type = ir.TensorType(ir.tensor(tensor).dtype)
        value.const_value = None
        value.metadata_props.clear()
        kind = "parameter" if key in trained else "counter" if key.endswith("num_batches_tracked") else "buffer"
        value.metadata_props[g.PARAMETER] = kind
        if len(names) > 1:
            value.metadata_props[g.TIED] = json.dumps(names[1:])
        graph.inputs.append(value)
    read_parameters(graph, {n: t for n, t in state.items() if n in trained})
    for node in g.all_nodes(graph):
        path = g.module_path(node)
        node.metadata_props.clear()
        if path:
            node.metadata_props[g.PATH] = path
        node.doc_string = None
    for value in (*graph.inputs, *graph.initializers.values(), *(out for n in g.all_nodes(graph) for out in n.outputs)):
        if value is not None and not g.is_parameter(value):
            value.metadata_props.clear()
    model.metadata_props.clear()
    graph.metadata_props.clear()
    model.producer_name = model.producer_version = None
    for output, value in zip(source.outputs, graph.outputs, strict=True):
        value.name = output
    model.metadata_props[g.MODULES] = json.dumps(tree(module), separators=(",", ":"))
    model.metadata_props[g.MADE_BY] = json.dumps(
        {
            "package": f"{source.package} {importlib.metadata.version(source.package)}",
            "exporter": f"torch {torch.__version__.split('+')[0]} torch.onnx.export(dynamo=True)",
            "opset": g.STORED_OPSET,
        }
    )
    add_functions(model)
    return model


def read_parameters(graph: ir.Graph, trained: Mapping[str, torch.Tensor]) -> None:
    """Let what reads the exporter's copy of a parameter read that parameter.

    A parameter that is cloned and changed in place (torchvision's Swin v2, its qkv.bias) is exported as a constant with
    its numbers of that day; seeded random numbers say whose they are.
    """
    inputs = {value.name: value for value in graph.inputs}
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.const_value.size < 2 or not value.const_value.dtype.is_floating_point():
            continue
        array = value.const_value.numpy()
        if (array == array.flat[0]).all():
            continue  # as many layers begin with
        same = [n for n, t in trained.items() if n in inputs and _is_same(t, array)]
        if len(same) == 1:
            value.replace_all_uses_with(inputs[same[0]])
            del graph.initializers[name]


def _is_same(tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> bool:
    return tuple(tensor.shape) == array.shape and np.array_equal(ir.tensor(tensor).numpy(), array)


def tree(module: torch.nn.Module) -> dict[str, Any]:
    """The class of every module by its path; [class, constructor arguments] of a parameterless one of torch.nn."""
    rows: dict[str, Any] = {"": _class(module)}
    for path, child in module.named_modules():
        constants = {k: getattr(child, k) for k in getattr(child, "__constants__", ()) if hasattr(child, k)}
        plain = {k: v for k, v in constants.items() if isinstance(v, (int, float, bool, str, tuple, list))}
        own = type(child).__module__.startswith("torch.nn.") and not list(child.parameters()) and plain
        rows[path] = [_class(child), plain] if own else _class(child)
    return rows


def _class(module: torch.nn.Module) -> str:
    cls = type(module)
    return f"{cls.__module__}.{cls.__qualname__}" if cls is not Under else "torch.nn.modules.module.Module"


def add_functions(model: ir.Model) -> None:
    """The body of our own operator, if the graph uses it: at inference it is an identity."""
    node = next((n for n in g.all_nodes(model.graph) if n.domain == g.DOMAIN), None)
    if node is None:
        return
    x = ir.Value(name="X")
    same = ir.node("Identity", [x])
    same.outputs[0].name = "Y"
    body = ir.Graph([x], same.outputs, nodes=[same], opset_imports={"": g.STORED_OPSET}, name=node.op_type)
    attributes = [ir.Attr(a.name, a.type, None) for a in node.attributes.values()]
    function = ir.Function(g.DOMAIN, node.op_type, graph=body, attributes=attributes)
    model.functions[function.identifier()] = function
    model.opset_imports[g.DOMAIN] = 1


def mark_head_and_stem(model: ir.Model) -> None:
    """HEAD: the module whose weight makes the last matrix product; STEM: the one of the first convolution."""
    readers = [n for n in model.graph if any(v is not None and g.is_parameter(v) for v in n.inputs)]
    last = next((n for n in reversed(readers) if n.op_type in ("Gemm", "Add", "MatMul", "Conv")), None)
    first = next((n for n in readers if n.op_type == "Conv"), None)
    if last is not None and model.graph.outputs[0].name == "logits":
        model.metadata_props[g.HEAD] = g.module_path(last)
    if first is not None:
        model.metadata_props[g.STEM] = g.module_path(first)


def check(model: ir.Model, source: Source) -> float:
    """The largest error of the bound graph in ONNX Runtime against the publisher's module, at sizes not exported."""
    import onnxruntime

    state = {k: v.numpy() for k, v in source.module.state_dict().items()}
    bound = bind(model, {k: ir.tensor(v, name=k) for k, v in state.items()})
    session = onnxruntime.InferenceSession(to_onnx(bound).SerializeToString(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, step in ((1, 0), (3, 1)):
        feeds = {name: _resized(x, batch, step, source.free[name]) for name, x in source.kwargs.items()}
        with torch.no_grad():
            expected = source.module(**feeds)
        expected = list(expected.values()) if isinstance(expected, dict) else [expected]
        got = session.run(None, {k: v.numpy() for k, v in feeds.items()})
        for a, b in zip(expected, got, strict=True):
            scale = float(np.abs(a.numpy()).max())
            worst = max(worst, float(np.abs(a.numpy() - b).max()) / scale)
    return worst


def _resized(x: torch.Tensor, batch: int, step: int, free: Mapping[int, str]) -> torch.Tensor:
    grow = {"height": 64, "width": 32, "sequence": 4}
    shape = [batch, *(n + step * grow.get(free.get(i, ""), 0) for i, n in enumerate(x.shape) if i > 0)]
    if x.is_floating_point():
        return torch.randn(shape)
    return torch.randint(1, 100, shape) if x.max() > 1 else torch.ones(shape, dtype=x.dtype)


def make(name: str, recipe: Mapping[str, Any]) -> Path:
    """One architecture: exported, canonical, checked, written; its digest goes into SHA256SUMS."""
    if name.startswith("keras/"):
        model, error = make_keras.make(name, recipe)
    else:
        source = build(name, recipe)
        model = canonical(weightless(export(source), source, name))
        error = check(model, source)
    mark_head_and_stem(model)
    if error > 1e-4:  # float32 through a hundred layers in another order of summation
        raise SystemExit(f"{name}: the graph differs from the module by {error:.1e}")
    path = HERE / f"{name}.onnx.gz"
    g.save(model, path)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{name}: {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    print(f"{name}: {len(model.graph)} nodes, {path.stat().st_size:,} bytes, relative error {error:.1e}", flush=True)
    return path


def write_sums() -> None:
    """SHA256SUMS: the digest of each architecture, as `sha256sum` prints it."""
    paths = sorted(HERE.glob("*/*.onnx.gz"))
    rows = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(HERE).as_posix()}\n" for p in paths]
    (HERE / "SHA256SUMS").write_text("".join(rows))


def main(names: list[str]) -> None:
    """Make the named architectures, or all that are missing."""
    recipes = yaml.safe_load((HERE / "recipes.yaml").read_text())
    for name in names or [n for n in recipes if not (HERE / f"{n}.onnx.gz").exists()]:
        make(name, recipes[name])
        write_sums()


if __name__ == "__main__":
    main(sys.argv[1:])
