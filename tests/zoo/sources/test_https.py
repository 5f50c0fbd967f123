"""What a web host answers, and where credentials go."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from zoo.errors import BadInput, FetchError, LoginNeeded, NotFound, TokenTooWeak
from zoo.sources import Interrupted, https, shown, source

pytestmark = pytest.mark.usefixtures("elsewhere")
DATA = bytes(range(256)) * 1024


def read(url: str, **how: object) -> bytes:
    with https.stream(url, path="a.bin", **how) as stream:
        return b"".join(stream.chunks)


def test_a_stream_says_size_offset_and_version(host):
    url = host.put("/a.bin", DATA)
    with https.stream(url, path="a.bin") as stream:
        assert (stream.offset, stream.size_bytes, stream.validator) == (0, len(DATA), '"v1"')
        assert b"".join(stream.chunks) == DATA
    with https.stream(url, path="a.bin", offset=1000, validator='"v1"') as stream:
        assert (stream.offset, stream.size_bytes) == (1000, len(DATA))
        assert b"".join(stream.chunks) == DATA[1000:]


def test_a_weak_etag_is_not_used_and_last_modified_is(host):
    url = host.put("/a.bin", DATA, etag='W/"v1"', headers={"Last-Modified": "Mon, 23 Nov 2026 00:00:00 GMT"})
    with https.stream(url, path="a.bin") as stream:
        assert stream.validator == "Mon, 23 Nov 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(5, 10, DATA[5:10]), (0, 4, DATA[:4]), (-100, None, DATA[-100:]), (-(10**9), None, DATA), (10**9, None, DATA)],
)
def test_ranges(host, start, end, expected):
    url = host.put("/a.bin", DATA)
    with https.open_session() as session, https.get(session, url, start=start, end=end) as stream:
        assert b"".join(stream.chunks) == expected
        assert stream.size_bytes == len(DATA)


def test_a_range_that_begins_at_the_end_is_nothing_more(host):
    with https.stream(host.put("/a.bin", DATA), path="a.bin", offset=len(DATA)) as stream:
        assert (stream.offset, stream.size_bytes, list(stream.chunks)) == (len(DATA), len(DATA), [])


def test_another_range_than_the_one_asked_for_is_refused(host):
    url = host.put("/a.bin", DATA, ranges=False, headers={"Content-Range": "bytes 7-9/10"}, status=200)
    host.range = lambda page, headers: (0, 100, 206)
    with pytest.raises(FetchError, match="another range"):
        read(url, offset=1000)


def test_a_range_that_is_not_said_is_refused(host):
    url = host.put("/a.bin", DATA)
    host.range = lambda page, headers: (0, 100, 299)
    with pytest.raises(FetchError, match="answered 299"):
        read(url)
    host.send_range = False
    host.range = lambda page, headers: (1000, len(DATA), 206)
    with pytest.raises(FetchError, match="another range"):
        read(url, offset=1000)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, NotFound, "127.0.0.1 has no /a b.bin"),
        (410, NotFound, "has no"),
        (401, LoginNeeded, "wants a login for /a b.bin"),
        (403, LoginNeeded, "does not give /a b.bin to everybody"),
        (407, LoginNeeded, "the proxy wants a login"),
        (503, Interrupted, "answered 503 Service Unavailable"),
        (418, FetchError, "answered 418"),
    ],
)
def test_a_refusal_in_words(host, status, error, words):
    url = host.put("/a%20b.bin", status=status)
    with pytest.raises(error, match=words) as caught:
        read(url + "?token=hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_login_comes_from_netrc_and_is_named_when_it_is_not_enough(host, tmp_path):
    Path(tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    assert read(host.put("/a.bin", DATA, login="Basic bWU6c2VjcmV0")) == DATA
    with pytest.raises(LoginNeeded, match="not accepted"):
        read(host.put("/b.bin", DATA, login="Basic other"))
    with pytest.raises(TokenTooWeak, match="does not allow it /c.bin"):
        read(host.put("/c.bin", status=403))


def test_a_login_is_not_forwarded_to_another_host(host, second_host):
    second_host.put("/a.bin", DATA)
    for name in ("127.0.0.1", "localhost"):
        target = second_host.url("/a.bin", name)
        url = host.put("/r", status=302, headers={"Location": target}).replace("//", "//me:secret@")
        assert read(url) == DATA
    assert all("authorization" in one.headers for one in host.seen)
    assert not any("authorization" in one.headers for one in second_host.seen)


def test_a_circle_of_redirects_ends(host):
    with pytest.raises(FetchError, match="redirects in a circle"):
        read(host.put("/r", status=302, headers={"Location": "/r"}))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host.invalid/a"])
def test_a_redirect_to_another_scheme_is_refused(host, target):
    with pytest.raises(FetchError, match="refused"):
        read(host.put("/r", status=302, headers={"Location": target}))


@pytest.fixture
def tls_host(host, tmp_path):
    """The host behind TLS, and the certificate that signs itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    host.server.socket = context.wrap_socket(host.server.socket, server_side=True)
    return host, certificate


