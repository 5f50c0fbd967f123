"""The built wheel is the checkout's package, whole and alone: it runs where there is no checkout and no framework."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# package data, beside every module
DATA = ("py.typed", "registry.yaml", "architectures", "tasks/labels", "samples", "converters/writers/lowered.json")

pytestmark = pytest.mark.network


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    """What a process writes on stdout; its stderr is the failure's text."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean | variables, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def package_files() -> set[str]:
    """The files of package `zoo` as the checkout has them, through its links."""
    found = {path for folder in ("zoo", "cli", "converters") for path in (ROOT / folder).rglob("*.py")}
    for name in DATA:
        here = ROOT / "zoo" / name
        found |= {here} if here.is_file() else {path for path in here.rglob("*") if path.is_file()}
    relative = (path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts)
    return {name if name.startswith("zoo/") else f"zoo/{name}" for name in relative}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """sdist, the wheel made from it, and the wheel made from the checkout's files, each by `python -m build`."""
    work = tmp_path_factory.mktemp("packaging")
    made_here = (".git", ".venv*", ".*_cache", "__pycache__", "build", "dist", "*.egg-info", "*.sqlite")
    shutil.copytree(ROOT, work / "checkout", symlinks=True, ignore=shutil.ignore_patterns(*made_here))
    build = (sys.executable, "-m", "build", "--installer", "uv", "--outdir")
    run(*build, work / "from-sdist", cwd=work / "checkout")
    run(*build, work / "direct", "--wheel", cwd=work / "checkout")
    return {
        "sdist": next((work / "from-sdist").glob("*.tar.gz")),
        "wheel": next((work / "from-sdist").glob("*.whl")),
        "direct": next((work / "direct").glob("*.whl")),
    }


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The folder of the executables of an environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--python", sys.executable, folder, cwd=folder.parent)
    pins = ("--constraint", ROOT / "constraints" / "base.txt")
    run(*uv, "pip", "install", "--python", folder, *pins, built["wheel"], cwd=folder.parent)
    return folder / "bin"


def contents(wheel: Path) -> dict[str, int]:
    """File names to CRC-32, of the package alone: what it would install under zoo/."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist() if info.filename.startswith("zoo/")}


def test_the_wheel_holds_the_package_that_the_checkout_has_and_the_index(built):
    assert package_files() | {"zoo/registry.sqlite"} == contents(built["wheel"]).keys()


def test_the_wheel_holds_nothing_beside_the_package(built):
    with zipfile.ZipFile(built["wheel"]) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {"zoo"} == {top for top in tops if not top.endswith(".dist-info")}


def test_the_sdist_builds_the_same_wheel_as_the_checkout(built):
    assert contents(built["direct"]) == contents(built["wheel"])


def test_the_sdist_holds_files_and_no_links(built):
    with tarfile.open(built["sdist"]) as archive:
        members = archive.getmembers()
    assert [] == [member.name for member in members if not (member.isfile() or member.isdir())]
    assert {"zoo/cli/app.py", "zoo/registry.yaml", "setup.py"} <= {m.name.partition("/")[2] for m in members}


def test_the_wheel_installed_elsewhere_lists_what_the_checkout_lists(installed, tmp_path, empty_home):
    checkout = (sys.executable, "-c", "from zoo.cli.app import main; main()")
    for words in (("--version",), ("list",), ("info", "efficientnet-lite0", "--json")):
        assert run(*checkout, *words, cwd=ROOT) == run(installed / "zoo", *words, cwd=tmp_path)


def test_the_wheel_installed_elsewhere_names_what_is_on_a_photograph(installed, tmp_path, zoo_home):
    """Its answer is the checkout's; the numbers may differ in the last digits, as numpy's releases do in theirs."""
    photo = shutil.copy(ROOT / "zoo" / "samples" / "coffee.jpg", tmp_path)
    checkout = (sys.executable, "-c", "from zoo.cli.app import main; main()")
    words = ("run", "efficientnet-lite0", photo, "--json")
    here = json.loads(run(*checkout, *words, cwd=ROOT))["scores"]
    there = json.loads(run(installed / "zoo", *words, cwd=tmp_path))["scores"]
    assert "espresso" == there[0]["label"]
    assert [label["label"] for label in here] == [label["label"] for label in there]
    assert [label["score"] for label in here] == pytest.approx([label["score"] for label in there])


def test_the_wheel_installed_elsewhere_has_no_framework_and_fits_together(installed, tmp_path):
    run(sys.executable, "-m", "uv", "pip", "check", "--python", installed / "python", cwd=tmp_path)
    names = "torch tensorflow keras jax mxnet timm transformers"
    code = f"from importlib.util import find_spec; print(*filter(find_spec, {names.split()!r}))"
    assert "\n" == run(installed / "python", "-I", "-c", code, cwd=tmp_path)
