"""Every Keras case of the golden corpus: Keras 1 to 3, one file or two, and what must be refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.golden.corpus import CORPUS, cases, check
from zoo.errors import Refused

REFUSED = {
    "keras_h5_keras224-gru_rnn_mix": "Lambda",
    "keras_weights_h5_keras224-gru_rnn_mix": "Lambda",
    "keras3_keras-subclassed_net": "class 'Net'",
}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", cases("keras"), ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_keras_models_compute_what_keras_computed(case: Path) -> None:
    name = f"{case.parent.name}-{case.name}"
    if name in REFUSED:
        with pytest.raises(Refused, match=REFUSED[name]):
            check(case)
    else:
        check(case)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
def test_the_weights_of_an_archive_are_there_where_its_architecture_is_code() -> None:
    found = zoo.weights(CORPUS / "keras3_keras" / "subclassed_net" / "model.keras")
    assert len(found) > 4
    assert all(np.isfinite(np.asarray(tensor)).all() for tensor in found.values())
