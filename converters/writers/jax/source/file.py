"""The text of a model.py of JAX: its head, the layers that it uses, the functions, and `apply` and `load_params`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.jax.source.render import Source
from zoo.converters.writers.source.file import CONSTANTS, head, imports
from zoo.converters.writers.source.layout import laid_out

ALWAYS = {
    *("import jax", "import jax.numpy as jnp", "from pathlib import Path", "from typing import Any"),
    "from safetensors.numpy import load_file",
}
IMPORTS = {"math.": "import math", "lax.": "from jax import lax", "np.": "import numpy as np"}
USAGE = """
from model import apply, load_params

params = load_params()
output = jax.jit(apply)(params, {names})
train = jax.jit(apply, static_argnames="train")
output, params = train(params, {names}, train=True, rngs=jax.random.key(0))
"""
APPLY = '''
def apply(params: Params, {hints}, *, train: bool = False, rngs: jax.Array | None = None) -> Any:
    """{about}"""
'''
TRAINS = """
    ctx = Context(train, rngs)
    output = {call}
    return (output, ctx.updated(params)) if train else output
"""
SAME = """
    output = {call}
    return (output, params) if train else output
"""
LOAD = '''
def load_params(path: Path = HERE / "model.safetensors") -> Params:
    """The weights as nested dicts, by the parts of their author's names."""
    params: Params = {{}}
    for name, tensor in load_file(path).items():
        {split}
        held = params
        for key in keys:
            held = held.setdefault(key, {{}})
        held[leaf] = jnp.asarray(tensor)
    return params
'''
FLAT = '''
def load_params(path: Path = HERE / "model.safetensors") -> Params:
    """The weights by their author's names."""
    return {name: jnp.asarray(tensor) for name, tensor in load_file(path).items()}
'''
MAIN = """
if __name__ == "__main__":
    inputs = {inputs}
    output = jax.jit(apply)(load_params(), *inputs)
    for name, y in (output if isinstance(output, dict) else {{"output": output}}).items():
        print(name, y.dtype, y.shape)
"""


def text(source: Source, about: str, inputs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> str:
    """The whole file. `about` says whose model it is and what wrote it; `feeds` are inputs that it was tried with."""
    functions = source.function_texts()
    helpers = [helper.strip() for helper in source.embedded.sources.values()]
    names = source.classes[-1].arguments or []
    load = FLAT if source.is_flat else LOAD.format(split='*keys, leaf = name.split(".")')
    made = ", ".join(_example(spec, feeds[spec.name]) for spec in inputs)
    main = MAIN.strip().format(inputs=f"({made}{',' * (len(inputs) == 1)})")
    rest = [_apply(source, names), load.strip(), main]
    rest = ["\n".join(line for old in part.splitlines() for line in laid_out(old)) for part in rest]
    body = "\n\n\n".join([*helpers, *functions, *rest])
    places = ["HERE = Path(__file__).parent", "Params = dict[str, Any]"]
    if source.stored:
        places.insert(1, f'CONSTANTS = load_file(HERE / "{CONSTANTS}")')
    files = "model.safetensors has the weights under their author's names."
    if source.stored:
        files += f" {CONSTANTS} holds what is no weight (masks, tables of places)."
    docs = head(about, USAGE.format(names=", ".join(names)), inputs, files)
    top = [docs, *imports(ALWAYS | source.embedded.imports, IMPORTS, body), "\n".join(places)]
    return "\n\n".join(top) + f"\n\n\n{body}\n"


def _apply(source: Source, names: Sequence[str]) -> str:
    cls = source.classes[-1]
    trains = cls.name in source.contextual
    about = "The outputs. With `train` (outputs, params), the running statistics of the latter being new."
    if not trains:
        about = "The outputs; with `train` (outputs, params), as of models that training runs otherwise."
    hints = ", ".join(f"{n}: jax.Array" for n in names)
    given = [*([] if cls.name in source.bare else ["params"]), *names, *(["ctx"] if trains else [])]
    call = f"{cls.name}({', '.join(given)})"
    lines = APPLY.strip().format(hints=hints, about=about).splitlines()
    return "\n".join([*lines, (TRAINS if trains else SAME).strip("\n").format(call=call)])


def _example(spec: TensorSpec, feed: Any) -> str:
    shape = ", ".join(map(str, feed.shape))
    shape = f"({shape}{',' * (feed.ndim == 1)})"
    if spec.dtype == "float32":
        return f"jax.random.uniform(jax.random.key(0), {shape})"
    return f"jnp.ones({shape}, {'int' if spec.dtype == 'int64' else f'jnp.{spec.dtype}'})"
