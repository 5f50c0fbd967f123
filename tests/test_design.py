"""The design's own rules (docs/design.md): who imports whom, what a start may cost, what an architecture file says."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import zoo

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = ROOT / "zoo" / "architectures"

# A room is the longest of these names that a module's name starts with; it may import itself and what stands here.
ROOMS = {
    "zoo.errors": set[str](),
    "zoo.converters": {"zoo.errors"},
    "zoo": {"zoo.converters", "zoo.errors"},
    "zoo.cli": {"zoo", "zoo.errors"},
}
FRAMEWORKS = {
    *("torch", "torchvision", "timm", "transformers", "tensorflow", "keras", "keras_hub", "mxnet", "gluoncv"),
    *("jax", "jaxlib", "flax", "paddle", "onnxruntime", "onnxscript", "openvino", "tf2onnx", "peft", "accelerate"),
}
# No framework outside its writer's folder and its trainer; the tool that makes the architectures is run by hand.
AT_HOME = (
    "converters/writers/*/**/*.py",
    "converters/writers/*/*.py",
    "zoo/training/*.py",
    "zoo/architectures/make*.py",
)
VERBS = {"models", "info", "pull", "weights", "inspect", "load", "runner", "predictor", "processor", "convert"}
NOT_ON_START = FRAMEWORKS | {"onnx", "onnx_ir", "sympy", "numpy", "requests", "yaml", "huggingface_hub", "PIL"}
NOT_WHEN_BUILT = (FRAMEWORKS - {"onnxruntime"}) | {"onnx", "onnx_ir", "sympy", "requests", "pydantic"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours by the name that it is imported by, and the file it stands in."""
    for top, prefix in (("zoo", ""), ("converters", "zoo."), ("cli", "zoo.")):
        for path in sorted((ROOT / top).rglob("*.py")):
            relative = path.relative_to(ROOT).with_suffix("")
            if relative.parts[:2] in {("zoo", "cli"), ("zoo", "converters")}:
                continue  # the links: these files are met where they stand
            yield prefix + ".".join(relative.parts).removesuffix(".__init__"), path


MODULES = dict(modules())


def imports(name: str, path: Path) -> Iterator[tuple[str, int, bool]]:
    """Each imported module or member as an absolute dotted name, its line, and whether only a type checker sees it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_bytes())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno, id(node) in typing_only
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), node.lineno, False


def room(dotted: str) -> str:
    """The room that a module, or a member of one, is in."""
    return max((r for r in ROOMS if f"{dotted}.".startswith(f"{r}.")), key=len)


def refused(name: str, path: Path) -> list[str]:
    """The imports of a module that its room doesn't allow, each as a line of a report."""
    where = path.relative_to(ROOT)
    found = []
    for dotted, line, typing_only in imports(name, path):
        top = dotted.partition(".")[0]
        if top in ("cli", "converters"):
            found.append(f"{where}:{line}: {dotted}: a second copy; import it as zoo.{dotted}")
        elif top == "zoo" and room(dotted) not in ROOMS[room(name)] | {room(name)}:
            found.append(f"{where}:{line}: {room(name)} must not import {dotted}")
        elif top in FRAMEWORKS and not typing_only and not any(where.match(home) for home in AT_HOME):
            found.append(f"{where}:{line}: {dotted}: a framework outside its writer's folder")
    return found


