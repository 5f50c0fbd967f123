"""The folder of a Keras source, written, and run in a process that knows nothing of us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx_ir as ir

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.save import safetensors
from zoo.converters.whole import specs_of
from zoo.converters.writers.keras.source.file import text
from zoo.converters.writers.keras.source.render import Source
from zoo.converters.writers.keras.source.tree import KerasTree
from zoo.converters.writers.source.file import CONSTANTS
from zoo.converters.writers.source.folder import MODEL, WEIGHTS, outputs_of

SCRIPT = """
import json, sys
folder, place, *names = sys.argv[1:]
sys.path.insert(0, folder)
import keras
import numpy as np
from model import create_model
model = create_model()
with np.load(place + "/inputs.npz") as held:
    inputs = [held[name] for name in sorted(held)]
made = model(dict(zip(names, inputs)) if names else inputs[0], training=False)
made = list(made.values()) if isinstance(made, dict) else [made]
np.savez(place + "/outputs.npz", **{f"{i:04}": keras.ops.convert_to_numpy(y) for i, y in enumerate(made)})
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
    `about` is what the head of the file says of it. Returns what runs the folder's model on these, on the Keras backend
    of this process, in one that knows nothing of us: the outputs in order, as the graph lays them out; it raises
    Disagreement.

    Raises UnsupportedOps for what can't be written as source, UsageError for a dtype that safetensors lacks.
    """
    tree = KerasTree(model)
    source = Source(tree)
    turned = tree.layouts
    fed = {n: np.transpose(x, turned.inputs[n]) if n in turned.inputs else x for n, x in feeds.items()}
    written = text(source, about, specs_of(tree.model)[0], fed)
    folder.mkdir()
    (folder / MODEL).write_text(written, encoding="utf-8", newline="\n")
    safetensors(source.weights(), folder / WEIGHTS)
    if source.stored:
        safetensors({name: ir.tensor(array, name=name) for name, array in source.stored.items()}, folder / CONSTANTS)

    def tried() -> list[Array]:
        names = [spec.name for spec in inputs] if len(inputs) > 1 else []
        made, _ = outputs_of(SCRIPT, folder, inputs, fed, {"KERAS_BACKEND": keras.backend.backend()}, names)
        perms = [turned.outputs.get(o.name) for o in outputs]
        return [y if p is None else np.transpose(y, np.argsort(p)) for y, p in zip(made, perms, strict=True)]

    return tried
