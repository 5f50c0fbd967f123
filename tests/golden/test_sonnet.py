"""Every Sonnet case of the golden corpus, which are TensorFlow's formats with Sonnet's modules in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.corpus import CORPUS, cases, check


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", cases("sonnet"), ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden_sonnet_models_compute_what_sonnet_computed(case: Path) -> None:
    check(case)
