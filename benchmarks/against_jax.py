"""Converted jax functions against plain Flax: the same network and weights, one process, in turn, under jax.jit.

    python benchmarks/against_jax.py [--runs 30] [--models resnet50,mobilenet_v2] [--batches 1,8]

For each model the latency of a forward at each batch, as ratio converted / plain of medians. The plain networks are
nnx.Conv, nnx.BatchNorm and nnx.Linear as a Flax user writes them, pictures with their channels last; so are those that
the converted function is given.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from flax import nnx

import zoo
from zoo.architectures import make
from zoo.converters.canonical import canonical

MODELS = ("resnet50", "mobilenet_v2")
SIZE = 224  # pixels a side
MOST_APART = 1e-4  # of the largest magnitude: float32 through the layers in another order of summation


# ---- the plain networks, whose attributes bear torchvision's names


class Conv(nnx.Conv):
    """A convolution as torchvision has it: padded by half of the kernel, without a bias."""

    def __init__(self, cin: int, cout: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            cin,
            cout,
            (size, size),
            stride,
            padding=[(size // 2, size // 2)] * 2,
            feature_group_count=groups,
            use_bias=False,
            rngs=nnx.Rngs(0),
        )


def norm(channels: int) -> nnx.BatchNorm:
    """A batch norm with torch's numbers."""
    return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))


