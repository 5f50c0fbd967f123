from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zoo import keys

FACTS = {
    "framework": ["onnxruntime", "1.32.0"],
    "digests": {"weights": ["ab" * 32]},
    "recipe": {"architecture": "timm/resnet50", "tables": ["cd"], "unused": []},
}


def test_the_same_facts_give_the_same_key_in_any_order():
    assert keys.key("onnx", FACTS) == keys.key("onnx", dict(reversed(FACTS.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"framework": ["onnxruntime", "1.33.0"]},
        {"framework": ["torch", "1.32.0"]},
        {"digests": {"weights": ["ac" * 32]}},
        {"recipe": {"architecture": "timm/resnet50", "tables": ["ce"], "unused": []}},
        {"recipe": {"architecture": "timm/resnet50", "tables": ["cd"], "unused": ["head.*"]}},
    ],
)
def test_another_fact_gives_another_key(change):
    assert keys.key("onnx", FACTS) != keys.key("onnx", FACTS | change)


def test_another_processor_gives_another_key(monkeypatch):
    before = keys.key("onnx", FACTS)
    monkeypatch.setattr(keys.platform, "machine", lambda: "another")
    assert before != keys.key("onnx", FACTS)


def test_in_a_checkout_changed_code_gives_another_key(tmp_path: Path, monkeypatch):
    shutil.copytree(keys.ROOT / "converters", tmp_path / "converters", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    before = keys.key("onnx", FACTS)
    assert before == keys.key("onnx", FACTS)
    with (tmp_path / "converters" / "fold.py").open("a") as file:
        file.write("# changed\n")
    assert before != keys.key("onnx", FACTS)


def test_an_installed_package_is_known_by_its_version(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    assert keys.__version__ == keys.code_version()
