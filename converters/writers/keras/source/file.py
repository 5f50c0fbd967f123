"""The text of a model.py of Keras: its head, the layers that it uses, the classes, and what fills them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.keras.source.render import Source
from zoo.converters.writers.keras.source.tracer import kind
from zoo.converters.writers.keras.source.tree import attribute
from zoo.converters.writers.source.expressions import quoted
from zoo.converters.writers.source.file import CONSTANTS, head, imports
from zoo.converters.writers.source.layout import laid_out

ALWAYS = {"import keras", "from keras import layers, ops", "from pathlib import Path"}
ALWAYS |= {"from safetensors.numpy import load_file"}
IMPORTS = {"math.": "import math", "np.": "import numpy as np"}
USAGE = """
from model import create_model

model = create_model()  # pretrained=False leaves out the weights
output = model({given}){more}
"""
SEVERAL = "  # a dict by their names"
CREATE = '''
def create_model(pretrained: bool = True) -> keras.Model:
    """The model, built; without `pretrained` layers start as Keras' do, other weights as zeros."""
    model = {name}()
    model({symbols})  # builds it
    if pretrained:
        load_weights(model, HERE / "model.safetensors")
    return model
'''
FIELDS = """
# what Keras calls the author's tensors
FIELDS = {
    "weight": ("kernel", "gamma", "embeddings"),
    "bias": ("beta",),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
"""
LOAD = '''
def load_weights(model: keras.Model, path: Path) -> None:
    """Fill a built model with its author's tensors, found by the parts of their names.

    A kernel [out, in, ...] of his becomes Keras' [..., in, out].
    """
    for name, tensor in load_file(path).items():
        *parts, leaf = {name}.split(".")
        layer = model
        for part in parts:
            layer = child(layer, part)
        field = next(f for f in ({leaf}, *FIELDS.get(leaf, ())) if getattr(layer, f, None) is not None)
        variable = getattr(layer, field)
        if field == "kernel":
            tensor = tensor.transpose(*range(2, tensor.ndim), 1, 0).reshape(variable.shape)
        variable.assign(tensor)


def child(layer, part: str):
    """What a layer holds under a part of a name."""
    if isinstance(layer, dict):
        return layer[part]
    if part.isdigit() and not hasattr(layer, part):
        return (layer.layers if isinstance(layer, keras.Sequential) else layer)[int(part)]
    return getattr(layer, {part})
'''
MAIN = """
if __name__ == "__main__":
    output = create_model()({inputs})
    for name, y in (output if isinstance(output, dict) else {{"output": output}}).items():
        print(name, keras.backend.standardize_dtype(y.dtype), tuple(y.shape))
"""


def text(source: Source, about: str, inputs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> str:
    """The whole file. `about` says whose model it is and what wrote it; `feeds` are inputs that it was tried with."""
    classes = source.class_texts()
    helpers = [helper.strip() for helper in source.embedded.sources.values()]
    symbols = _given(inputs, {s.name: _symbol(s) for s in inputs})
    tried = _given(inputs, {s.name: _made("ones", s, feeds[s.name].shape) for s in inputs})
    create = CREATE.strip().format(name=source.classes[-1].name, symbols=symbols)
    rest = [create, _load(source), MAIN.strip().format(inputs=tried)]
    rest = ["\n".join(line for old in part.splitlines() for line in laid_out(old)) for part in rest]
    body = "\n\n\n".join([*helpers, *classes, *rest])
    places = ["HERE = Path(__file__).parent"]
    if source.stored:
        places.append(f'CONSTANTS = load_file(HERE / "{CONSTANTS}")')
    places += [*FIELDS.strip().splitlines(), *_renamed(source)]
    files = "model.safetensors has the weights under their author's names, as he lays them out."
    if source.stored:
        files += f" {CONSTANTS} holds what is no weight (masks, tables of places)."
    usage = USAGE.format(given=inputs[0].name if len(inputs) == 1 else "inputs", more=SEVERAL * (len(inputs) > 1))
    docs = head(about, usage, inputs, files)
    top = [docs, *imports(ALWAYS | source.embedded.imports, IMPORTS, body), "\n".join(places)]
    return "\n\n".join(part for part in top if part) + f"\n\n\n{body}\n"


def _given(inputs: Sequence[TensorSpec], by_name: Mapping[str, str]) -> str:
    """One input as it is, several as a dict."""
    if len(inputs) == 1:
        return by_name[inputs[0].name]
    return "{" + ", ".join(f'"{s.name}": {by_name[s.name]}' for s in inputs) + "}"


def _symbol(spec: TensorSpec) -> str:
    """keras.Input of what a sample is."""
    sizes = ", ".join(str(d if isinstance(d, int) else None) for d in spec.shape[1:])
    dtype = kind(np.dtype(spec.dtype))
    said = "" if dtype == "float32" else f', dtype="{dtype}"'
    return f"keras.Input(({sizes}{',' * (len(spec.shape) == 2)}){said})"


def _made(how: str, spec: TensorSpec, shape: Sequence[int]) -> str:
    dtype = kind(np.dtype(spec.dtype))
    return f"ops.{how}({tuple(shape)}{'' if dtype == 'float32' else f', dtype={dtype!r}'})".replace("'", '"')


def _load(source: Source) -> str:
    """What fills the model: simpler where no name is Keras' own and none was changed."""
    parts, leaves = _names(source)
    made = LOAD.strip().replace("{name}", "RENAMED.get(name, name)" if source.tree.tracer.renamed else "name")
    for word, names in (("part", parts), ("leaf", leaves)):
        is_reserved = any(attribute(name) != name for name in names)
        spelled = f'f"{{{word}}}_" if {word} in RESERVED else {word}' if is_reserved else word
        made = made.replace(f"{{{word}}}", spelled)
    return made


def _names(source: Source) -> tuple[set[str], set[str]]:
    """The names of modules, and those of tensors in them."""
    split = [name.split(".") for name in source.weights()]
    return {part for parts in split for part in parts[:-1]}, {parts[-1] for parts in split}


def _renamed(source: Source) -> list[str]:
    """The tables of names that are written otherwise here."""
    found: list[str] = []
    if reserved := sorted(name for names in _names(source) for name in names if attribute(name) != name):
        listed = ", ".join(quoted(name) for name in reserved)
        found.append(f"RESERVED = {{{listed}}}  # Keras has such attributes itself: the author's have a _ behind them")
    if renamed := source.tree.tracer.renamed:
        found += ["# the author's names of tensors that stand under others here", "RENAMED = {"]
        found += [f'    "{old}": "{new}",' for old, new in renamed.items()]
        found.append("}")
    return found
