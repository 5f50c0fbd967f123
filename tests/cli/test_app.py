"""What all commands have in common: help, exit codes, one-line errors, JSON, and how little a start costs."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import click
import pytest

from zoo.cli.app import COMMANDS, app
from zoo.version import __version__

LEAVES = [name for name in COMMANDS if name != "cache"] + [
    f"cache {name}" for name in ("list", "size", "path", "verify", "prune", "remove")
]


def test_every_command_is_the_module_of_its_name():
    for name in COMMANDS:
        assert name == importlib.import_module(f"zoo.cli.{name}").command.name


@pytest.mark.parametrize("name", LEAVES)
def test_help_of_every_command_says_what_it_does_and_shows_examples(zoo, name):
    result = zoo(*name.split(), "--help")
    assert 0 == result.exit_code
    assert f"Usage: zoo {name}" in result.stdout
    assert "--json" in result.stdout
    assert "--debug" in result.stdout
    examples = result.stdout.split("Examples:\n")[1].splitlines()
    assert any(f"zoo {name}" in line for line in examples)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("cache",)])
def test_help_lists_the_commands(zoo, words):
    result = zoo(*words)
    assert (0 if words and words != ("cache",) else 2) == result.exit_code
    assert "Commands:" in result.output


def test_every_example_of_every_command_parses():
    """An example that names an option that is gone would be a lie."""
    context = click.Context(app, info_name="zoo")
    for name in COMMANDS:
        found = app.get_command(context, name)
        assert found is not None
        children = found.commands.values() if isinstance(found, click.Group) else [found]
        for command in children:
            known = {word for param in command.params for word in (*param.opts, *param.secondary_opts)}
            words = [word.partition("=")[0] for line in (command.epilog or "").splitlines() for word in line.split()]
            assert {word for word in words if word.startswith("--") and len(word) > 2} <= known, command.name


def test_the_version_is_said_both_ways(zoo):
    assert f"zoo {__version__}\n" == zoo("--version").stdout == zoo("version").stdout
    assert __version__ == json.loads(zoo("version", "--json").stdout)["polyzoo"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("lst",), 2, "UsageError: No such command 'lst'. Did you mean 'list'?  `zoo --help` shows how it is used."),
        (("info",), 2, "UsageError: Missing argument 'MODEL'.  `zoo info --help` shows how it is used."),
        (("list", "--colour"), 2, "UsageError: No such option"),
        (("list", "--min-top1", "high"), 2, "UsageError: Invalid value for '--min-top1': 'high' is not a valid float."),
        (("info", "resnt50"), 2, "UnknownModel: unknown model 'resnt50'. Did you mean 'resnet50', 'timm/resnet50'?"),
        (("list", "--task", "ocrr"), 2, "BadInput: no model has the task 'ocrr'. Did you mean 'ocr'?"),
        (("cache", "remove", "nothing-here"), 2, "UnknownModel: unknown model in the store 'nothing-here'"),
        (("info", "\udcff"), 2, "UnknownModel: unknown model '\\udcff'."),
        (("search", "x", "--max-params", ""), 2, "BadInput: expected an amount such as 25M"),
        (("pull", "resnt50"), 2, "UnknownModel: unknown model 'resnt50'"),
        (("unbundle", "/nowhere/kit.tar"), 2, "BadInput: /nowhere/kit.tar cannot be read"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_an_exit_code(zoo, empty_home, words, code, message):
    result = zoo(*words)
    assert (code, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith(message), result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_debug_shows_where_an_error_arose(zoo):
    for words in (("info", "resnt50", "--debug"), ("--debug", "info", "resnt50")):
        result = zoo(*words)
        assert "Traceback" in result.stderr
        assert 2 == result.exit_code


def test_a_wrong_catalog_is_one_line_that_says_where(zoo, tmp_path, monkeypatch):
    (tmp_path / "lab.yaml").write_text("net:\n  title: A net\n  task: ocr\n  colour: red\n")
    monkeypatch.setenv("ZOO_CATALOGS", str(tmp_path))
    result = zoo("list")
    expected = f"EntryError: {tmp_path}/lab.yaml:4: entry 'net': field 'colour': no such field."
    assert (2, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith(expected), result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_a_former_name_is_a_line_on_stderr(zoo, tmp_path, monkeypatch, empty_home):
    files = "{weights: [{path: a, sources: [file:/a]}]}"
    weights = f"{{v1: {{publisher: us, files: {files}}}}}"
    entry = f"{{title: A, task: ocr, architecture: a/b, formerly: [old], weights: {weights}}}"
    (tmp_path / "lab.yaml").write_text(f"net: {entry}\n")
    monkeypatch.setenv("ZOO_CATALOGS", str(tmp_path))
    result = zoo("info", "old")
    assert (0, "warning: 'old' is a former name of 'net'\n") == (result.exit_code, result.stderr)


def test_json_stands_before_or_after_the_command(zoo):
    assert zoo("--json", "info", "resnet50").stdout == zoo("info", "resnet50", "--json").stdout
    assert "resnet50" == json.loads(zoo("info", "resnet50", "--json").stdout)["name"]


def test_a_reader_who_has_seen_enough_is_no_error():
    shell = f"{sys.executable} -c 'from zoo.cli.app import main; main()' list | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert "" == done.stderr
    assert 2 == len(done.stdout.splitlines())


def writing_end(pipe):
    """A pipe open for writing, as soon as somebody reads it."""
    for _ in range(600):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert errno.ENXIO == error.errno
            time.sleep(0.1)
    raise AssertionError("nobody opened the pipe for a minute")


def test_ctrl_c_is_exit_code_130_and_no_traceback(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    words = ["run", "minilm-l6", str(tmp_path / "pipe"), "--query", "x"]
    code = "from zoo.cli.app import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    writer = writing_end(tmp_path / "pipe")  # the command has opened the other end, and waits for a line
    for _ in range(12):  # a signal between Python's look for one and its read of the pipe is seen after the read alone
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            break
    os.close(writer)
    _, stderr = process.communicate(timeout=60)
    assert (130, "Interrupted") == (process.returncode, stderr.strip())


NOT_ON_START = {
    "yaml",
    "numpy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "requests",
    "rich",
    "torch",
    "PIL",
    "platformdirs",
    "difflib",
}


@pytest.mark.parametrize("words", [("--version",), ("list",), ("info", "resnet50"), ("search", "resnet*")])
def test_a_look_at_the_registry_imports_the_standard_library_and_click(process, words):
    process("list")  # in a checkout the first look makes the index
    done = process(*words, env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "import time:" in line
    }
    assert 0 == done.returncode
    assert set() == loaded & NOT_ON_START
    assert "click" in loaded
