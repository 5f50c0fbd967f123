"""What the documents say is run: the docstrings' examples, and the README's quickstart as a reader would type it."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.converters.frameworks import FRAMEWORKS

pytestmark = pytest.mark.parity
ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BY_HAND = "zoo.architectures.make"  # the tool that exports architectures wants every publisher's package
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = re.findall(r"^    (zoo [^#\n]*[^#\s])", README, re.MULTILINE)
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
GUIDE = (ROOT / "docs" / "frameworks.md").read_text()
OF_FRAMEWORKS = re.findall(r"^## (\w+)\n.*?^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def modules() -> list[tuple[str, str]]:
    """Every module with the framework whose folder it is in; found without importing packages, which may import it."""
    files = [path.relative_to(ROOT) for room in ("converters", "cli", "zoo") for path in (ROOT / room).rglob("*.py")]
    parts = [path.parts[path.parts[0] == "zoo" :] for path in files]  # the others are rooms of zoo
    names = sorted(".".join(("zoo", *p)).removesuffix(".py").removesuffix(".__init__") for p in parts)
    homes = {f"zoo.converters.writers.{f.folder}": f.name for f in FRAMEWORKS.values() if f.name != "onnx"}
    return [
        (next((homes[home] for home in homes if f"{name}.".startswith(f"{home}.")), ""), name)
        for name in names
        if not name.startswith(BY_HAND)
    ]


@pytest.mark.parametrize(("framework", "name"), modules())
def test_the_examples_of_the_docstrings_give_what_they_say(framework, name):
    if framework:
        pytest.importorskip(FRAMEWORKS[framework].package)
    assert 0 == doctest.testmod(importlib.import_module(name)).failed


@pytest.fixture
def desk(tmp_path, zoo_home) -> Path:
    """A folder with the files that the README's reader has: a photograph, sentences, a page with words on it."""
    for sample, name in (("coffee.jpg", "photo.jpg"), ("sentences.txt", "sentences.txt"), ("page.png", "page.png")):
        shutil.copy(ROOT / "zoo" / "samples" / sample, tmp_path / name)
    return tmp_path


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.network
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_does_what_its_reader_expects(line, desk):
    words = shlex.split(line)[1:]
    assert run([sys.executable, "-c", "from zoo.cli.app import main; main()", *words], desk)
    for option in ("--save", "-o"):
        if option in words:
            assert (desk / words[words.index(option) + 1]).stat().st_size > 0


@pytest.mark.network
@pytest.mark.torch
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_readme_runs(program, desk):
    pytest.importorskip("torch")
    assert run([sys.executable, "-c", program], desk)


@pytest.mark.network
@pytest.mark.parametrize(("framework", "program"), OF_FRAMEWORKS, ids=[name for name, _ in OF_FRAMEWORKS])
def test_a_frameworks_program_of_the_guide_runs(framework, program, desk):
    pytest.importorskip(FRAMEWORKS[framework].package)
    run([sys.executable, "-W", "ignore", "-c", program], desk)


def test_the_readme_has_examples_to_run():
    assert len(COMMANDS) >= 5
    assert len(PROGRAMS) >= 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_links_only_to_files_that_are_there(document):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert [] == [target for target in targets if not (document.parent / target).exists()]
