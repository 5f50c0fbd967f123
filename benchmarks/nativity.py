"""How native a converted Keras model is: the share of its floating-point work in Keras' own layers, and its transposes.

    python benchmarks/nativity.py [--models resnet50,transformers/gpt2,zoo/minilm-l6]

TensorFlow itself counts: the model is traced at batch 1, each node of the traced graph has its floating-point
operations by TensorFlow's own statistics (an Einsum, which has none there, by its equation), and stands in the scope of
its layer. A layer is Keras' own where its class is. `transposes` are those that the layout pass left inside the graph.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

MODELS = (
    *("resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "densenet121"),
    *("regnet_y_400mf", "googlenet", "fcn_resnet50", "vit_b_16", "swin_t", "zoo/minilm-l6"),
)


def publish(name: str, folder: Path) -> tuple[Any, Any]:
    """Weights and graph: seeded numbers in a publisher's file (`family/name`, or torchvision's), or `zoo/name`."""
    import torch
    from families import build

    from zoo.architectures.make import export, weightless
    from zoo.converters.canonical import canonical
    from zoo.loaders import architecture, resolve

    family, _, model = name.rpartition("/")
    if family == "zoo":
        return model, architecture(resolve(model))
    source = build(family or "torchvision", model)
    path = folder / f"{name.replace('/', '-')}.pth"
    torch.save(source.module.state_dict(), path)
    return path, canonical(weightless(export(source), source, name))


def operations(native: Any) -> Counter[str]:
    """Floating-point operations by the layer that they are of; "" are the model's own."""
    import tensorflow as tf
    from tensorflow.python.framework import ops  # the statistics have no public name

    free = {4: 224, 2: 64}  # pixels, tokens
    specs = [tf.TensorSpec([1, *(n or free[len(x.shape)] for n in x.shape[1:])], x.dtype) for x in native.inputs]
    graph = tf.function(lambda *inputs: native(list(inputs))).get_concrete_function(*specs).graph
    names = {layer.name for layer in native.layers}
    counted: Counter[str] = Counter()
    for node in graph.get_operations():
        parts = (part if part in names else re.sub(r"_\d+$", "", part) for part in node.name.split("/"))
        layer = next((part for part in parts if part in names), "")
        statistics = ops.get_stats_for_node_def(graph, node.node_def, "flops")
        counted[layer] += _einsum(node) if node.type == "Einsum" else int(statistics.value or 0)
    return counted


def _einsum(node: Any) -> int:
    """Two operations for each combination of the equation's letters."""
    letters = node.get_attr("equation").decode().partition("->")[0].split(",")
    sizes = {k: n for term, x in zip(letters, node.inputs, strict=True) for k, n in zip(term, x.shape, strict=True)}
    return 2 * math.prod(int(n) for n in sizes.values())


def measure(name: str, weights: Any, graph: Any) -> str:
    """A row of the table."""
    import zoo

    native = zoo.load(weights, "keras", **({"architecture": graph} if isinstance(weights, Path) else {}))
    counted = operations(native)
    own = {layer.name for layer in native.layers if type(layer).__module__.startswith("keras.")}
    work = sum(counted.values())
    others = Counter({n: c for n, c in counted.items() if n not in own})
    most = ", ".join(
        f"{n or 'the model'} {count / work:.1%}" for n, count in others.most_common(2) if count > work / 1e3
    )
    share = 1 - sum(others.values()) / work
    layers = f"{len(own)} of {len(native.layers)}"
    return f"| {name} | {work / 1e9:.2f} | {share:.2%} | {layers} | {transposes(graph)} | {most} |"


def transposes(graph: Any) -> int:
    """How many Transposes of activations the layout pass leaves inside; those that an author wrote count as well."""
    from zoo.converters.frameworks import framework
    from zoo.converters.layout import channels_last
    from zoo.converters.whole import prepared

    writer = framework("keras").module("writer")
    return len(channels_last(prepared(graph.clone(), writer.lowers), writer._takes).after)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    args = parser.parse_args(arguments)
    names = args.models.split(",")
    with tempfile.TemporaryDirectory() as folder:
        published = [publish(name, Path(folder)) for name in names]  # torch's part, before TensorFlow is imported
        print("| model | GFLOP | in Keras' own layers | layers | transposes | where the rest is |")
        print("|---|--:|--:|--:|--:|---|")
        for name, (weights, graph) in zip(names, published, strict=True):
            print(measure(name, weights, graph), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
