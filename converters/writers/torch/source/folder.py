"""The folder of a torch source, written, and run in a process that knows nothing of us."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from ctypes import string_at
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from zoo.converters.graph import modules
from zoo.converters.runner import Array, TensorSpec
from zoo.converters.save import safetensors
from zoo.converters.writers.source.file import CONSTANTS
from zoo.converters.writers.source.folder import MODEL, NOTHING, WEIGHTS, fresh
from zoo.converters.writers.torch.runner import from_numpy, to_numpy
from zoo.converters.writers.torch.source.file import text
from zoo.converters.writers.torch.source.render import Source
from zoo.converters.writers.torch.source.tree import Tree
from zoo.converters.writers.torch.writer import tensors
from zoo.errors import Disagreement

# What runs in the fresh process: argv is the folder and where inputs and outputs stand. It says the names of the
# state_dict with a digest of each tensor, and the names of the modules.
SCRIPT = """
import ctypes, hashlib, json, sys
folder, place = sys.argv[1:]
sys.path.insert(0, folder)
import torch
from safetensors.torch import load_file, save_file
from model import create_model
model = create_model()
inputs = load_file(place + "/inputs.safetensors")
with torch.inference_mode():
    made = model(*(inputs[name] for name in sorted(inputs)))
def flat(x):
    return [y for one in x for y in flat(one)] if isinstance(x, (list, tuple)) else [] if x is None else [x]
made = flat(list(made.values()) if isinstance(made, dict) else [made])
save_file({f"{i:04}": y.detach().clone().contiguous() for i, y in enumerate(made)}, place + "/outputs.safetensors")
digests = {}
for name, tensor in model.state_dict().items():
    flat = tensor.detach().contiguous()
    data = ctypes.string_at(flat.data_ptr(), flat.nbytes) if flat.nbytes else b""
    digests[name] = f"{flat.dtype} {list(flat.shape)} {hashlib.sha256(data).hexdigest()}"
loaded = sorted({name.partition(".")[0] for name in sys.modules})
tree = [name for name, _ in model.named_modules()]
print(json.dumps({"state": list(digests.items()), "tree": tree, "modules": loaded}))
"""


def save(
    module: nn.Module,
    folder: Path,
    model: ir.Model,
    inputs: Sequence[TensorSpec],
    feeds: Mapping[str, Array],
    about: str,
) -> None:
    """Write model.py, model.safetensors and, where there are such, constants.safetensors into a new folder.

    `model` is the bound graph that the module was written from; `feeds` are inputs that it can be tried with; `about`
    is what the head of the file says of it.

    Raises HubError for what can't be written as source, UsageError for a dtype that safetensors lacks.
    """
    source = Source(Tree(module, modules(model)))
    written = text(source, about, inputs, feeds)
    folder.mkdir()
    (folder / MODEL).write_text(written, encoding="utf-8", newline="\n")
    safetensors(tensors(module), folder / WEIGHTS)
    if source.stored:
        held = {name: ir.tensor(t.detach().cpu(), name=name) for name, t in source.stored.items()}
        safetensors(held, folder / CONSTANTS)


def run(folder: Path, inputs: Sequence[TensorSpec], feeds: Mapping[str, Array], module: nn.Module) -> list[Array]:
    """The outputs of the folder's model in a fresh process, in order.

    Raises Disagreement when the process fails, when it needs what only we have, or when its state_dict is not the
    module's: the same names in the same order, bit for bit.
    """
    from safetensors.torch import load_file, save_file

    with TemporaryDirectory() as place:
        given = {f"{i:04}": from_numpy(feeds[spec.name]) for i, spec in enumerate(inputs)}
        save_file(given, Path(place) / "inputs.safetensors")
        report = fresh(SCRIPT, folder, place)
        _same_state([(name, digest) for name, digest in report["state"]], module)
        if report["tree"] != [name for name, _ in module.named_modules()]:
            raise Disagreement(f"{MODEL} has another tree of modules", hint=NOTHING)
        made = load_file(Path(place) / "outputs.safetensors")
        return [to_numpy(made[name].clone()) for name in sorted(made)]


def _same_state(found: Sequence[tuple[str, str]], module: nn.Module) -> None:
    expected = [(name, _digest(tensor)) for name, tensor in module.state_dict().items()]
    if list(found) == expected:
        return
    wrong = [a[0] for a, b in zip(expected, found, strict=False) if a != b]
    raise Disagreement(
        f"{MODEL} has another state_dict: {len(found)} tensors of {len(expected)}, the first that differs is "
        f"{(wrong or ['missing'])[0]!r}",
        hint=NOTHING,
    )


def _digest(tensor: torch.Tensor) -> str:
    flat: Any = tensor.detach().cpu().contiguous()
    data = string_at(flat.data_ptr(), flat.nbytes) if flat.nbytes else b""
    return f"{flat.dtype} {list(flat.shape)} {hashlib.sha256(data).hexdigest()}"