def test_an_unknown_certificate_is_one_error_and_the_users_bundle_is_heeded(tls_host, monkeypatch):
    host, certificate = tls_host
    host.put("/a.bin", DATA)
    url = host.url("/a.bin", "localhost").replace("http:", "https:")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FetchError, match="certificate of localhost is not trusted") as caught:
        read(url)
    assert not isinstance(caught.value, Interrupted)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert read(url) == DATA
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(FetchError, match=r"/nowhere.pem"):
        read(url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert read(url) == DATA


def test_pips_certificate_and_trusted_host_outrank_the_environment(tls_host, monkeypatch):
    host, certificate = tls_host
    host.put("/a.bin", DATA)
    url = host.url("/a.bin", "localhost").replace("http:", "https:")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "/etc/ssl/cert.pem")
    for settings in (
        https.Settings(verify=str(certificate)),
        https.Settings(trusted=("localhost",)),
        https.Settings(trusted=(f"localhost:{host.port}",)),
    ):
        with https.open_session(settings) as session, https.get(session, url) as stream:
            assert b"".join(stream.chunks) == DATA
    with (
        https.open_session(https.Settings(trusted=("localhost.elsewhere",))) as session,
        pytest.raises(FetchError, match="not trusted|CA certificate"),
        https.get(session, url),
    ):
        pass


def test_a_redirect_from_https_to_http_is_refused(tls_host, second_host, monkeypatch):
    host, certificate = tls_host
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    second_host.put("/a.bin", DATA)
    host.put("/r", status=302, headers={"Location": second_host.url("/a.bin")})
    with pytest.raises(FetchError, match="from https to http: refused"):
        read(host.url("/r", "localhost").replace("http:", "https:"))
    assert second_host.seen == []


def test_a_proxy_is_used_and_one_that_is_gone_is_named(host, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", host.url(""))
    host.put("http://host.invalid/a.bin", DATA)
    assert read("http://host.invalid/a.bin") == DATA
    monkeypatch.setenv("http_proxy", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(Interrupted, match="proxy on the way to host.invalid") as caught:
        read("http://host.invalid/a.bin?token=hunter2")
    assert "hunter2" not in str(caught.value)


def test_compressed_answers_are_refused(host):
    with pytest.raises(FetchError, match="sends 'gzip' where the file itself"):
        read(host.put("/a.bin", DATA, headers={"Content-Encoding": "gzip"}))


@pytest.mark.parametrize("url", ["http://[", "http://", "http://a b/", "https://host:port/", "http://\x7f/"])
def test_a_url_that_is_none_is_one_error(url):
    with pytest.raises(FetchError):
        read(url)
    assert shown(url)


def test_no_address_and_no_listener_are_said():
    with pytest.raises(Interrupted, match="no address is known for host.invalid"):
        read("http://host.invalid/a.bin?token=hunter2")
    with pytest.raises(Interrupted, match="127.0.0.1 refuses connections"):
        read("http://127.0.0.1:9/a.bin")


def test_a_timeout_that_is_no_number_is_a_usage_error(host, monkeypatch):
    monkeypatch.setenv("ZOO_TIMEOUT", "soon")
    with pytest.raises(BadInput, match="ZOO_TIMEOUT='soon'"):
        read(host.put("/a.bin", DATA))


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", None)])
def test_retry_after_is_a_number_or_a_date(host, value, seconds):
    with pytest.raises(Interrupted) as caught:
        read(host.put("/a.bin", status=503, headers={"Retry-After": value}))
    assert caught.value.retry_after_s == seconds


def test_unknown_schemes_are_named():
    with pytest.raises(FetchError, match="'ftp://a/b' is of no scheme"):
        source("ftp://a/b")


def redirect(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"


def busy_until(when: bytes) -> bytes:
    return b"HTTP/1.1 503 X\r\nRetry-After: " + when + b"\r\nContent-Length: 0\r\n\r\n"


OK = b"HTTP/1.1 200 OK\r\n"
NONSENSE = {
    "nothing": b"",
    "garbage": b"\x00\x01nonsense\r\n\r\n",
    "a status that is none": b"HTTP/1.1 999 \x1b[31mred\r\n\r\n",
    "no end of headers": OK + b"A: b\r\n" * 500 + b"\r\n",
    "a header without end": OK + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
    "a chunk that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
    "a range that is none": b"HTTP/1.1 206 P\r\nContent-Range: bytes x-y/z\r\nContent-Length: 5\r\n\r\nhello",
    "a redirect to nowhere": redirect(b"http://["),
    "a redirect to a port that is none": redirect(b"http://127.0.0.1:99999/"),
    "a redirect to a host that is none": redirect(b"http://.../"),
    "a redirect in no encoding": redirect(b"http://\xff\xfe/"),
    "a date that is none": busy_until(b"Mon, 99 Foo 9999"),
    "a date before all dates": busy_until(b"Mon, 01 Jan 0001 00:00:00 +2300"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_one_error(case):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(NONSENSE[case])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, pytest.raises(FetchError) as caught:
        read(f"http://127.0.0.1:{listener.getsockname()[1]}/a.bin")
    assert str(caught.value).isprintable()
