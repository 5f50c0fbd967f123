"""What torch exports of its recurrent modules becomes one node again, and that node torch's module."""

from __future__ import annotations

import io

import onnx
import onnx_ir as ir
import pytest

import zoo
from zoo.converters.bind import bind, detach
from zoo.converters.canonical import canonical
from zoo.converters.fuse import fuse
from zoo.converters.graph import DOMAIN

torch = pytest.importorskip("torch")
nn = torch.nn


class Tagger(nn.Module):
    """A recurrent module with something before and behind it."""

    def __init__(self, cls, reads="y", **options):
        super().__init__()
        self.encoder = nn.ModuleDict({"rnn": cls(4, 3, **options)})
        self.head = nn.Linear(6 if options.get("bidirectional") else 3, 2)
        self.reads = reads

    def forward(self, x, *states):
        given = states if len(states) != 1 else states[0]
        y, last = self.encoder["rnn"](x * 2, *([given] if states else []))
        outputs = {"y": [self.head(y)], "states": list(last if isinstance(last, tuple) else (last,))}
        outputs["last"] = [s[-1] for s in outputs["states"]]
        return tuple(t for name in self.reads.split() for t in outputs[name])


def exported(module, inputs, *, dynamo=True, free=()):
    buffer = io.BytesIO()
    options = {"dynamic_shapes": free} if free else {}
    if dynamo:
        torch.onnx.export(module, inputs, dynamo=True, optimize=False, verbose=False, **options).save(buffer)
    else:
        torch.onnx.export(module, inputs, buffer, dynamo=False, do_constant_folding=False)
    return onnx.ModelProto.FromString(buffer.getvalue())


def fused(model):
    graph, tensors = detach(ir.from_proto(model))
    before = canonical(graph)
    after = fuse(before.clone())
    return bind(before, tensors), bind(after, tensors)


VARIANTS = [
    (nn.LSTM, "y", {}),
    (nn.LSTM, "y states", {"bias": False}),
    (nn.LSTM, "y states", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    (nn.LSTM, "last", {"num_layers": 3}),
    (nn.GRU, "y", {"num_layers": 2, "batch_first": True}),
    (nn.GRU, "y last", {"bidirectional": True, "bias": False}),
]
IDS = [f"{cls.__name__}-{'-'.join(options) or 'plain'}" for cls, _, options in VARIANTS]


@pytest.mark.parametrize(("cls", "reads", "options"), VARIANTS, ids=IDS)
def test_what_torch_exported_is_torchs_module_again(same, cls, reads, options):
    torch.manual_seed(0)
    module = Tagger(cls, reads, **options).eval()
    x = torch.randn(5, 2, 4)
    model = exported(module, (x,))
    before, after = fused(model)
    assert 1 == sum(node.domain == DOMAIN and node.op_type == cls.__name__ for node in after.graph)
    assert not any(node.op_type == cls.__name__ and not node.domain for node in after.graph)
    same(before, after, {model.graph.input[0].name: x.numpy()})
    native = zoo.load(model, "torch")
    rnn = native.get_submodule("encoder.rnn")
    assert type(rnn) is cls
    assert str(module.encoder["rnn"]) == str(rnn)
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in native.state_dict().items())
    assert {n for n in module.state_dict() if "rnn" in n} <= set(native.state_dict())
    expected, got = module(x), native(x)
    got = list(got.values()) if isinstance(got, dict) else [got]
    for want, have in zip(expected, got, strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.parametrize(
    ("cls", "options"), [(nn.LSTM, {"num_layers": 2, "bidirectional": True, "batch_first": True}), (nn.GRU, {})]
)
def test_first_states_are_handed_over(cls, options):
    torch.manual_seed(0)
    module = Tagger(cls, "y states", **options).eval()
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    x = torch.randn(3, 3, 4)
    states = [torch.randn(rows, 3, 3) for _ in range(2 if cls is nn.LSTM else 1)]
    given = (x, *states)
    native = zoo.load(exported(module, given), "torch")
    assert type(native.get_submodule("encoder.rnn")) is cls
    for want, have in zip(module(*given), native(*given).values(), strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.parametrize("cls", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_older_exporters_nodes_are_recognised_where_it_kept_the_weights(cls):
    torch.manual_seed(0)
    module = Tagger(cls, num_layers=2, bidirectional=True).eval()
    x = torch.randn(5, 2, 4)
    native = zoo.load(exported(module, (x,), dynamo=False), "torch")
    assert type(native.get_submodule("encoder.rnn")) is cls
    torch.testing.assert_close(native(x), module(x)[0])


def test_free_sizes_stay_free_and_the_module_trains_and_copies():
    import copy

    torch.manual_seed(0)
    module = Tagger(nn.LSTM, num_layers=2, batch_first=True).eval()
    free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("time")},)
    native = zoo.load(exported(module, (torch.randn(2, 5, 4),), free=free), "torch")
    assert type(native.get_submodule("encoder.rnn")) is nn.LSTM
    x = torch.randn(3, 9, 4)
    torch.testing.assert_close(native(x), module(x)[0])
    native(x).sum().backward()
    assert all(p.grad is not None for p in native.parameters())
    copied = copy.deepcopy(native)
    with torch.no_grad():
        copied.get_submodule("encoder.rnn").weight_hh_l1.zero_()
    assert not torch.equal(copied(x), native(x))
    halved = copy.deepcopy(native).double()
    torch.testing.assert_close(halved(x.double()), native(x).double(), check_dtype=False)


def test_weights_under_other_names_or_in_another_order_are_left_alone(graph):
    text = """
        agraph (float[5,2,4] x, float[12,4] rnn_weight_ih_l0, float[12,3] rnn_weight_hh_l0) => (float[5,1,2,3] y) {
            axes = Constant <value_ints = [0]> ()
            w = Unsqueeze (rnn_weight_ih_l0, axes)
            r = Unsqueeze (rnn_weight_hh_l0, axes)
            y = LSTM <hidden_size = 3> (x, w, r)
        }
    """
    model = graph(text)
    from zoo.converters.graph import PARAMETER

    for value in list(model.graph.inputs)[1:]:
        value.name = value.name.replace("rnn_", "rnn.")
        value.metadata_props[PARAMETER] = "parameter"
    after = fuse(canonical(model))
    assert ["LSTM"] == [node.op_type for node in after.graph if not node.domain and node.op_type == "LSTM"]
