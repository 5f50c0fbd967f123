"""What all tests share: a store of their own, and what a skip may mean in CI.

One heavy framework to a process: torch's triton crashes where TensorFlow was imported before it, and xdist's workers
import every file that they collect. So `make test` runs pytest once for each of GROUPS, named by ZOO_TEST_GROUP.
Without the variable, all that is asked for runs in one process, as suits a part.

A skip is right where a developer lacks a framework. In CI every framework is there, so that a skip is a test that
silently no longer runs: with CI=true it fails, unless its reason names one of ALLOWED.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ.get("ZOO_TEST_ENVIRONMENT", "")  # "all" or "latest", set by the Makefile
GROUP = os.environ.get("ZOO_TEST_GROUP", "")
GROUPS = {  # what shares a process; the first one has all the tests that want no framework as well
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras", "sonnet"),
    "jax": ("jax", "flax"),
    "mxnet": ("mxnet", "gluon"),
}
OTHERS = {name for group, names in GROUPS.items() if group != GROUP for name in names}
ALLOWED = ("gpu", "../shared") + (("mxnet",) if ENVIRONMENT == "latest" else ())


def pytest_configure(config: pytest.Config) -> None:
    """No test sees the user's store, tokens or catalogs: the variables go before a module of ours is imported."""
    home = Path(os.environ.get("ZOO_TEST_HOME") or ROOT / ".pytest_cache" / "zoo-home")
    for name in list(os.environ):
        if name.startswith("ZOO_") and not name.startswith("ZOO_TEST_") or name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            del os.environ[name]
    home.mkdir(parents=True, exist_ok=True)
    # A job that a shell put into the background ignores Ctrl-C, and so would every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["ZOO_HOME"] = str(home.resolve())
    if GROUP in ("", "mxnet"):  # MXNet's import wants what our folder sets, also where a test imports it by itself
        importlib.import_module("zoo.converters.writers.mxnet")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Whether no test of the group is in a file or a framework's folder: so that nobody imports it."""
    if not GROUP:
        return None
    if collection_path.name in OTHERS:
        return True
    if collection_path.suffix != ".py" or collection_path.name == "conftest.py":
        return None
    text, folder = collection_path.read_text(), {collection_path.parent.name}
    if GROUP == "torch":
        return bool(OTHERS.intersection(re.findall(r"^pytestmark = pytest\.mark\.(\w+)", text, re.MULTILINE))) or None
    named = folder.union(re.findall(r"pytest\.mark\.(\w+)", text))
    return None if named & {"parity", *GROUPS[GROUP]} else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of other groups to their runs."""
    if GROUP:
        sides: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            sides[_is_mine(_names(item))].append(item)
        config.hook.pytest_deselected(items=sides[False])
        items[:] = sides[True]


def _names(item: pytest.Item) -> set[str]:
    """What may name a test's framework: its marks, its folder, its parameter `framework`."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return {mark.name for mark in item.iter_markers()} | {item.path.parent.name, str(parameters.get("framework", ""))}


def _is_mine(names: set[str]) -> bool:
    return not names & OTHERS if GROUP == "torch" else bool(names & set(GROUPS[GROUP]))


@pytest.fixture(autouse=True)
def only_the_groups_frameworks() -> Generator[None, None, None]:
    """A test of torch's run imports no other framework, and none of another run what torch compiles by."""
    yield
    foreign = OTHERS if GROUP == "torch" else {"triton"} if GROUP else set()
    assert [] == sorted(foreign & sys.modules.keys()), "mark the test by its framework, or run it in a process"


def _strict(report: Report) -> Report:
    """The report; where it is a skip that CI must not have, a failure with the reason of the skip."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(word in reason.lower() for word in ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid}: a skip that CI must not have ({reason}); allowed: {', '.join(ALLOWED)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _strict((yield))


@pytest.fixture(scope="session")
def zoo_home() -> Path:
    """The store of all sessions and of their processes: real weights are fetched once."""
    return Path(os.environ["ZOO_HOME"])


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with nothing in it, for this test alone and the processes that it starts."""
    home = tmp_path / "zoo-home"
    monkeypatch.setenv("ZOO_HOME", str(home))
    return home
