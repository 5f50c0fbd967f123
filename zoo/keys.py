"""The one function that names what is built: a key of all that went into it, so that built/ can go at any time."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.version import __version__

ROOT = Path(__file__).resolve().parent.parent


def key(what: str, facts: Mapping[str, Any]) -> str:
    """`what-<hex>`: the same for the same facts on the same processor with the same code, another for any other.

    `facts` are plain data: digests of what went in, the changes that were asked for, the framework and its version.
    """
    told = {"facts": facts, "code": code_version(), "processor": processor_features()}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def code_version() -> str:
    """Our version; in a checkout, where it stands still while the code moves, the digest of the converters too."""
    if not (ROOT / "pyproject.toml").is_file():
        return __version__
    digest = hashlib.sha256()
    for path in sorted((ROOT / "converters").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:16]}"


def processor_features() -> str:
    """What ONNX Runtime lays a graph out for: the processor's architecture and its instruction sets."""
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    words = " ".join(sorted(flags.partition(":")[2].split())) or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
