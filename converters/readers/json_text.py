"""JSON out of a file, of which a few bytes may be a whole object: counted before anything is made of it."""

from __future__ import annotations

import json
from typing import Any

from zoo.converters.readers.scribe import Fault

MAX_PARTS = 2_000_000  # lists, dicts and members of them, about 80 bytes each; the largest programs have a tenth


def parsed(data: bytes) -> Any:
    """What the JSON holds. Raises Fault."""
    parts = sum(map(data.count, (b",", b"[", b"{")))
    if parts > MAX_PARTS:
        raise Fault(f"JSON of {parts:,} parts", is_refusal=True)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Fault(f"no JSON: {str(error)[:100]}") from error
