"""The folder of a JAX source, written, and run in a process that knows nothing of us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.save import safetensors
from zoo.converters.writers.jax.source.file import text
from zoo.converters.writers.jax.source.render import Source
from zoo.converters.writers.jax.source.tree import JaxTree
from zoo.converters.writers.source.file import CONSTANTS
from zoo.converters.writers.source.folder import MODEL, WEIGHTS, outputs_of

SCRIPT = """
import json, sys
folder, place = sys.argv[1:]
sys.path.insert(0, folder)
import jax
import numpy as np
from model import apply, load_params
with np.load(place + "/inputs.npz") as held:
    inputs = [held[name] for name in sorted(held)]
made = jax.jit(apply)(load_params(), *inputs)
made = list(made.values()) if isinstance(made, dict) else [made]
np.savez(place + "/outputs.npz", **{f"{i:04}": np.asarray(y) for i, y in enumerate(made)})
print(json.dumps({"modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def save(
    folder: Path,
    model: ir.Model,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    feeds: Mapping[str, Array],
    about: str,
) -> Callable[[], list[Array]]:
    """Write model.py, model.safetensors and, where there are such, constants.safetensors into a new folder.

    `model` is a bound graph that stands as `operators.lowers` takes it; `feeds` are inputs that it can be tried with;
    `about` is what the head of the file says of it. Returns what runs the folder's model on these, jitted, in a process
    that knows nothing of us: the outputs in order; it raises Disagreement.

    Raises UnsupportedOps for what can't be written as source, UsageError for a dtype that safetensors lacks.
    """
    source = Source(JaxTree(model))
    written = text(source, about, inputs, feeds)
    folder.mkdir()
    (folder / MODEL).write_text(written, encoding="utf-8", newline="\n")
    safetensors(source.weights(), folder / WEIGHTS)
    if source.stored:
        safetensors({name: ir.tensor(array, name=name) for name, array in source.stored.items()}, folder / CONSTANTS)
    return lambda: outputs_of(SCRIPT, folder, inputs, feeds, {"JAX_PLATFORMS": "cpu"})[0]
