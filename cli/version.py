"""zoo version: of Polyzoo and of what it stands on."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping

from zoo.cli import command as cli
from zoo.version import __version__


@cli.command("version", epilog="zoo version\nzoo version --json")
def command() -> None:
    """Print the version; `zoo doctor` says more."""
    cli.show({"polyzoo": __version__, "python": platform.python_version()}, lines)


def lines(versions: Mapping[str, str]) -> Iterator[str]:
    """One line."""
    yield f"zoo {versions['polyzoo']}"
