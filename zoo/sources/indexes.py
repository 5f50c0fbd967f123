"""Which package indexes, mirrors, proxies and certificates the user has configured, for pip or for uv.

Read from their files and environment variables, since an environment that uv made has no pip to ask:
what stands where is said by https://pip.pypa.io/en/stable/topics/configuration/ and
https://docs.astral.sh/uv/reference/settings/.
"""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from zoo.errors import FetchError
from zoo.sources.https import Settings

TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
PIP_SECTIONS = ("global", "install", "download")  # a later one overrides an earlier one, as pip has it
INI, TOML = ("pip.ini" if os.name == "nt" else "pip.conf"), "uv.toml"


@dataclass(frozen=True, slots=True)
class Indexes:
    """Simple indexes and find-links places in the order to ask, as URLs or paths; and how to reach them."""

    urls: tuple[str, ...]
    links: tuple[str, ...]
    settings: Settings


def configured(environ: Mapping[str, str] = os.environ, here: Path | None = None) -> Indexes:
    """What pip or uv would use in the folder `here`: uv's, then pip's, and the public one if neither names its own."""
    uv, pip = _uv(environ, here or Path.cwd()), _pip(environ)
    urls = [*uv.urls, *pip.urls]
    if not (uv.has_default or pip.has_default):
        from pypi_simple import PYPI_SIMPLE_ENDPOINT

        urls.append(PYPI_SIMPLE_ENDPOINT)
    settings = Settings(pip.verify, pip.client_cert, pip.proxy, (*pip.trusted, *uv.trusted))
    return Indexes(tuple(dict.fromkeys(urls)), tuple(dict.fromkeys([*uv.links, *pip.links])), settings)


@dataclass(frozen=True, slots=True)
class _Found:
    urls: list[str]
    links: list[str]
    has_default: bool  # the public index is replaced or forbidden
    trusted: tuple[str, ...] = ()
    verify: str | None = None
    client_cert: str | None = None
    proxy: str | None = None


def _pip(environ: Mapping[str, str]) -> _Found:
    options = _pip_options(environ)

    def words(key: str) -> list[str]:
        return options.get(key, "").split()

    links = words("find-links")
    if options.get("no-index", "").lower() in TRUE:
        return _Found([], links, True, *_pip_transport(options))
    index = words("index-url")[:1]
    return _Found([*index, *words("extra-index-url")], links, bool(index), *_pip_transport(options))


def _pip_transport(options: Mapping[str, str]) -> tuple[tuple[str, ...], str | None, str | None, str | None]:
    trusted = tuple(options.get("trusted-host", "").split())
    return trusted, options.get("cert") or None, options.get("client-cert") or None, options.get("proxy") or None


def _pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """The options of pip by their long names: files from the least to the most specific, then PIP_* variables."""
    sections: dict[str, dict[str, str]] = {section: {} for section in PIP_SECTIONS}
    for path in _pip_files(environ):
        config = configparser.RawConfigParser()
        try:
            config.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise FetchError(f"{path}: pip's configuration cannot be read: {str(error).splitlines()[0]}") from error
        for section in filter(config.has_section, PIP_SECTIONS):
            sections[section] |= {_option(key): value for key, value in config.items(section)}
    options = sections["global"] | sections["install"] | sections["download"]
    # An empty variable is unset, as pip has it.
    return options | {_option(key[4:]): value for key, value in environ.items() if key.startswith("PIP_") and value}


