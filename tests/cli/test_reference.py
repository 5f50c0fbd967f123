from __future__ import annotations

from pathlib import Path

from zoo.cli.reference import reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_of_the_command_is_up_to_date():
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "python -m zoo.cli.reference > docs/cli.md"