def test_every_room_imports_only_what_the_design_lets_it():
    assert "" == "\n".join(line for name, path in MODULES.items() for line in refused(name, path))


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("zoo.converters.bind", "from zoo.store import Store", "zoo.converters must not import zoo.store.Store"),
        ("zoo.converters.bind", "from ..store import Store", "zoo.converters must not import zoo.store.Store"),
        ("zoo.converters.bind", "import zoo", "zoo.converters must not import zoo"),
        ("zoo.store", "import zoo.cli.app", "zoo must not import zoo.cli.app"),
        ("zoo.errors", "from zoo.entry import File", "zoo.errors must not import zoo.entry.File"),
        ("zoo.cli.run", "from zoo.converters import bind", "zoo.cli must not import zoo.converters.bind"),
        ("zoo.store", "from converters import bind", "a second copy"),
        ("zoo.tasks.images", "def f():\n    import torch.nn", "a framework outside"),
        ("zoo.tasks.images", "importlib.import_module('keras')", "a framework outside"),
        ("zoo.tasks.images", "if TYPE_CHECKING:\n    import torch", None),
        ("zoo.converters.bind", "from . import graph\nfrom zoo.errors import BindError", None),
        ("zoo.cli.run", "import zoo\nfrom zoo.errors import ZooError", None),
    ],
)
def test_the_rule_about_imports_sees_what_it_should(monkeypatch, tmp_path, name, source, expected):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(source)
    found = refused(name, path)
    assert (expected is not None) == bool(found)
    assert expected is None or expected in found[0]


def test_no_room_bears_the_name_of_a_verb():
    verbs = set(zoo.__all__)
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    assert verbs >= VERBS
    assert set() == verbs & rooms, "importing zoo.<room> would overwrite the verb"
    assert set() == {verb for verb in verbs if not hasattr(zoo, verb)}


def modules_after(code: str) -> set[str]:
    """What a fresh process has loaded after `code`, which may exit 0: modules of ours, of others the top level."""
    report = "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{report}\n{code}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1].split()
    return {name if name.startswith("zoo.") else name.partition(".")[0] for name in loaded}


def command(*words: str) -> str:
    """The code that runs the command in this process, as its entry point does."""
    return f"import sys; sys.argv = {['zoo', *words]!r}; from zoo.cli.app import main; sys.exit(main())"


def test_importing_zoo_imports_next_to_nothing():
    loaded = modules_after("import zoo")
    assert set() == NOT_ON_START & loaded
    assert {"zoo.on_import", "zoo.version"} >= {module for module in loaded if module.startswith("zoo.")}


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("list",), ("info", "resnet50"), ("search", "resnet")])
def test_what_only_looks_at_the_registry_imports_no_framework_and_no_numbers(zoo_home, words):
    modules_after(command("list"))  # in a checkout the first look compiles the index
    assert set() == NOT_ON_START & modules_after(command(*words))


