"""How a name that somebody typed is compared with the registry's."""

from __future__ import annotations


def normal(name: str) -> str:
    """The form that names are compared in: lower case, `_` as `-`.

    >>> normal(" MobileNet_V3_Large ")
    'mobilenet-v3-large'
    """
    return name.strip().lower().replace("_", "-")
