"""`hf:org/repo@revision/path`: a file of a Hugging Face repository, over plain HTTPS.

The token is $HF_TOKEN, or the one that `hf auth login` kept where huggingface_hub is installed. $HF_ENDPOINT may name
a mirror.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

import requests

from zoo.errors import FetchError, LicenseNotAccepted, LoginNeeded, NotFound, TokenTooWeak
from zoo.sources import Stream, https

ENDPOINT = "https://huggingface.co"
FORM = re.compile(r"hf:(?P<repo>\w[\w.-]*(?:/\w[\w.-]*)?)@(?P<revision>[^/@]+)(?:/(?P<path>.+))?", re.ASCII)


def resolve_url(url: str, path: str) -> tuple[str, str]:
    """The repository's page and the file's address; without a path of its own, the URL means File.path."""
    match = FORM.fullmatch(url)
    if match is None:
        raise FetchError(f"{url!r} is no source", hint="Its form is hf:org/repo@revision/path/in/repo.")
    page = f"{os.environ.get('HF_ENDPOINT', ENDPOINT).rstrip('/')}/{match['repo']}"
    revision = quote(unquote(match["revision"]), safe="")  # refs/pr/1 is written refs%2Fpr%2F1
    return page, f"{page}/resolve/{revision}/{quote(match['path'] or path)}"


@contextmanager
def stream(url: str, *, path: str, offset: int = 0, validator: str | None = None) -> Iterator[Stream]:
    """The file from `offset` on. The token goes to the endpoint only, not to the host it redirects to."""
    page, address = resolve_url(url, path)
    found = _token() if address.startswith("https://") or https.is_loopback(address) else None
    auth = https.Bearer(found) if found else None

    def explain(response: requests.Response) -> FetchError | None:
        return refusal(response, page, has_token=found is not None)

    with (
        https.open_session() as session,
        https.get(session, address, start=offset, validator=validator, auth=auth, explain=explain) as answer,
    ):
        yield answer


def refusal(response: requests.Response, page: str, *, has_token: bool) -> FetchError | None:
    """The hub's own codes: it answers 401 for a repository that does not exist, and 401 or 403 for a gated one."""
    code, status = response.headers.get("X-Error-Code", ""), response.status_code
    repo = page.partition("://")[2]
    if code == "GatedRepo" and has_token:
        return LicenseNotAccepted(f"{repo} is given to those who accept its licence", hint=f"Accept it at {page}")
    if code == "GatedRepo":
        hint = f"Accept it at {page}, then set HF_TOKEN."
        return LoginNeeded(f"{repo} wants to know who asks, and its licence accepted", hint=hint)
    if code in ("EntryNotFound", "RevisionNotFound") or (code == "RepoNotFound" and has_token):
        what = {"EntryNotFound": "file", "RevisionNotFound": "revision"}.get(code, "repository")
        return NotFound(f"{repo}: no such {what}")
    if status == 401 and has_token:
        return LoginNeeded(f"{repo}: the token was not accepted", hint="Set HF_TOKEN to a valid one.")
    if status == 401:
        return LoginNeeded(f"{repo} does not exist, or is private", hint="If it is private, set HF_TOKEN.")
    if status == 403 and has_token:
        hint = "Give it the right to read this repository, or set HF_TOKEN to one that has it."
        return TokenTooWeak(f"{repo}: the token may not read this file", hint=hint)
    return None


def _token() -> str | None:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    try:
        from huggingface_hub import get_token
    except ImportError:
        return None
    kept: str | None = get_token()
    return kept
