"""The text of a model.py: its head, what the classes use, the classes, and the function that makes the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.source.file import CONSTANTS, head, imports
from zoo.converters.writers.source.layout import laid_out
from zoo.converters.writers.torch.source.constants import LATTICE
from zoo.converters.writers.torch.source.render import Source

ALWAYS = {
    *("import torch", "from torch import nn", "from pathlib import Path"),
    "from safetensors.torch import load_file",
}
IMPORTS = {
    "F.": "import torch.nn.functional as F",
    "math.": "import math",
    "operator.": "import operator",
    "OrderedDict(": "from collections import OrderedDict",
}
USAGE = """
from model import create_model

model = create_model()  # in inference mode; pretrained=False leaves out the weights
output = model({names})
"""
CREATE = """
def create_model(pretrained: bool = True) -> {name}:
    \"\"\"The model in inference mode; without `pretrained` layers start as torch's do, other parameters as zeros.\"\"\"
    model = {name}()
    if pretrained:
        model.load_state_dict(load_file(HERE / "model.safetensors"))
    return model.eval()
"""
RESULT = """    with torch.inference_mode():
        output = model(*inputs)
    for name, y in (output if isinstance(output, dict) else {"output": output}).items():
        print(name, y.dtype, list(y.shape))"""


def text(source: Source, about: str, inputs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> str:
    """The whole file. `about` says whose model it is and what wrote it; `feeds` are inputs that it was tried with."""
    classes = "\n\n\n".join(source.class_texts())
    name = source.classes[-1].name
    helpers = [helper.strip() for helper in source.embedded.sources.values()]
    if "lattice(" in classes:
        helpers.insert(0, LATTICE.strip())
    body = "\n\n\n".join([*helpers, classes, CREATE.strip().format(name=name), _main(inputs, feeds)])
    places = ["HERE = Path(__file__).parent"]
    if source.stored:
        places.append(f'CONSTANTS = load_file(HERE / "{CONSTANTS}")')
    docs = head(about, USAGE.format(names=", ".join(spec.name for spec in inputs)), inputs, _files(source))
    parts = [docs, *imports(ALWAYS | source.embedded.imports, IMPORTS, body), "\n".join(places)]
    return "\n\n".join(parts) + f"\n\n\n{body}\n"


def _files(source: Source) -> str:
    files = "model.safetensors has the weights under their author's names."
    if source.stored:
        files += f" {CONSTANTS} holds what is no weight (masks, tables of places)."
    return files


def _main(inputs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> str:
    """What `python model.py` does: it runs once on inputs of the shapes that were tried."""
    made = ", ".join(_example(spec, feeds[spec.name]) for spec in inputs)
    tried = laid_out(f"    inputs = ({made}{',' * (len(inputs) == 1)})")
    return "\n".join(['if __name__ == "__main__":', "    model = create_model()", *tried, RESULT])


def _example(spec: TensorSpec, feed: Any) -> str:
    shape = ", ".join(map(str, feed.shape)) or "()"
    return f"torch.rand({shape})" if spec.dtype == "float32" else f"torch.ones({shape}, dtype=torch.{spec.dtype})"