class Bottleneck(nnx.Module):
    """He et al., arXiv:1512.03385, with the stride on the 3 x 3."""

    def __init__(self, cin: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = Conv(cin, width, 1), norm(width)
        self.conv2, self.bn2 = Conv(width, width, 3, stride), norm(width)
        self.conv3, self.bn3 = Conv(width, 4 * width, 1), norm(4 * width)
        self.has_shortcut = stride > 1 or cin != 4 * width
        if self.has_shortcut:
            self.downsample_conv, self.downsample_bn = Conv(cin, 4 * width, 1, stride), norm(4 * width)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        shortcut = self.downsample_bn(self.downsample_conv(x)) if self.has_shortcut else x
        return nnx.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet50(nnx.Module):
    """He et al., arXiv:1512.03385."""

    def __init__(self) -> None:
        self.conv1, self.bn1 = Conv(3, 64, 7, 2), norm(64)
        blocks, channels = [], 64
        for stage, count in enumerate((3, 4, 6, 3)):
            for i in range(count):
                blocks.append(Bottleneck(channels, 64 << stage, 2 if stage and not i else 1))
                channels = 4 * (64 << stage)
        self.blocks = nnx.List(blocks)
        self.fc = nnx.Linear(2048, 1000, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.bn1(self.conv1(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


class InvertedResidual(nnx.Module):
    """Sandler et al., arXiv:1801.04381."""

    def __init__(self, cin: int, cout: int, stride: int, factor: int) -> None:
        hidden, self.adds, self.expands = cin * factor, stride == 1 and cin == cout, factor > 1
        if self.expands:
            self.expand, self.expand_bn = Conv(cin, hidden, 1), norm(hidden)
        self.depthwise, self.depthwise_bn = Conv(hidden, hidden, 3, stride, hidden), norm(hidden)
        self.project, self.project_bn = Conv(hidden, cout, 1), norm(cout)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu6(self.expand_bn(self.expand(x))) if self.expands else x
        y = nnx.relu6(self.depthwise_bn(self.depthwise(y)))
        y = self.project_bn(self.project(y))
        return x + y if self.adds else y


class MobileNetV2(nnx.Module):
    """Sandler et al., arXiv:1801.04381, table 2."""

    def __init__(self) -> None:
        self.stem, self.stem_bn = Conv(3, 32, 3, 2), norm(32)
        blocks, channels = [], 32
        for factor, cout, count, stride in (
            *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
            *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
        ):
            for i in range(count):
                blocks.append(InvertedResidual(channels, cout, 1 if i else stride, factor))
                channels = cout
        self.blocks = nnx.List(blocks)
        self.last, self.last_bn = Conv(320, 1280, 1), norm(1280)
        self.dropout = nnx.Dropout(0.2, rngs=nnx.Rngs(0))
        self.classifier = nnx.Linear(1280, 1000, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu6(self.stem_bn(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = nnx.relu6(self.last_bn(self.last(x)))
        return self.classifier(self.dropout(x.mean((1, 2))))


PLAIN: dict[str, Callable[[], nnx.Module]] = {"resnet50": ResNet50, "mobilenet_v2": MobileNetV2}


# ---- the same weights in both


def layers(module: nnx.Module) -> Iterator[Any]:
    """The layers with weights, in the order in which they were made, which is that of torchvision's state_dict."""
    parts = module if isinstance(module, nnx.List) else vars(module).values()
    for part in parts:
        if isinstance(part, (nnx.Conv, nnx.BatchNorm, nnx.Linear)):
            yield part
        elif isinstance(part, nnx.Module):
            yield from layers(part)


def fill(module: nnx.Module, tensors: Iterator[np.ndarray[Any, Any]]) -> None:
    """Give each layer its tensors of a state_dict, in Flax's layout."""
    for layer in layers(module):
        if isinstance(layer, nnx.BatchNorm):
            variables = (layer.scale, layer.bias, layer.mean, layer.var)
            arrays = [next(tensors) for _ in variables]
        elif isinstance(layer, nnx.Linear):
            variables, arrays = (layer.kernel, layer.bias), [next(tensors).T, next(tensors)]
        else:
            variables, arrays = (layer.kernel,), [next(tensors).transpose(2, 3, 1, 0)]
        for variable, array in zip(variables, arrays, strict=True):
            if variable.shape != array.shape:
                raise ValueError(f"{type(layer).__name__}: {array.shape} for {variable.shape}")
            variable[...] = jnp.asarray(array)


def pair(name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The converted function and the plain one, both compiled, of pictures [N, H, W, 3]."""
    source = make.settled(make._torchvision(name, {"size": SIZE}))
    graph = canonical(make.weightless(make.export(source), source, name))
    state = source.module.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(state, path)
        apply, params = zoo.load(path, "jax", architecture=graph, channels="last")
    module = PLAIN[name]()
    fill(module, (t.numpy() for key, t in state.items() if not key.endswith("num_batches_tracked")))
    module.eval()
    structure, variables = nnx.split(module)
    ours = jax.jit(apply)
    theirs = jax.jit(lambda variables, x: nnx.merge(structure, variables)(x))
    return partial(ours, params), partial(theirs, variables)


# ---- clock


def seconds(call: Callable[[Any], Any], x: jax.Array) -> float:
    """One call, to its end."""
    start = time.perf_counter()
    call(x).block_until_ready()
    return time.perf_counter() - start


def ratio(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], x: jax.Array, runs: int) -> tuple[float, float]:
    """Median over median, in turn, the first alternating; and the plain median in seconds."""
    for call in (ours, theirs, ours, theirs):
        call(x).block_until_ready()
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(runs):
        for which in (0, 1) if i % 2 else (1, 0):
            times[which].append(seconds((ours, theirs)[which], x))
    ours_s, theirs_s = map(statistics.median, times)
    return ours_s / theirs_s, theirs_s


def main() -> int:
    """Print the table; the exit code is 1 where the two don't compute the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default="1,8")
    args = parser.parse_args()
    torch.manual_seed(0)
    versions = f"jax {jax.__version__}, flax {flax.__version__}, torchvision {torchvision.__version__}"
    print(f"{versions}, {jax.devices()[0].device_kind}, {os.cpu_count()} processors")
    print("| model | batch | converted / plain | plain, ms | largest difference |\n|---|---|---|---|---|")
    has_failed = False
    for name in args.models.split(","):
        ours, theirs = pair(name)
        for batch in map(int, args.batches.split(",")):
            x = jax.random.normal(jax.random.key(0), (batch, SIZE, SIZE, 3))
            want, have = theirs(x), ours(x)
            apart = float(jnp.abs(want - have).max() / jnp.abs(want).max())
            has_failed |= not apart <= MOST_APART
            share, plain_s = ratio(ours, theirs, x, max(5, args.runs // batch))
            print(f"| {name} | {batch} | {share:.3f} | {1e3 * plain_s:.1f} | {apart:.1e} |", flush=True)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
