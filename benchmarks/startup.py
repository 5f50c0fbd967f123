"""What a start costs: processor time of commands over a catalog of 2,000 entries, and of `zoo run` of a built model.

    python benchmarks/startup.py

Each command is a process of its own, in turn with the others. Printed are the least and the median of eight, user and
system time together, beside what the smallest program that could do it takes: `import click`, and a bare script that
opens the same session with ONNX Runtime and runs it once.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROUNDS, ENTRIES = 8, 2000
ENTRY = """\
net-{i}:
  title: Network number {i}
  task: image-classification
  architecture: torchvision/resnet50
  params: 25557032
  weights:
    v2:
      publisher: somebody
      files: {{weights: [{{path: a.pth, size: 102540417, sources: [https://example.org/a.pth]}}]}}
      dataset: imagenet-1k
      metrics: {{top1: 80.858}}
      input: {{image: {{size: [224, 224], interpolation: bilinear, mean: [0.485, 0.456, 0.406], std: [0.2, 0.2, 0.2]}}}}
"""
BARE = """
import sys, numpy, onnxruntime as ort
settings = ort.SessionOptions()
settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
session = ort.InferenceSession(sys.argv[1], settings, providers=["CPUExecutionProvider"])
session.run(None, {"x": numpy.zeros((1, 3, 224, 224), numpy.float32)})
"""
ZOO = "import sys; sys.argv[0] = 'zoo'; from zoo.cli.app import main; main()"


def seconds(words: tuple[str, ...]) -> float:
    """The processor time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(rows: dict[str, tuple[str, ...]]) -> None:
    """A line a command; the first is what the others are compared with."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for words in rows.values():
        seconds(words)  # the files are in the page cache, and indexes are made
    for _ in range(ROUNDS):
        for name, words in rows.items():
            taken[name].append(seconds(words))
    first = statistics.median(next(iter(taken.values())))
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:34} least {min(times):.3f} s  median {median:.3f} s  {median / first:.2f} times the first")


def main() -> None:
    """Both tables."""
    import zoo
    from zoo.loaders import _built, resolve

    model = "efficientnet-lite0"
    zoo.runner(model)
    session = str(_built(resolve(model)) / "model.onnx")
    photo = str(files("zoo") / "samples" / "coffee.jpg")
    report(
        {
            "a bare ONNX Runtime script": ("-c", BARE, session),
            f"zoo run {model}": ("-c", ZOO, "run", model, photo),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "big.yaml"
        catalog.write_text("".join(ENTRY.format(i=i) for i in range(ENTRIES)))
        os.environ["ZOO_CATALOGS"] = str(catalog)
        commands = {
            f"zoo {' '.join(words)}": ("-c", ZOO, *words) for words in (("--version",), ("list",), ("info", "net-77"))
        }
        report({"import click": ("-c", "import click")} | commands)


if __name__ == "__main__":
    main()
