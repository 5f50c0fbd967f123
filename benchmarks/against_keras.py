"""Converted models of Keras Applications against Keras' own: the same weights, one process, in turn.

    KERAS_BACKEND=tensorflow python benchmarks/against_keras.py [--runs 30] [--models ResNet50,MobileNetV2]

Keras' own model is saved to HDF5, read by our reader as any user's file is, and written as a Keras model again. Latency
of a traced forward at batch 1 and 8, as TensorFlow runs it and compiled by XLA, and of a training step (fit's own) at
batch 8: all as ratios converted / original of medians.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo

MODELS = ("ResNet50", "MobileNetV2")
SIZE = 224  # pixels a side
Call = Callable[[], Any]


def pair(name: str, folder: Path) -> tuple[keras.Model, keras.Model]:
    """Keras' own model with seeded weights, and ours of the file that Keras saves."""
    keras.utils.set_random_seed(0)
    original = getattr(keras.applications, name)(weights=None)
    path = folder / f"{name}.h5"
    original.save(path)
    converted = zoo.load(path, "keras")
    x = np.random.default_rng(0).standard_normal((2, SIZE, SIZE, 3)).astype(np.float32)
    want, got = original.predict(x, verbose=0), converted.predict(x, verbose=0)
    assert np.abs(want - got).max() <= 1e-4 * np.abs(want).max()  # float32 in another order of summation
    return converted, original


def forward(model: keras.Model, batch: int, xla: bool) -> Call:
    """A traced forward."""
    x = tf.random.stateless_normal((batch, SIZE, SIZE, 3), (0, 0))
    call = tf.function(lambda x: model(x, training=False), jit_compile=xla)
    return lambda: call(x).numpy()


def step(model: keras.Model, batch: int) -> Call:
    """A training step, as `fit` takes it."""
    model.compile(optimizer=keras.optimizers.SGD(1e-6), loss="sparse_categorical_crossentropy", jit_compile=False)
    x = np.random.default_rng(0).standard_normal((batch, SIZE, SIZE, 3)).astype(np.float32)
    y = np.arange(batch)
    return lambda: model.train_on_batch(x, y)


def ratio(ours: Call, theirs: Call, runs: int) -> float:
    """Median over median, in turn, the first alternating."""
    for call in (ours, theirs, ours, theirs):
        call()
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(runs):
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            (ours, theirs)[which]()
            times[which].append(time.perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--models", default=",".join(MODELS))
    args = parser.parse_args()
    print(f"keras {keras.__version__} on {keras.backend.backend()}, tensorflow {tf.__version__}")
    print("| model | batch 1 | batch 8 | batch 1, XLA | batch 8, XLA | training step |\n|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            ours, theirs = pair(name, Path(folder))
            cases = [(batch, xla) for xla in (False, True) for batch in (1, 8)]
            row = [
                ratio(forward(ours, batch, xla), forward(theirs, batch, xla), max(5, args.runs // batch))
                for batch, xla in cases
            ]
            row.append(ratio(step(ours, 8), step(theirs, 8), max(5, args.runs // 8)))
            rows.append(row)
            print(f"| {name} | " + " | ".join(f"{r:.3f}" for r in row) + " |", flush=True)
    means = [math.exp(statistics.fmean(math.log(row[i]) for row in rows)) for i in range(len(rows[0]))]
    print("| geometric mean | " + " | ".join(f"{m:.3f}" for m in means) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
