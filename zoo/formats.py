"""The file formats that are known: what `zoo formats` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.converters.formats import FormatRow as FormatRow


def formats() -> list[FormatRow]:
    """Every format that is read or written, models first."""
    from zoo.converters.formats import rows

    return list(rows())
