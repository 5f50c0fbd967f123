"""Every TensorFlow case of the golden corpus: frozen graphs, checkpoints, SavedModels 1 and 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.golden.corpus import CORPUS, cases, check, opened

# What these files compute inside and their test wants as an output, by the names of the nodes
INNER = {
    "dynamic_bilstm_while": ["dense/BiasAdd", "Max"],
    "static_lstm_gru_text": ["dense__Sigmoid", "concat"],
}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", cases("tf1", "tf2"), ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_tensorflow_models_compute_what_tensorflow_computed(case: Path) -> None:
    states_none = case.parent.name in ("tf1_frozen", "tf1_checkpoint")
    check(case, **({"outputs": INNER[case.name]} if states_none and case.name in INNER else {}))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize(
    "case", cases("tf2", "sonnet2", kind="weights"), ids=lambda case: f"{case.parent.name}-{case.name}"
)
def test_golden_checkpoints_are_read_bit_for_bit(case: Path) -> None:
    expected, actual = dict(np.load(case / "tensors.npz", allow_pickle=False)), zoo.weights(opened(case))
    assert set(expected) <= set(actual)
    for name, array in expected.items():
        assert np.asarray(actual[name]).tobytes() == array.tobytes(), name
