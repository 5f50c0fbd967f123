"""What follows when somebody imports a framework: our layers are registered with Keras, and its files open.

Keras finds a layer of others in a file by its registered name alone. So that `import zoo` is all that it takes, and is
still free of frameworks, the registration waits for the import of Keras itself, whoever does it and when.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

FOLLOWS = {"keras": "zoo.converters.writers.keras.saved"}  # a package -> what registers with it
OLDEST = {"keras": (3, 13)}  # an older one has no layers that ours are made of, and none of our files


class Follower(MetaPathFinder):
    """Lets a module of ours be imported right after a package."""

    def __init__(self) -> None:
        self.is_looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package's own spec, whose loader calls `follow` when it has run."""
        if name not in FOLLOWS or self.is_looking:
            return None
        self.is_looking = True
        try:
            spec = find_spec(name)
        finally:
            self.is_looking = False
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            follow(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this loader alone
        return spec


def follow(package: ModuleType) -> None:
    """Import what registers with a package that has been imported."""
    words = str(getattr(package, "__version__", "")).split(".")[:2]
    version = tuple(int(word) for word in words if word.isdigit())
    if version >= OLDEST[package.__name__]:
        import_module(FOLLOWS[package.__name__])


def watch() -> None:
    """Follow the packages that are imported already, and those that will be."""
    for name in FOLLOWS:
        if (package := sys.modules.get(name)) is not None:
            follow(package)
    if not any(isinstance(finder, Follower) for finder in sys.meta_path):
        sys.meta_path.insert(0, Follower())
