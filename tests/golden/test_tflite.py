"""Every TFLite case of the golden corpus: float, float16, weights quantised alone, and int8 to the quantum."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.corpus import CORPUS, cases, check


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", cases("tflite"), ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_tflite_models_compute_what_the_reference_kernels_computed(case: Path) -> None:
    check(case)
