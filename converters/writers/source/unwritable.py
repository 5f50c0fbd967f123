"""Why a node can't be written as source."""

from __future__ import annotations

from zoo.errors import ZooError


class Unwritable(ZooError):
    """Why a node has no form that a person would write; traced.Tracer says it of all nodes at once."""
