"""One registry of pretrained vision and text models; any model, in any framework, with the same numbers everywhere.

    zoo.models(task="image-classification", license="permissive")   browse
    zoo.load("resnet50", framework="torch")                         a native object
    zoo.predictor("efficientnet-lite0")("photo.jpg")                an answer

Nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo import on_import
from zoo.version import __version__ as __version__

if TYPE_CHECKING:
    from zoo.conversion import convert as convert
    from zoo.inspection import inspect as inspect
    from zoo.loaders import load as load
    from zoo.loaders import predictor as predictor
    from zoo.loaders import processor as processor
    from zoo.loaders import pull as pull
    from zoo.loaders import runner as runner
    from zoo.loaders import weights as weights
    from zoo.registry import info as info
    from zoo.registry import models as models
    from zoo.verification import verify as verify

VERBS = {
    "models": "zoo.registry",
    "info": "zoo.registry",
    "pull": "zoo.loaders",
    "weights": "zoo.loaders",
    "load": "zoo.loaders",
    "runner": "zoo.loaders",
    "predictor": "zoo.loaders",
    "processor": "zoo.loaders",
    "inspect": "zoo.inspection",
    "convert": "zoo.conversion",
    "verify": "zoo.verification",
}
__all__ = ["__version__", *VERBS]
on_import.watch()


def __getattr__(name: str) -> Any:
    if name not in VERBS:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(import_module(VERBS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *VERBS})