def test_what_is_said_of_all_frameworks_imports_none(tmp_path):
    path = tmp_path / "relu.onnx"
    onnx.save(onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x) => (float[n] y) { y = Relu(x) }"""), path)  # fmt: skip
    others = FRAMEWORKS - {"onnxruntime"}
    assert set() == others & modules_after(command("inspect", str(path)))
    assert set() == others & modules_after(command("formats", "--ops", "keras"))


@pytest.mark.network
def test_running_what_is_built_imports_the_runtime_and_nothing_else(zoo_home):
    words = ("run", "minilm-l6", "--query", "money back", str(ROOT / "zoo/samples/sentences.txt"))
    modules_after(command(*words))  # fetched, bound and kept
    loaded = modules_after(command(*words))
    assert set() == NOT_WHEN_BUILT & loaded
    assert "onnxruntime" in loaded


@pytest.mark.network
def test_running_reports_to_nobody_and_writes_only_to_the_store(zoo_home, tmp_path):
    """ONNX Runtime's wheels keep a device id and report to their maker from the import on, unless told not to."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "HF_"))}
    words = [sys.executable, "-B", "-c", command("run", "efficientnet-lite0", str(ROOT / "zoo/samples/coffee.jpg"))]
    own = clean | {"HOME": str(tmp_path)}
    done = subprocess.run(words, env=own, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [] == [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]


ARCHITECTURE_FILES = sorted(ARCHITECTURES.rglob("*.onnx.gz"))


def architecture_name(path: Path) -> str:
    return path.relative_to(ARCHITECTURES).as_posix()


@pytest.mark.parametrize("path", ARCHITECTURE_FILES, ids=architecture_name)
def test_an_architecture_is_small_and_says_where_it_comes_from(path):
    assert path.stat().st_size < 64 * 1024
    model = onnx.load_from_string(gzip.decompress(path.read_bytes()))
    made_by = json.loads({prop.key: prop.value for prop in model.metadata_props}["zoo.made_by"])
    assert re.fullmatch(r"[\w-]+ \d+(\.\w+)+", made_by["package"]), "the publisher's package and its version"
    assert re.fullmatch(r"[\w-]+ \d+(\.\w+)+ .+", made_by["exporter"]), "package, version, and the call"
    assert made_by["opset"] in {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}


@pytest.mark.parametrize("path", ARCHITECTURE_FILES, ids=architecture_name)
def test_an_architecture_holds_no_path_of_the_machine_that_made_it(path):
    text = gzip.decompress(path.read_bytes())
    assert not re.findall(rb"site-packages|\.py\b|/home/|/Users/|/tmp/", text)
    assert b"stack_trace" not in text


def test_a_released_architecture_never_changes():
    """Regenerated means renamed: the table grows, and a line of it never changes."""
    table = dict(reversed(line.split(maxsplit=1)) for line in (ARCHITECTURES / "SHA256SUMS").read_text().splitlines())
    assert table == {
        architecture_name(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in ARCHITECTURE_FILES
    }
    assert ARCHITECTURE_FILES


def files_of_ours() -> Iterator[Path]:
    """What is, or would be, committed."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (path := ROOT / name).is_file() and not path.is_symlink():
            yield path


def test_no_file_names_a_registrys_host_or_a_place_on_one_machine():
    hosts = ["pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "deb" + r"\.debian\.org"]
    places = r"(?<![\w.~*/-])/(?:work|root|farm|home/\w+)/"
    pattern = re.compile("|".join([*hosts, places]).encode())
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.decode(errors='replace').strip()[:100]}"
        for path in files_of_ours()
        if b"\0" not in (content := path.read_bytes())
        for number, line in enumerate(content.splitlines(), 1)
        if pattern.search(line)
    ]
    assert "" == "\n".join(found)


@pytest.mark.parametrize("name", ["base", "test", "latest"])
def test_every_dependency_is_pinned_to_a_version_that_it_allows(name):
    lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()
    pins: dict[str, list[str]] = {}
    for pin in (Requirement(line) for line in lines if not line.lstrip().startswith("#")):
        assert pin.url is None and {"=="} == {part.operator for part in pin.specifier}, pin
        pins.setdefault(canonicalize_name(pin.name), []).extend(part.version for part in pin.specifier)
    for wanted in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]):
        assert pins.get(canonicalize_name(wanted.name)), f"{wanted.name} is not pinned: make constraints"
        assert all(wanted.specifier.contains(version) for version in pins[canonicalize_name(wanted.name)]), wanted


def test_the_links_that_make_zoo_one_package_stand():
    links = {name: os.readlink(ROOT / "zoo" / name) for name in ("cli", "converters", "registry.yaml")}
    assert {"cli": "../cli", "converters": "../converters", "registry.yaml": "../registry.yaml"} == links


@pytest.mark.parametrize(
    ("reason", "failed"), [("torch is not installed", 1), ("wants a GPU", 0), ("needs ../shared", 0)]
)
def test_a_skip_that_ci_must_not_have_fails_there(tmp_path, reason, failed):
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_it():\n    pytest.skip({reason!r})\n")
    ci = os.environ | {"CI": "true", "ZOO_TEST_HOME": str(tmp_path / "home")}
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path)
    done = subprocess.run(
        [str(word) for word in words], cwd=tmp_path, env=ci, capture_output=True, text=True, timeout=120
    )
    assert (failed, bool(failed)) == (done.returncode, reason in done.stdout), done.stdout
