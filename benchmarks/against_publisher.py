"""Converted modules against their publisher's own: the same weights, one process, in turn.

    python benchmarks/against_publisher.py [--runs 30] [--models resnet50,vit_b_16] [--plot FILE.png]

For each model: latency of a forward at batch 1 and 8, of a training step (forward, backward, SGD) at batch 8, all as
ratios converted / original of medians; the peak of memory that a forward at batch 8 adds, likewise; and the time of the
conversion, from the state_dict's file to the module. `--device cuda` times on a GPU, by its own events' end.
"""

from __future__ import annotations

import argparse
import copy
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision

import zoo
from zoo.architectures import make
from zoo.converters.canonical import canonical

MODELS = (
    *("resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t"),
    *("densenet121", "regnet_y_400mf", "shufflenet_v2_x1_0"),
)
BATCHES = (1, 8)
SIZE = 224  # pixels a side


class Row(NamedTuple):
    """What was measured of a model: ratios converted / original, and the conversion in seconds."""

    model: str
    latency: dict[int, float]
    training: float
    memory: float
    conversion_s: float


def pair(name: str, device: str) -> tuple[torch.nn.Module, torch.nn.Module, float]:
    """The publisher's module, ours with the same weights, and how long the conversion took."""
    source = make.settled(make._torchvision(name, {"size": SIZE}))
    graph = canonical(make.weightless(make.export(source), source, name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(source.module.state_dict(), path)
        start = time.perf_counter()
        native = zoo.load(path, "torch", architecture=graph)
        took = time.perf_counter() - start
        native = copy.deepcopy(native)  # off the file, which goes
    return source.module.to(device), native.to(device), took


def seconds(call: Callable[[], Any], device: str) -> float:
    """One call, to its end on the device."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int, device: str) -> float:
    """Median over median, in turn, the first alternating."""
    for call in (ours, theirs, ours, theirs):
        call()
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(runs):
        for which in (0, 1) if i % 2 else (1, 0):
            times[which].append(seconds((ours, theirs)[which], device))
    return statistics.median(times[0]) / statistics.median(times[1])


def forward(module: torch.nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """A forward without gradients."""

    def call() -> Any:
        with torch.inference_mode():
            return module(x)

    return call


def step(module: torch.nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """A training step."""
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-6)

    def call() -> None:
        optimiser.zero_grad()
        module(x).square().mean().backward()
        optimiser.step()

    return call


def held(call: Callable[[], Any], device: str) -> float:
    """The bytes of activations that a call holds at most: on a GPU the allocator's peak, else the profiler's."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return float(torch.cuda.max_memory_allocated() - before)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    total = peak = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return float(peak)


def measure(name: str, runs: int, device: str) -> Row:
    """All figures of one model."""
    theirs, ours, took = pair(name, device)
    latency = {}
    for batch in BATCHES:
        x = torch.randn(batch, 3, SIZE, SIZE, device=device)
        latency[batch] = ratio(forward(ours, x), forward(theirs, x), max(5, runs // batch), device)
    memory = held(forward(ours, x), device) / held(forward(theirs, x), device)
    ours.train()
    theirs.train()
    training = ratio(step(ours, x), step(theirs, x), max(5, runs // 8), device)
    return Row(name, latency, training, memory, took)


def geometric(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(math.log(r) for r in ratios))


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of the ratios, one group a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    series = {f"batch {b}": [r.latency[b] for r in rows] for b in BATCHES} | {
        "training step": [r.training for r in rows]
    }
    figure, axes = plt.subplots(figsize=(10, 4))
    for i, (label, values) in enumerate(series.items()):
        axes.bar([k + (i - 1) * 0.27 for k in range(len(rows))], values, 0.25, label=label)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [r.model for r in rows], rotation=30, ha="right")
    axes.set_ylabel("converted / original")
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    print(f"{versions}, {args.device}, {torch.get_num_threads()} threads")
    print("| model | batch 1 | batch 8 | training step | memory | conversion, s |\n|---|---|---|---|---|---|")
    rows = []
    for name in args.models.split(","):
        row = measure(name, args.runs, args.device)
        rows.append(row)
        print(
            f"| {name} | {row.latency[1]:.3f} | {row.latency[8]:.3f} | {row.training:.3f} | {row.memory:.3f} "
            f"| {row.conversion_s:.2f} |",
            flush=True,
        )
    means = [geometric([r.latency[b] for r in rows]) for b in BATCHES]
    means += [geometric([r.training for r in rows]), geometric([r.memory for r in rows])]
    print("| geometric mean | " + " | ".join(f"{m:.3f}" for m in means) + " | |")
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    if args.plot:
        plot(rows, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
