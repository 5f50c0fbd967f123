"""TorchScript and ExportedPrograms, written by torch itself and computed again by ONNX Runtime."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import zoo
from tests.hostile import archives
from zoo.converters import formats
from zoo.converters.graph import MODULES, PARAMETER, all_nodes, modules, parameters
from zoo.converters.readers import torch_export, torchscript
from zoo.errors import Refused, UnknownFormat

torch = pytest.importorskip("torch")
from tests.converters.readers import torch_programs as programs  # noqa: E402  # it defines torch's modules

pytestmark = pytest.mark.torch
CORPUS = Path(__file__).parents[4] / "shared" / "golden"
GOLDEN = [
    case
    for form in ("torchscript_trace", "torchscript_script", "torch_export_pt2")
    for case in sorted((CORPUS / form).glob("*/"))
]


def computed(model: ir.Model, x: Any) -> list[np.ndarray]:
    """ONNX Runtime's outputs for the model's only input."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


def assert_same(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert [(a.shape, a.dtype) for a in actual] == [(e.shape, e.dtype) for e in expected]
    for one, other in zip(actual, expected, strict=True):
        # both compute in float32, in another order of summation
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def traced(name: str, path: Path) -> ir.Model:
    module, x = programs.module(name), programs.example(name)
    torch.jit.trace(module, x, check_trace=False, strict=False).save(str(path))
    return torchscript.read(path)


def scripted(name: str, path: Path) -> ir.Model:
    torch.jit.script(programs.module(name)).save(str(path))
    return torchscript.read(path)


def exported(name: str, path: Path, *, apart: bool = False) -> ir.Model:
    program = torch.export.export(programs.module(name), (programs.example(name),))
    torch.export.save(program.run_decompositions() if apart else program, str(path))
    return torch_export.read(path)


def answers(name: str) -> list[np.ndarray]:
    with torch.no_grad():
        return programs.flat(programs.module(name)(programs.example(name)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", programs.FUNCTIONS)
def test_traces_of_functions_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    assert_same(computed(traced(name, tmp_path / "x.pt"), programs.example(name)), answers(name))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("apart", [False, True], ids=["as written", "taken apart"])
@pytest.mark.parametrize("name", [name for name in (*programs.FUNCTIONS, *programs.MODULES) if name != "branches"])
def test_exported_programs_compute_what_torch_computes(name: str, apart: bool, tmp_path: Path) -> None:
    assert_same(computed(exported(name, tmp_path / "x.pt2", apart=apart), programs.example(name)), answers(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["layers", "text"])
def test_exported_modules_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    assert_same(computed(exported(name, tmp_path / "x.pt2"), programs.example(name)), answers(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", programs.SCRIPTED)
def test_scripts_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    assert_same(computed(scripted(name, tmp_path / "x.pt"), programs.example(name)), answers(name))


@pytest.mark.filterwarnings("ignore")
def test_the_way_that_a_script_takes_hangs_on_its_input(tmp_path: Path) -> None:
    model, module = scripted("branches", tmp_path / "x.pt"), programs.module("branches")
    assert {"If", "Loop"} <= {node.op_type for node in all_nodes(model.graph)}
    for x in (torch.ones(4, 6), -torch.ones(2, 6), torch.full((1, 6), 9.0)):
        assert_same(computed(model, x), programs.flat(module(x)))


@pytest.mark.filterwarnings("ignore")
def test_loops_of_known_length_are_written_out(tmp_path: Path) -> None:
    model = scripted("loops", tmp_path / "x.pt")
    assert "Loop" not in {node.op_type for node in all_nodes(model.graph)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("read", [traced, scripted, exported])
def test_tensors_and_modules_have_their_authors_names(read: Any, tmp_path: Path) -> None:
    model, module = read("layers", tmp_path / "x"), programs.module("layers")
    held = {name: value.metadata_props[PARAMETER] for name, value in parameters(model.graph).items()}
    assert set(module.state_dict()) == set(held)
    assert {name for name, kind in held.items() if kind == "parameter"} == {n for n, _ in module.named_parameters()}
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(np.asarray(model.graph.initializers[name].const_value.numpy()), value.numpy())
    assert modules(model)["stem.0"][0] == "torch.nn.modules.conv.Conv2d"
    assert json.loads(model.metadata_props[MODULES])["head.3"] == "torch.nn.modules.linear.Linear"


@pytest.mark.filterwarnings("ignore")
def test_the_archives_of_torch_2_2_to_2_7_are_read(tmp_path: Path) -> None:
    path = tmp_path / "new.pt2"
    exported("layers", path)
    with zipfile.ZipFile(path) as file:
        program = next(file.read(name) for name in file.namelist() if name.endswith("models/model.json"))
    stream, constants = io.BytesIO(), io.BytesIO()
    torch.save(dict(programs.module("layers").state_dict()), stream)
    torch.save({}, constants)
    old = {
        "version": b"5.3",
        "serialized_exported_program.json": program,
        "serialized_state_dict.pt": stream.getvalue(),
        "serialized_constants.pt": constants.getvalue(),
    }
    (tmp_path / "old.pt2").write_bytes(archives.zipped(old))
    assert formats.find(tmp_path / "old.pt2").name == "torch-export"
    assert_same(computed(torch_export.read(tmp_path / "old.pt2"), programs.example("layers")), answers("layers"))


@pytest.mark.filterwarnings("ignore")
def test_free_sizes_of_an_exported_program_stay_free(tmp_path: Path) -> None:
    module = programs.Layers().eval()
    free = {0: torch.export.Dim("batch", min=2)}
    torch.export.save(
        torch.export.export(module, (torch.randn(3, 4, 9, 10),), dynamic_shapes=(free,)), tmp_path / "x.pt2"
    )
    model = torch_export.read(tmp_path / "x.pt2")
    x = torch.randn(5, 4, 9, 10)
    assert_same(computed(model, x), programs.flat(module(x)))


@pytest.mark.filterwarnings("ignore")
def test_a_module_saved_while_it_was_trained_is_read_for_inference(tmp_path: Path) -> None:
    module = programs.module("layers").train()
    torch.jit.script(module).save(str(tmp_path / "x.pt"))
    x = programs.example("layers")
    assert_same(computed(torchscript.read(tmp_path / "x.pt"), x), programs.flat(module.eval()(x)))


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    torch.jit.trace(programs.Of(lambda x: torch.linalg.svd(x)[1]), torch.randn(3, 3)).save(str(tmp_path / "x.pt"))
    with pytest.raises(Refused, match="aten::linalg_svd is not known"):
        torchscript.read(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: torch.nn.functional.adaptive_max_pool2d(x, 3, return_indices=True), "places of the largest numbers"),
        (lambda x: torch.native_layer_norm(x, [10], None, None, 1e-5), "statistics of a normalisation"),
    ],
)
def test_a_result_that_no_node_gives_is_refused_where_it_is_read(function: Any, what: str, tmp_path: Path) -> None:
    x = programs.seeded(programs.PICTURE)
    for read, name in ((lambda x: function(x)[0], ""), (function, what)):
        torch.jit.trace(programs.Of(read), x, check_trace=False).save(str(tmp_path / "x.pt"))
        if name:
            with pytest.raises(Refused, match=name):
                torchscript.read(tmp_path / "x.pt")
        else:
            assert_same(computed(torchscript.read(tmp_path / "x.pt"), x), programs.flat(read(x)))


def test_a_file_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    torch.jit.script(programs.module("loops")).save(str(tmp_path / "a.bin"))
    torch.save(programs.module("loops").state_dict(), tmp_path / "b.pt2")
    assert formats.find(tmp_path / "a.bin").name == "torchscript"
    with pytest.raises(UnknownFormat, match=r"weights alone \(torch\)"):
        formats.find(tmp_path / "b.pt2")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", GOLDEN or [CORPUS], ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_programs_compute_what_torch_computed(case: Path) -> None:
    opened = json.loads((case / "meta.json").read_text())["open"]
    inputs, expected = (dict(np.load(case / f"{part}.npz")) for part in ("inputs", "outputs"))
    runner = zoo.runner(case / opened)
    names = [spec.name for spec in runner.inputs]
    feeds = inputs if set(names) <= set(inputs) else dict(zip(names, inputs.values(), strict=True))
    actual = runner.run({name: feeds[name] for name in names})
    assert len(actual) == len(expected)
    for one, other in zip(actual.values(), expected.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
