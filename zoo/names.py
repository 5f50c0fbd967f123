"""The words of the registry, and how a name that somebody typed is compared with its own. Imports nothing."""

from __future__ import annotations

TASKS = (
    "image-classification",
    "text-classification",
    "sentence-embedding",
    "feature-extraction",
    "emotion",
    "ocr",
    "text-detection",
    "text-direction",
    "text-recognition",
)
LICENSE_KINDS = ("permissive", "restricted", "non-commercial", "unknown")


class FormerName(DeprecationWarning):
    """A name of the past was used; the message says the name of today."""


def normal(name: str) -> str:
    """The form that names are compared in: lower case, `_` as `-`.

    >>> normal(" MobileNet_V3_Large ")
    'mobilenet-v3-large'
    """
    text = name.encode("utf-8", "replace").decode()  # what the shell gave may be no Unicode
    return text.strip().lower().replace("_", "-")
