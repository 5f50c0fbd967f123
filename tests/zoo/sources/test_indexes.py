"""What pip's and uv's configuration say, where they say it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from zoo.errors import FetchError
from zoo.sources.indexes import configured

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other folders there")


@pytest.fixture
def env(tmp_path, monkeypatch):
    """An environment whose home, system folders and working folder are empty."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    for name in ("home", "venv", "xdg", "project"):
        (tmp_path / name).mkdir()
    return {"XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "XDG_CONFIG_HOME": str(tmp_path / "home/.config")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ask(env, tmp_path):
    # /etc is this machine's own: whatever stands in its pip.conf must not decide these tests.
    return configured({"PIP_EXTRA_INDEX_URL": " ", "PIP_FIND_LINKS": " ", **env}, tmp_path / "project")


def test_without_any_configuration_it_is_the_public_index(env, tmp_path):
    assert ask({"PIP_CONFIG_FILE": "/dev/null", **env}, tmp_path).urls == (PYPI_SIMPLE_ENDPOINT,)


def test_pips_files_from_the_least_to_the_most_specific(env, tmp_path):
    write(tmp_path / "xdg/pip/pip.conf", "[global]\nindex-url = https://global/simple\ntrusted-host = a b\n")
    assert ask(env, tmp_path).urls == ("https://global/simple",)
    write(tmp_path / "home/.config/pip/pip.conf", "[global]\nindex_url = https://user/simple\ncert = /user.pem\n")
    assert ask(env, tmp_path).urls == ("https://user/simple",)
    write(tmp_path / "venv/pip.conf", "[install]\nindex-url = https://venv/simple\n")
    assert ask(env, tmp_path).urls == ("https://venv/simple",)
    named = write(tmp_path / "named.conf", "[global]\nindex-url = https://named/simple\nproxy = http://proxy:1\n")
    found = ask({"PIP_CONFIG_FILE": str(named), "PIP_CLIENT_CERT": "/me.pem", **env}, tmp_path)
    assert found.urls == ("https://venv/simple",)  # pip, too, heeds [install] before [global], whatever the file
    assert found.settings.proxy == "http://proxy:1"
    assert found.settings.client_cert == "/me.pem"
    assert found.settings.trusted == ("a", "b")
    found = ask({"PIP_INDEX_URL": "https://variable/simple", **env}, tmp_path)
    assert found.urls == ("https://variable/simple",)
    assert found.settings.verify == "/user.pem"


def test_pips_extra_indexes_links_and_no_index(env, tmp_path):
    env = {"PIP_CONFIG_FILE": "/dev/null", **env}
    more = {"PIP_EXTRA_INDEX_URL": "https://one/simple\nhttps://two/simple", "PIP_FIND_LINKS": "/wheels ~/more"}
    found = ask(env | more, tmp_path)
    assert found.urls == ("https://one/simple", "https://two/simple", PYPI_SIMPLE_ENDPOINT)
    assert found.links == ("/wheels", "~/more")
    found = ask(env | more | {"PIP_NO_INDEX": "1"}, tmp_path)
    assert (found.urls, found.links) == ((), ("/wheels", "~/more"))


def test_a_configuration_that_cannot_be_read_is_named(env, tmp_path):
    path = write(tmp_path / "venv/pip.conf", "index-url without a section")
    with pytest.raises(FetchError, match=str(path)):
        ask(env, tmp_path)


def test_uvs_variables(env, tmp_path):
    env = {"PIP_CONFIG_FILE": "/dev/null", **env}
    variables = {
        "UV_INDEX": "internal=https://internal/simple https://bare/simple",
        "UV_DEFAULT_INDEX": "https://default/simple",
        "UV_EXTRA_INDEX_URL": "https://extra/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_INSECURE_HOST": "internal",
        "UV_INDEX_INTERNAL_USERNAME": "me",
        "UV_INDEX_INTERNAL_PASSWORD": "p@ss",
    }
    found = ask(env | variables, tmp_path)
    assert found.urls == (
        "https://me:p%40ss@internal/simple",
        "https://bare/simple",
        "https://extra/simple",
        "https://default/simple",
    )
    assert found.links == ("/wheels", "/more")
    assert found.settings.trusted == ("internal",)
    assert ask(env | {"UV_INDEX_URL": "https://old/simple"}, tmp_path).urls == ("https://old/simple",)
    assert ask(env | {"UV_NO_INDEX": "1"}, tmp_path).urls == ()


def test_uvs_files(env, tmp_path):
    env = {"PIP_CONFIG_FILE": "/dev/null", **env}
    write(
        tmp_path / "pyproject.toml",
        '[tool.uv]\nfind-links = ["wheels"]\n[[tool.uv.index]]\nname = "own"\nurl = "https://own/simple"\n'
        '[[tool.uv.index]]\nname = "torch"\nurl = "https://torch/whl"\nexplicit = true\n'
        '[[tool.uv.index]]\nurl = "https://flat/page.html"\nformat = "flat"\n',
    )
    write(tmp_path / "home/.config/uv/uv.toml", '[[index]]\nurl = "https://default/simple"\ndefault = true\n')
    found = ask(env, tmp_path)
    assert found.urls == ("https://own/simple", "https://default/simple")
    assert set(found.links) == {str(tmp_path / "wheels"), "https://flat/page.html"}
    write(
        tmp_path / "project/uv.toml",
        '[pip]\nindex-url = "https://pip/simple"\nextra-index-url = ["https://x/simple"]\n',
    )
    assert ask(env, tmp_path).urls == ("https://x/simple", "https://pip/simple")
    assert ask({"UV_NO_CONFIG": "1", **env}, tmp_path).urls == (PYPI_SIMPLE_ENDPOINT,)
    named = write(tmp_path / "named.toml", 'index-url = "https://named/simple"\n')
    assert ask({"UV_CONFIG_FILE": str(named), **env}, tmp_path).urls == ("https://named/simple",)


@pytest.mark.parametrize(
    "text", ["index-url = 7", "index = 7", "[[index]]\nname = 'x'", "find-links = 'x'", "not toml"]
)
def test_a_configuration_of_uv_that_cannot_be_read_is_named(env, tmp_path, text):
    path = write(tmp_path / "project/uv.toml", text)
    with pytest.raises(FetchError, match=str(path)):
        ask(env, tmp_path)


def test_both_tools_are_asked(env, tmp_path):
    env = {
        "PIP_CONFIG_FILE": "/dev/null",
        "UV_INDEX": "https://uv/simple",
        "PIP_INDEX_URL": "https://pip/simple",
        **env,
    }
    assert ask(env, tmp_path).urls == ("https://uv/simple", "https://pip/simple")
