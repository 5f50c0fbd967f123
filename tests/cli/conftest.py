"""The command in this process, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

COMMAND = (sys.executable, "-c", "from zoo.cli.app import main; main()")


@pytest.fixture
def zoo() -> Callable[..., Result]:
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*words: str, stdin: str | bytes | None = None) -> Result:
        from zoo.cli.app import app

        result = CliRunner().invoke(app, list(words), input=stdin, prog_name="zoo")
        assert "Traceback" not in result.stderr or "--debug" in words, result.stderr
        assert not result.stderr.startswith("Bug in Polyzoo"), result.stderr
        return result

    return run


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line as a process."""

    def run(*words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        variables = os.environ | settings.pop("env", {})
        return subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, timeout=120, env=variables, check=False, **settings
        )

    return run
