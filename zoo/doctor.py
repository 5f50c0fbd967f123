"""What is here: frameworks, devices, the store and the catalogs, each with what is wrong with it.

Nothing heavy is imported: versions come from the installed packages' metadata, and what has to be imported to be asked
(ONNX Runtime's providers; with `imports` every framework) is asked in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zoo.converters.frameworks import FRAMEWORKS
from zoo.errors import ZooError
from zoo.home import home
from zoo.version import __version__

TIMEOUT_S = 180  # for one framework's import; transformers and TensorFlow have taken 30 s


class Package(NamedTuple):
    """A package that makes something possible."""

    name: str  # pip's
    module: str
    enables: str
    extra: str  # pip install 'polyzoo[<extra>]'; empty for what the base install brings


@dataclass(frozen=True, slots=True)
class Found:
    """A package as it is here; `version` is None where it is not installed, `problem` why it can't be imported."""

    name: str
    version: str | None
    enables: str
    install: str | None
    devices: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The folder of the store and what can be done there. Sizes in bytes."""

    path: Path
    is_writable: bool
    free_bytes: int | None
    shared: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """A catalog, how many models it states, or what is wrong with it."""

    catalog: str
    models: int | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    polyzoo: str
    python: str
    platform: str
    frameworks: tuple[Found, ...]
    devices: tuple[str, ...]
    store: StoreFacts
    is_offline: bool
    catalogs: tuple[CatalogFacts, ...]

    @property
    def problems(self) -> list[str]:
        """What keeps Polyzoo from working as it should, in words."""
        of_packages = [f"{p.name}: {p.problem}" for p in self.frameworks if p.problem]
        of_catalogs = [each.problem for each in self.catalogs if each.problem]
        return [*of_packages, *([self.store.problem] if self.store.problem else []), *of_catalogs]


BESIDE = (  # what is no framework
    Package("onnx", "onnx", "reading and writing .onnx", ""),
    Package("huggingface_hub", "huggingface_hub", "sources of the scheme hf:, with its login", "hf"),
)
ASKS = {  # Python that gives a framework's devices, after `import <module> as m`
    "onnxruntime": "m.get_available_providers()",
    "torch": "['cpu'] + [f'cuda:{i} {m.cuda.get_device_name(i)}' for i in range(m.cuda.device_count())]"
    " + (['mps'] if m.backends.mps.is_available() else [])",
}


def examine(*, imports: bool = False) -> Report:
    """Look around. `imports` really imports each framework, each in a process of its own, which takes seconds."""
    return Report(
        polyzoo=__version__,
        python=f"{platform.python_version()}  {sys.executable}",
        platform=platform.platform(),
        frameworks=tuple(_found(package, imports or package.module == "onnxruntime") for package in _packages()),
        devices=tuple(_devices()),
        store=_store(),
        is_offline=is_offline(),
        catalogs=tuple(_catalogs()),
    )


def is_offline() -> bool:
    """Whether $ZOO_OFFLINE forbids every request."""
    return os.environ.get("ZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _packages() -> Iterator[Package]:
    for each in FRAMEWORKS.values():
        enables = f"framework={each.name!r}: zoo.runner, and {each.gives} from zoo.load"
        yield Package(each.distribution, each.package, enables, each.extra)
    yield from BESIDE


def _found(package: Package, is_asked: bool) -> Found:
    try:
        version: str | None = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown" if importlib.util.find_spec(package.module) else None
    if version is None:
        what = f"polyzoo[{package.extra}]" if package.extra else package.name
        return Found(package.name, None, package.enables, f"pip install '{what}'")
    devices, problem = _ask(package) if is_asked else ((), None)
    return Found(package.name, version, package.enables, None, devices, problem)


def _ask(package: Package) -> tuple[tuple[str, ...], str | None]:
    """Its devices by its own word, and why it can't be imported if it can't."""
    code = f"import json, {package.module} as m; print(json.dumps(list({ASKS.get(package.module, '[]')})))"
    try:
        quiet = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}  # converters/writers/onnx says why
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=quiet
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"{type(error).__name__}: {error}"
    if done.returncode != 0:
        return (), (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return tuple(json.loads(done.stdout.strip().splitlines()[-1])), None


def _devices() -> Iterator[str]:
    yield f"cpu: {os.cpu_count()} threads, {platform.machine()}"
    if smi := shutil.which("nvidia-smi"):
        command = [smi, "--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        yield from (
            f"cuda:{line.strip()}" for line in done.stdout.splitlines() if done.returncode == 0 and line.strip()
        )


def _store() -> StoreFacts:
    path = home()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    is_writable = _takes_files(there)
    try:
        free: int | None = shutil.disk_usage(there).free
    except OSError:
        free = None
    shared = tuple(one for one in os.environ.get("ZOO_SHARED", "").split(os.pathsep) if one)
    return StoreFacts(path, is_writable, free, shared, None if is_writable else f"the store {path} can't be written")


def _takes_files(folder: Path) -> bool:
    """Tried: permissions alone don't say it of /proc, of a full quota, or to root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _catalogs() -> Iterator[CatalogFacts]:
    from zoo import catalogs, schema, yamltree

    try:
        found = catalogs.sources()
    except ZooError as error:
        yield CatalogFacts("$ZOO_CATALOGS", None, str(error))
        return
    for each in found:
        try:
            models = schema.catalog(yamltree.parse(each.read(), each.label), each.label).entries
            yield CatalogFacts(each.label, len(models))
        except ZooError as error:
            yield CatalogFacts(each.label, None, str(error))
    yield from _together()


def _together() -> Iterator[CatalogFacts]:
    """What is wrong only with all of them side by side: a name that two of them state."""
    from zoo import index

    try:
        index.connect().close()
    except ZooError as error:
        yield CatalogFacts("all together", None, str(error))
