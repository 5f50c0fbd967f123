"""A real HTTP host that can do wrong, a real disk that is small or read-only, real processes that fetch."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zoo.entry import File
from zoo.sources.patience import Patience
from zoo.store import Store

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 16 * 1024

PULL = """
import json, sys
from pathlib import Path
from zoo.entry import File
from zoo.errors import ZooError
from zoo.sources.patience import Patience
from zoo.store import Store

class Told:
    def start(self, name, total, at=0): print("start", at, flush=True)
    def advance(self, n): pass
    def note(self, text): print("note", text, flush=True)
    def done(self): pass

root, name, fields = json.loads(sys.argv[1])
try:
    path = Store(Path(root), patience=Patience(first_wait_s=0.05)).fetch(
        File(**{**fields, "sources": tuple(fields["sources"])}), name=name, progress=Told())
    print("got", path, flush=True)
except ZooError as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(error.exit_code)
"""


@dataclass
class Page:
    """What the host has at a path, and how it serves it."""

    data: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    has_length: bool = True
    length: int | None = None  # what Content-Length says instead of the truth
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # the first answers, one each
    cuts: list[int] = field(default_factory=list)  # after how many bytes the first answers drop, one each
    stalls: list[int] = field(default_factory=list)  # ... fall silent
    pause_s: float = 0.0  # between two chunks of 16 KiB
    login: str | None = None  # the Authorization without which it answers 401


@dataclass
class Seen:
    """A request that the host had."""

    path: str
    headers: dict[str, str]
    status: int
    sent_bytes: int = 0


class Host:
    """A threaded HTTP server on the loopback interface."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []
        self.quit = threading.Event()
        self.send_range = True
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def url(self, path: str, name: str = "127.0.0.1") -> str:
        return f"http://{name}:{self.port}{path}"

    def put(self, path: str, data: bytes = b"", **how: Any) -> str:
        """Serve `data` at `path`; its URL."""
        self.pages[path] = Page(data, **how)
        return self.url(path)

    def ranges(self) -> list[str | None]:
        """The Range header of each request, in order."""
        return [one.headers.get("range") for one in self.seen]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        page = self.pages.get(path, Page(status=404))
        headers = {key.lower(): value for key, value in handler.headers.items()}
        seen = Seen(handler.path, headers, page.status)
        self.seen.append(seen)
        if page.failures:
            seen.status, extra = page.failures.pop(0)
            return self.refuse(handler, seen.status, extra)
        if page.login is not None and headers.get("authorization") != page.login:
            seen.status = 401
            return self.refuse(handler, 401, {})
        if page.status != 200:
            return self.refuse(handler, page.status, page.headers)
        start, end, seen.status = self.range(page, headers)
        handler.send_response(seen.status)
        if seen.status == 206 and self.send_range:
            handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(page.data)}")
        elif seen.status == 416:
            handler.send_header("Content-Range", f"bytes */{len(page.data)}")
        if page.etag:
            handler.send_header("ETag", page.etag)
        if page.has_length or seen.status == 416:
            handler.send_header("Content-Length", str(end - start if page.length is None else page.length))
        else:
            handler.send_header("Connection", "close")
        for key, value in page.headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        self.send(handler, page, seen, page.data[start:end])
        return None

    def range(self, page: Page, headers: dict[str, str]) -> tuple[int, int, int]:
        size, wanted = len(page.data), headers.get("range")
        if not page.ranges or not wanted or headers.get("if-range", page.etag) != page.etag:
            return 0, size, 200
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if not first:
            return max(0, size - int(last)), size, 206
        if int(first) >= size:
            return 0, 0, 416
        return int(first), min(int(last) + 1, size) if last else size, 206

    def send(self, handler: BaseHTTPRequestHandler, page: Page, seen: Seen, data: bytes) -> None:
        cut = page.cuts.pop(0) if page.cuts else len(data)
        stall = page.stalls.pop(0) if page.stalls else None
        whole = data[: min(cut, len(data) if stall is None else stall)]
        try:
            for at in range(0, len(whole), CHUNK):
                handler.wfile.write(whole[at : at + CHUNK])
                seen.sent_bytes += len(whole[at : at + CHUNK])
                if page.pause_s:
                    time.sleep(page.pause_s)
            if stall is not None:
                handler.wfile.flush()
                self.quit.wait(20)
        except OSError:
            handler.close_connection = True
        if len(whole) < len(data) or page.length is not None or not page.has_length:
            handler.close_connection = True

    def refuse(self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with nothing on it; `host.put(path, data, **how)` serves something."""
    one = Host()
    yield one
    one.quit.set()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def second_host() -> Iterator[Host]:
    """Another host, on another port."""
    one = Host()
    yield one
    one.quit.set()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, with no lock file, proxy or token of the user's."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ZOO_TIMEOUT", "10")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("HF_ENDPOINT", "HF_TOKEN", "ZOO_OFFLINE", "ZOO_LOCK"):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path, elsewhere: None) -> Store:
    """An empty store that does not wait long."""
    return Store(tmp_path / "home", patience=Patience(first_wait_s=0.01))


@pytest.fixture
def make_file() -> Callable[..., File]:
    """make_file(data, *sources, **fields): a catalog's file of these bytes, pinned by digest and size."""

    def made(data: bytes, *sources: str, **fields: Any) -> File:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        given = {
            "path": "weights.bin",
            "digest": digest,
            "size_bytes": len(data),
            "published": None,
            "sources": sources,
        }
        return File(**given | fields)

    return made


@pytest.fixture
def told() -> Any:
    """A Progress that keeps what it was told."""

    class Told:
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.starts: list[tuple[str, int | None, int]] = []
            self.bytes = 0

        def start(self, name: str, total: int | None, at: int = 0) -> None:
            self.starts.append((name, total, at))

        def advance(self, n: int) -> None:
            self.bytes += n

        def note(self, text: str) -> None:
            self.notes.append(text)

        def done(self) -> None:
            pass

    return Told()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that raises."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a request left this process")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def pull() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """pull(root, file, name): a process that fetches and prints `start`, `note`, `got` or an error."""
    running: list[subprocess.Popen[str]] = []

    def started(root: Path, file: File, name: str = "toy:v1") -> subprocess.Popen[str]:
        fields = {key: getattr(file, key) for key in ("path", "digest", "size_bytes", "published", "sources")}
        process = subprocess.Popen(
            [sys.executable, "-c", PULL, json.dumps([str(root), name, fields])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        running.append(process)
        return process

    yield started
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """small_disk(size_bytes): a folder on a disk of its own; small_disk.lock(path) makes it read-only."""
    mounted: list[Path] = []

    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of its own can be mounted here: {done.stderr.strip()}")

    def made(size_bytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
        mounted.append(folder)
        return folder

    made.lock = lambda folder: mount("-o", "remount,ro", str(folder))  # type: ignore[attr-defined]
    yield made
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
