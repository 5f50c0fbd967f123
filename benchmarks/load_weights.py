"""How long a .pth takes into an existing torch module: our reader against torch.load(mmap=True), side by side.

    python benchmarks/load_weights.py [--runs 20] [--model resnet50]

Both sides end in the same `load_state_dict`; imports, hashing and the module's construction are outside. The runs
alternate in one process, so that both meet the same machine; peak memory is the growth of VmHWM in a process for each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision

from zoo.converters import tensors

State = dict[str, torch.Tensor]
TARGET = 1.2  # of torch's time, and of the file's size in memory
# torch.from_numpy knows none of ml_dtypes' types: their bits go over as integers of the same width.
INTEGERS = {1: "uint8", 2: "int16"}


def torchs(path: Path) -> State:
    return torch.load(path, mmap=True, weights_only=True)


def ours(path: Path) -> State:
    return {name: as_torch(tensor) for name, tensor in tensors.read(path).items()}


def as_torch(tensor: tensors.Tensor) -> torch.Tensor:
    """The same memory as a torch.Tensor."""
    array = tensor.numpy()
    if array.dtype.kind != "V" and array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(INTEGERS[array.itemsize])).view(getattr(torch, array.dtype.name))


READERS: dict[str, Callable[[Path], State]] = {"torch": torchs, "ours": ours}


def timed(read: Callable[[Path], State], path: Path, module: torch.nn.Module) -> float:
    start = time.perf_counter()
    module.load_state_dict(read(path))
    return time.perf_counter() - start


def peak_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def growth(side: str, path: Path, model: str) -> int:
    """Peak memory in bytes that one load adds to a process that has the module already."""
    module = torchvision.models.get_model(model)
    for parameter in module.state_dict().values():
        parameter.zero_()  # its pages are there before the measurement begins
    read = READERS[side]
    with tempfile.TemporaryDirectory() as folder:  # imports and first calls are not what is measured
        small = Path(folder) / "small.pth"
        torch.save(torch.nn.Linear(2, 2).state_dict(), small)
        read(small)
    before = peak_kib()
    module.load_state_dict(read(path))
    return (peak_kib() - before) * 1024


def measure(path: Path, runs: int, model: str) -> dict[str, Any]:
    module = torchvision.models.get_model(model)
    seconds: dict[str, list[float]] = {side: [] for side in READERS}
    for i in range(runs + 2):
        for side in sorted(READERS, reverse=bool(i % 2)):
            spent = timed(READERS[side], path, module)
            if i >= 2:
                seconds[side].append(spent)
    reading: dict[str, float] = {}
    for side, read in READERS.items():
        spans = []
        for _ in range(runs):
            start = time.perf_counter()
            read(path)
            spans.append(time.perf_counter() - start)
        reading[side] = statistics.median(spans)
    size = path.stat().st_size
    command = [sys.executable, __file__, "--model", model, "--file", str(path), "--peak"]
    peaks = {side: int(subprocess.run([*command, side], check=True, capture_output=True).stdout) for side in READERS}
    return {
        "file_bytes": size,
        "tensors": len(module.state_dict()),
        "median_s": {side: statistics.median(spans) for side, spans in seconds.items()},
        "read_only_s": reading,
        "time_ratio": statistics.median(a / b for a, b in zip(seconds["ours"], seconds["torch"], strict=True)),
        "peak_of_file": {side: peak / size for side, peak in peaks.items()},
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--peak", choices=READERS)
    options = parser.parse_args()
    if options.peak:
        print(growth(options.peak, options.file, options.model))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / f"{options.model}.pth"
        if not options.file:
            torch.save(torchvision.models.get_model(options.model).state_dict(), path)
        result = measure(path, options.runs, options.model)
    print(json.dumps(result, indent=1))
    ok = result["time_ratio"] <= TARGET and result["peak_of_file"]["ours"] <= TARGET
    print(f"{'within' if ok else 'BEYOND'} {TARGET} times torch's time and the file's size", file=sys.stderr)
    sys.exit(not ok)


if __name__ == "__main__":
    main()
