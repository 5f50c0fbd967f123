"""Files of Hugging Face repositories: where the token goes, and what the hub's refusals mean."""

from __future__ import annotations

import pytest

from zoo.errors import FetchError, LicenseNotAccepted, LoginNeeded, NotFound, TokenTooWeak
from zoo.sources import hf

DATA = b"weights" * 1000
URL = "hf:org/repo@abc123/sub/model.safetensors"
PLACE = "/org/repo/resolve/abc123/sub/model.safetensors"


@pytest.fixture(autouse=True)
def endpoint(host, monkeypatch, tmp_path, elsewhere):
    monkeypatch.setenv("HF_ENDPOINT", host.url(""))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_HOME", str(tmp_path))


def read(url: str = URL, path: str = "model.safetensors") -> bytes:
    with hf.stream(url, path=path) as stream:
        return b"".join(stream.chunks)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hf:org/repo@abc/model.bin", "/org/repo/resolve/abc/model.bin"),
        ("hf:gpt2@main/sub dir/a+b.bin", "/gpt2/resolve/main/sub%20dir/a%2Bb.bin"),
        ("hf:org/repo@refs%2Fpr%2F1/model.bin", "/org/repo/resolve/refs%2Fpr%2F1/model.bin"),
        ("hf:org/repo@abc", "/org/repo/resolve/abc/file.bin"),
    ],
)
def test_the_address_of_a_file(host, url, expected):
    assert hf.resolve_url(url, "file.bin") == (host.url(expected.partition("/resolve")[0]), host.url(expected))


@pytest.mark.parametrize("url", ["hf:org/repo/model.bin", "hf:@abc/model.bin", "hf:a/b/c@abc/x", "hf:../x@y/z", "hf:"])
def test_a_form_that_is_none_is_named(url):
    with pytest.raises(FetchError, match="Its form is hf:org/repo@revision/path"):
        hf.resolve_url(url, "file.bin")


def test_a_public_file_arrives_without_a_token(host):
    host.put(PLACE, DATA)
    assert read() == DATA
    assert "authorization" not in host.seen[0].headers


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(host, second_host, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    second_host.put("/blob", DATA)
    host.put(PLACE, status=302, headers={"Location": second_host.url("/blob")})
    assert read() == DATA
    assert host.seen[0].headers["authorization"] == "Bearer hf_secret"
    assert "authorization" not in second_host.seen[0].headers


def test_the_token_that_the_hubs_own_login_kept_is_used(host, monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    import subprocess
    import sys
    from pathlib import Path

    (tmp_path / "token").write_text("hf_kept\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    host.put(PLACE, DATA)
    code = "import sys; from zoo.sources import hf\nwith hf.stream(sys.argv[1], path='') as s: print(s.size_bytes)"
    root = (
        Path(__file__).resolve().parents[3]
    )  # a fresh process: huggingface_hub reads the variable when it is imported
    subprocess.run([sys.executable, "-c", code, URL], check=True, cwd=root)
    assert host.seen[0].headers["authorization"] == "Bearer hf_kept"


def test_no_token_goes_over_plain_http_to_another_machine(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with pytest.raises(FetchError, match="no address is known for hub.invalid"):
        read()


@pytest.mark.parametrize(
    ("status", "code", "has_token", "error", "words"),
    [
        (404, "EntryNotFound", False, NotFound, "no such file"),
        (404, "RevisionNotFound", False, NotFound, "no such revision"),
        (404, "RepoNotFound", True, NotFound, "no such repository"),
        (404, "", False, NotFound, "has no"),
        (401, "RepoNotFound", False, LoginNeeded, "does not exist, or is private"),
        (401, "", True, LoginNeeded, "the token was not accepted"),
        (401, "GatedRepo", False, LoginNeeded, "its licence accepted"),
        (403, "GatedRepo", True, LicenseNotAccepted, "those who accept its licence"),
        (403, "", True, TokenTooWeak, "the token may not read"),
    ],
)
def test_four_refusals_have_four_messages(host, monkeypatch, status, code, has_token, error, words):
    if has_token:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
    host.put(PLACE, status=status, headers={"X-Error-Code": code} if code else {})
    with pytest.raises(error, match=words) as caught:
        read()
    assert "hf_secret" not in str(caught.value)
    if code == "GatedRepo":
        assert host.url("/org/repo") in caught.value.hint
