"""`https://` and `http://`: ranges, refusals in words, and the one place where a request leaves this machine.

Proxies, logins (netrc) and certificates come from the environment, as requests takes them. Messages carry no query,
login or header: secrets travel there.
"""

from __future__ import annotations

import math
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError, ReadTimeoutError

from zoo.errors import BadInput, FetchError, LoginNeeded, NotFound, Offline, TokenTooWeak
from zoo.sources import Interrupted, Stream, is_offline
from zoo.version import __version__

CHUNK_BYTES = 64 * 1024  # small enough that little is lost when the connection or this process ends
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # between two arrivals of bytes; ZOO_TIMEOUT overrides it
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
NO_SUCH_RANGE = frozenset({416, 501})

Explain = Callable[[requests.Response], FetchError | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What pip's or uv's configuration says beyond the environment."""

    verify: str | None = None  # a file or folder of certificates
    client_cert: str | None = None
    proxy: str | None = None
    trusted: tuple[str, ...] = ()  # host or host:port whose certificate is not checked


class Session(requests.Session):
    """A requests session that follows no redirect from https to http, and heeds pip or uv before the environment."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As requests does, which lets HTTPS_PROXY and REQUESTS_CA_BUNDLE outrank a session's own."""
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if proxy := self._settings.proxy:
            merged["proxies"] = {"http": proxy, "https": proxy}
        if self._settings.verify:
            merged["verify"] = self._settings.verify
        return merged

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """As requests does, less the ones that would send the request in the clear."""
        target = super().get_redirect_target(resp)
        if target is not None:
            before, after = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            if after.scheme not in ("https", "http") or (before.scheme, after.scheme) == ("https", "http"):
                raise FetchError(f"{before.hostname} redirects from https to {after.scheme}: refused")
        return target


class _Unchecked(HTTPAdapter):
    """For hosts that the user trusts without a certificate, and not for those that they redirect to."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user has said so in pip's or uv's configuration
            return super().send(request, *args, **kwargs | {"verify": False})


class Bearer(AuthBase):
    """A token that goes to one host; requests drops it when a redirect leaves that host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """`r` with the token."""
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


def open_session(settings: Settings = Settings()) -> Session:
    """A session with the user's certificates, proxy and trusted hosts."""
    session = Session(settings)
    session.headers["User-Agent"] = f"polyzoo/{__version__}"
    session.max_redirects = 10
    session.cert = settings.client_cert
    if bundle := os.environ.get("SSL_CERT_FILE"):  # uv's and OpenSSL's name for what requests calls REQUESTS_CA_BUNDLE
        session.verify = bundle
    for host in settings.trusted:
        session.mount(f"https://{host.lower()}{'/' if ':' in host else ''}", _Unchecked())
    return session


@contextmanager
def stream(url: str, *, path: str, offset: int = 0, validator: str | None = None) -> Iterator[Stream]:
    """`url` from `offset` on; from 0 if the host ignores Range or the file is no longer the one of `validator`."""
    with open_session() as session, get(session, url, start=offset, validator=validator) as answer:
        yield answer


@contextmanager
def get(
    session: Session,
    url: str,
    *,
    start: int = 0,
    end: int | None = None,
    validator: str | None = None,
    auth: AuthBase | None = None,
    explain: Explain = lambda response: None,
) -> Iterator[Stream]:
    """Bytes [start, end) of `url`, or from 0 where the host ignores Range; a negative `start` counts from the end.

    `explain` turns a refusal into a better error than the status code alone allows.
    """
    headers = {"Accept-Encoding": "identity"}
    if start or end is not None:
        last = "" if end is None else end - 1
        headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{last}"
        if validator:
            headers["If-Range"] = validator
    with request(session, url, headers=headers, auth=auth) as response:
        if response.status_code in NO_SUCH_RANGE and "Range" in headers:
            size_bytes = _total(response.headers.get("Content-Range", ""))
            if start == size_bytes:
                yield Stream(start, size_bytes, None, iter(()))
                return
        else:
            yield _answer(response, start, explain)
            return
    with request(session, url, headers={"Accept-Encoding": "identity"}, auth=auth) as response:
        yield _answer(response, 0, explain)


@contextmanager
def request(
    session: Session, url: str, *, headers: dict[str, str], auth: AuthBase | None = None
) -> Iterator[requests.Response]:
    """One GET, its body unread; whatever goes wrong on the way is an Interrupted or another FetchError."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise _trouble(error, "") from None
    if is_offline():
        raise Offline(f"ZOO_OFFLINE is set: {host} was not asked")
    try:
        response = session.get(
            url, headers=headers, auth=auth, stream=True, timeout=(CONNECT_TIMEOUT_S, _read_timeout_s())
        )
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise _trouble(error, host) from None  # requests' own messages carry the whole URL with its query
    with response:
        yield response


def body(response: requests.Response, max_bytes: int) -> bytes:
    """The whole body of a page, which is not longer than `max_bytes`."""
    data = bytearray()
    for chunk in _chunks(response):
        data += chunk
        if len(data) > max_bytes:
            raise FetchError(f"{urlsplit(response.url).hostname} sends a page of more than {max_bytes:,} bytes")
    return bytes(data)


def refusal(response: requests.Response) -> FetchError:
    """What a status code means: another try, no such file, a login, a token."""
    parts, status = urlsplit(response.url), response.status_code
    host, path = parts.hostname, unquote(parts.path)
    if status in TRY_AGAIN:
        asked_s = _retry_after_s(response.headers.get("Retry-After"))
        return Interrupted(f"{host} answered {status} {_phrase(status)}", retry_after_s=asked_s)
    if status in (404, 410):
        return NotFound(f"{host} has no {path}")
    if status == 401:
        hint = "The login for it was not accepted." if _had_login(response) else "Put one for it into ~/.netrc."
        return LoginNeeded(f"{host} wants a login for {path}", hint=hint)
    if status == 403 and _had_login(response):
        return TokenTooWeak(f"{host} knows the login and does not allow it {path}")
    if status == 403:
        hint = "It may be private or gone. A login for it can stand in ~/.netrc."
        return LoginNeeded(f"{host} does not give {path} to everybody (403)", hint=hint)
    if status == 407:
        return LoginNeeded("the proxy wants a login", hint="Set it in HTTPS_PROXY: https://user:password@proxy.")
    return FetchError(f"{host} answered {status} {_phrase(status)} for {path}")


def is_loopback(url: str) -> bool:
    """Does `url` name this very machine?"""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _phrase(status: int) -> str:
    """The standard's words for a status; the host's own may hold anything."""
    return responses.get(status, "(no status of HTTP)")


def _had_login(response: requests.Response) -> bool:
    return "Authorization" in response.request.headers


def _answer(response: requests.Response, start: int, explain: Explain) -> Stream:
    if response.status_code not in (200, 206):
        raise explain(response) or refusal(response)
    if (coding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise FetchError(f"{urlsplit(response.url).hostname} sends {coding!r} where the file itself was asked for")
    etag = response.headers.get("ETag", "")
    # RFC 9110, 13.1.5: a weak ETag must not stand in If-Range.
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return Stream(0, int(length) if length.isdecimal() else None, validator, _chunks(response))
    content_range = response.headers.get("Content-Range", "")
    offset, size_bytes = _first(content_range), _total(content_range)
    if offset is None or (start >= 0 and offset != start):
        raise FetchError(f"{urlsplit(response.url).hostname} answered another range than the one asked for")
    return Stream(offset, size_bytes, validator, _chunks(response))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    # read1 gives what has arrived: nothing is lost when the connection ends in the middle of a chunk.
    read1 = getattr(response.raw, "read1", None)  # urllib3 has it since 2.1
    try:
        yield from iter(lambda: read1(CHUNK_BYTES), b"") if read1 else response.iter_content(CHUNK_BYTES)
    except (requests.RequestException, HTTPError, OSError) as error:
        raise _trouble(error, urlsplit(response.url).hostname or "") from None


def _first(content_range: str) -> int | None:
    """The first byte of `bytes 7-9/10`."""
    first = content_range.removeprefix("bytes").strip().partition("-")[0]
    return int(first) if first.isdecimal() else None


def _total(content_range: str) -> int | None:
    """The size of the whole file in `bytes 7-9/10` or `bytes */10`."""
    total = content_range.rpartition("/")[2].strip()
    return int(total) if total.isdecimal() else None


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from now: the header holds a number of seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _read_timeout_s() -> float:
    text = os.environ.get("ZOO_TIMEOUT")
    try:
        seconds = READ_TIMEOUT_S if not text else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadInput(f"ZOO_TIMEOUT={text!r} is not a number of seconds")
    return seconds


def _trouble(error: BaseException, host: str) -> FetchError:
    """A network error in words. Certificates and malformed URLs don't mend themselves; all else may."""
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Name the authority that signed it in REQUESTS_CA_BUNDLE."
        return FetchError(f"the certificate of {host} is not trusted", hint=hint)
    if isinstance(error, requests.exceptions.ProxyError):
        return Interrupted(f"the proxy on the way to {host} does not answer", unreachable=True)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Interrupted(f"{host} did not answer within {CONNECT_TIMEOUT_S:.0f} s", unreachable=True)
    if isinstance(error, (requests.Timeout, ReadTimeoutError)) or "timed out" in str(error):
        return Interrupted(f"nothing arrived from {host} for {_read_timeout_s():g} s")
    if isinstance(error, requests.TooManyRedirects):
        return FetchError(f"{host} redirects in a circle")
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema, InvalidHeader: also of what the host answers
        return FetchError(f"{host or 'a URL'}: not an address, or not an answer, of HTTP ({type(error).__name__})")
    if not isinstance(
        error, (requests.RequestException, HTTPError, ConnectionError)
    ):  # requests found no file of certificates where it should be
        return FetchError(
            str(error), hint="REQUESTS_CA_BUNDLE, SSL_CERT_FILE, or pip's or uv's configuration names it."
        )
    reason = _innermost(error)
    if isinstance(reason, socket.gaierror):
        return Interrupted(f"no address is known for {host}", unreachable=True)
    if isinstance(reason, ConnectionRefusedError):
        return Interrupted(f"{host} refuses connections", unreachable=True)
    return Interrupted(f"the connection to {host} dropped" + (f" ({reason.strerror})" if reason else ""))


def _innermost(error: BaseException) -> OSError | None:
    """The system's own error in a chain of causes and arguments, if there is one."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    found: OSError | None = None
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.strerror:
            found = one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