def _option(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Global, user, environment, and $PIP_CONFIG_FILE, which replaces the user's; the null device replaces all."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    home = Path.home()
    if sys.platform == "win32":
        yield Path(environ.get("PROGRAMDATA", "C:/ProgramData"), "pip", INI)
        user = [home / "pip" / INI, Path(environ.get("APPDATA", home), "pip", INI)]
    elif sys.platform == "darwin":
        yield Path("/Library/Application Support/pip", INI)
        config = home / "Library/Application Support/pip"
        user = [home / ".pip" / INI, (config if config.is_dir() else home / ".config/pip") / INI]
    else:
        for folder in reversed((environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
            yield Path(folder, "pip", INI)
        yield Path("/etc", INI)
        user = [home / ".pip" / INI, Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", INI)]
    if not (named and Path(named).exists()):
        yield from user
    yield Path(sys.prefix, INI)
    if named:
        yield Path(named)


def _uv(environ: Mapping[str, str], here: Path) -> _Found:
    """The indexes of uv: environment first, then the project's file, the user's, the system's. All are asked."""
    urls = [_named(word, environ) for word in environ.get("UV_INDEX", "").split()]
    urls += environ.get("UV_EXTRA_INDEX_URL", "").split()
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    links = environ.get("UV_FIND_LINKS", "").replace(",", " ").split()
    trusted = environ.get("UV_INSECURE_HOST", "").split()
    no_index = environ.get("UV_NO_INDEX", "").lower() in TRUE
    for path, config in _uv_files(environ, here):
        pip = config.get("pip")
        for options in (config, pip) if isinstance(pip, dict) else (config,):
            for index in _list(options, "index", path):
                if not isinstance(index, dict) or not isinstance(index.get("url"), str):
                    raise FetchError(f"{path}: uv's configuration cannot be read: an index without a url")
                url = _with_login(_rooted(index["url"], path), str(index.get("name", "")), environ)
                if index.get("format") == "flat":
                    links.append(url)
                elif index.get("default"):
                    default = default or url
                elif not index.get("explicit"):  # those are for single packages of a project that names them
                    urls.append(url)
            default = default or _text(options, "index-url", path)
            urls += _texts(options, "extra-index-url", path)
            links += [_rooted(link, path) for link in _texts(options, "find-links", path)]
            trusted += _texts(options, "allow-insecure-host", path)
            no_index = no_index or options.get("no-index") is True
    if no_index:
        return _Found([], links, True, tuple(trusted))
    return _Found([*urls, *([_named(default, environ)] if default else [])], links, bool(default), tuple(trusted))


def _uv_files(environ: Mapping[str, str], here: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if environ.get("UV_NO_CONFIG", "").lower() in TRUE:
        return
    if named := environ.get("UV_CONFIG_FILE"):
        yield Path(named), _toml(Path(named))
        return
    for folder in (here, *here.parents):
        if (path := folder / TOML).is_file():
            yield path, _toml(path)
            break
        tool = _toml(path).get("tool") if (path := folder / "pyproject.toml").is_file() else None
        if isinstance(tool, dict) and isinstance(tool.get("uv"), dict):
            yield path, tool["uv"]
            break
    if sys.platform == "win32":
        folders = [Path(environ.get("APPDATA", "")), Path(environ.get("PROGRAMDATA", "C:/ProgramData"))]
    else:
        dirs = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        folders = [Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"), *map(Path, dirs), Path("/etc")]
    for folder in folders:
        if (path := folder / "uv" / TOML).is_file():
            yield path, _toml(path)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchError(f"{path}: uv's configuration cannot be read: {error}") from error


def _text(options: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = options.get(key)
    if value is not None and not isinstance(value, str):
        raise FetchError(f"{path}: uv's configuration cannot be read: {key} is not a string")
    return value


def _texts(options: Mapping[str, Any], key: str, path: Path) -> list[str]:
    values = _list(options, key, path)
    if not all(isinstance(value, str) for value in values):
        raise FetchError(f"{path}: uv's configuration cannot be read: {key} is not a list of strings")
    return values


def _list(options: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    values = options.get(key, [])
    if not isinstance(values, list):
        raise FetchError(f"{path}: uv's configuration cannot be read: {key} is not a list")
    return values


def _rooted(place: str, path: Path) -> str:
    """A relative path in a file of uv's is relative to that file."""
    return place if "://" in place else str(path.parent / place)


def _named(word: str, environ: Mapping[str, str]) -> str:
    """`name=url` or a bare url, as UV_INDEX holds them, with the login of that name."""
    name, is_named, url = word.partition("=")
    return _with_login(url, name, environ) if is_named and "/" not in name else word


def _with_login(url: str, name: str, environ: Mapping[str, str]) -> str:
    """`url` with the login that UV_INDEX_<NAME>_USERNAME and _PASSWORD give, unless it has its own."""
    key = "UV_INDEX_" + "".join(c if c.isalnum() else "_" for c in name.upper())
    user, password = environ.get(f"{key}_USERNAME", ""), environ.get(f"{key}_PASSWORD", "")
    parts = urlsplit(url)
    if not name or not (user or password) or "@" in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))
