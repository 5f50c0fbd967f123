"""Bytes on their way into the store: what a host can do wrong, and what is made of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from zoo.entry import File
from zoo.errors import (
    DigestMismatch,
    DiskFull,
    Exhausted,
    FetchError,
    LoginNeeded,
    NotFound,
    Offline,
    StoreError,
    ZooError,
)
from zoo.sources.patience import Patience
from zoo.store import Store

DATA = bytes(range(256)) * 2048  # 512 KiB
NAME = "toy:v1"


def is_empty(store: Store) -> bool:
    """No blob, and nothing of anybody's in parts/."""
    blobs = [path for path in (store.root / "blobs").rglob("*") if path.is_file()]
    return not blobs and not (list(store.parts.glob("*")) if store.parts.is_dir() else [])


def only_free_parts(store: Store) -> bool:
    """No blob; what is left can be gone on with by anybody."""
    from zoo import parts

    left = list(store.parts.iterdir())
    return not list((store.root / "blobs").rglob("?" * 64)) and parts.abandoned(store.parts) == sorted(left)


def test_a_file_arrives_is_verified_and_served_without_a_second_request(host, store, make_file, no_network_later):
    file = make_file(DATA, host.put("/a.bin", DATA))
    path = store.fetch(file, name=NAME)
    assert path.read_bytes() == DATA
    assert path == store.root / "blobs/sha256" / file.digest[7:9] / file.digest[7:]
    no_network_later()
    assert store.fetch(file, name=NAME) == path
    assert len(host.seen) == 1
    assert host.seen[0].headers["accept-encoding"] == "identity"
    assert [stored.name for stored in store.list()] == [NAME]
    assert store.verify() == []
    assert list(store.parts.iterdir()) == []


@pytest.fixture
def no_network_later(request):
    """Call it, and from then on a socket raises."""
    return lambda: request.getfixturevalue("no_network")


def test_a_blob_is_read_only(host, store, make_file):
    path = store.fetch(make_file(DATA, host.put("/a.bin", DATA)), name=NAME)
    assert path.stat().st_mode & 0o222 == 0


def test_an_empty_file_arrives(host, store, make_file):
    assert store.fetch(make_file(b"", host.put("/a.bin", b"")), name=NAME).read_bytes() == b""


def test_a_file_without_a_length_arrives(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, has_length=False), size_bytes=None)
    assert store.fetch(file, name=NAME).read_bytes() == DATA


@pytest.mark.parametrize(
    "wrong", [DATA[:-1] + b"!", DATA[:1000], DATA + b"!", b""], ids=["changed", "short", "long", "empty"]
)
@pytest.mark.parametrize("knows_size", [True, False])
def test_wrong_bytes_are_never_served(host, store, make_file, wrong, knows_size):
    file = make_file(DATA, host.put("/a.bin", wrong), **({} if knows_size else {"size_bytes": None}))
    with pytest.raises(DigestMismatch) as caught:
        store.fetch(file, name=NAME)
    assert "weights.bin of toy:v1" in caught.value.message
    assert "127.0.0.1" in caught.value.message
    assert "\n" not in str(caught.value)
    assert store.blob(file.digest) is None
    assert only_free_parts(store)
    assert store.list() == []


def test_the_mismatch_says_expected_received_and_how_many_bytes(host, store, make_file):
    wrong = DATA[:-1] + b"!"
    file = make_file(DATA, host.put("/a.bin", wrong))
    with pytest.raises(DigestMismatch) as caught:
        store.fetch(file, name=NAME)
    for part in (file.digest, hashlib.sha256(wrong).hexdigest(), "524,288 of 524,288 bytes", "/a.bin"):
        assert part in caught.value.message


def test_a_wrong_length_is_refused_before_the_bytes(host, store, make_file):
    url = host.put("/a.bin", DATA * 4, pause_s=0.05)
    with pytest.raises(DigestMismatch, match="2,097,152 bytes, and 524,288 are pinned"):
        store.fetch(make_file(DATA, url), name=NAME)
    assert host.seen[0].sent_bytes < len(DATA) * 4


def test_an_endless_answer_is_cut_at_the_pinned_size(host, store, make_file):
    url = host.put("/a.bin", DATA * 4, has_length=False)
    with pytest.raises(DigestMismatch, match="more than the pinned 524,288 bytes"):
        store.fetch(make_file(DATA, url), name=NAME)


def test_the_next_source_is_tried_after_wrong_bytes_and_after_none(host, store, make_file, told):
    urls = [host.put("/wrong", DATA[::-1]), host.url("/none"), "file:/nowhere/at/all", host.put("/right", DATA)]
    path = store.fetch(make_file(DATA, *urls), name=NAME, progress=told)
    assert path.read_bytes() == DATA
    assert [one.path for one in host.seen] == ["/wrong", "/none", "/right"]
    assert any("trying" in note and "/right" in note for note in told.notes)


def test_a_dead_host_is_a_non_event(host, store, make_file):
    dead = "http://127.0.0.1:9/a.bin"
    store = Store(store.root, patience=Patience(first_wait_s=30))  # a second try there would take too long
    assert store.fetch(make_file(DATA, dead, host.put("/a.bin", DATA)), name=NAME).read_bytes() == DATA


def test_exhausted_lists_what_each_source_said(host, store, make_file):
    urls = [host.url("/none"), host.put("/locked", DATA, login="Basic x"), host.put("/wrong", b"?" * len(DATA))]
    with pytest.raises(Exhausted) as caught:
        store.fetch(make_file(DATA, *urls), name=NAME)
    lines = str(caught.value).splitlines()
    assert lines[0] == "weights.bin of toy:v1 could not be had from any of its 3 sources:"
    assert [line.split(": ")[1] for line in lines[1:]] == ["NotFound", "LoginNeeded", "DigestMismatch"]


def test_a_file_without_sources_and_one_of_an_unknown_scheme_say_so(store, make_file):
    with pytest.raises(NotFound, match="names no source"):
        store.fetch(make_file(DATA), name=NAME)
    with pytest.raises(FetchError, match="'s3://bucket/a' is of no scheme"):
        store.fetch(make_file(DATA, "s3://bucket/a"), name=NAME)


def test_a_dropped_connection_goes_on_where_it_ended(host, store, make_file, told):
    url = host.put("/a.bin", DATA, cuts=[200_000, 100_000])
    assert store.fetch(make_file(DATA, url), name=NAME, progress=told).read_bytes() == DATA
    assert host.ranges() == [None, "bytes=200000-", "bytes=300000-"]
    assert [one.headers.get("if-range") for one in host.seen] == [None, '"v1"', '"v1"']
    assert [at for _, _, at in told.starts] == [0, 200_000, 300_000]


def test_a_stalled_connection_goes_on_where_it_ended(host, store, make_file, monkeypatch):
    monkeypatch.setenv("ZOO_TIMEOUT", "1")
    url = host.put("/a.bin", DATA, stalls=[262_144])
    assert store.fetch(make_file(DATA, url), name=NAME).read_bytes() == DATA
    assert host.ranges() == [None, "bytes=262144-"]


def test_a_length_that_is_too_long_ends_as_a_dropped_connection(host, store, make_file):
    url = host.put("/a.bin", DATA, length=len(DATA) + 5)
    with pytest.raises(FetchError, match="524,293 bytes, and 524,288 are pinned"):
        store.fetch(make_file(DATA, url), name=NAME)
    store.fetch(make_file(DATA, url, size_bytes=None), name=NAME)
    assert [one.status for one in host.seen] == [200, 200, 416]


def test_a_host_that_ignores_range_starts_anew(host, store, make_file):
    url = host.put("/a.bin", DATA, ranges=False, cuts=[200_000])
    assert store.fetch(make_file(DATA, url), name=NAME).read_bytes() == DATA
    assert host.ranges() == [None, "bytes=200000-"]
    assert host.seen[-1].status == 200


def test_a_host_that_ignores_range_and_always_drops_is_given_up(host, store, make_file):
    url = host.put("/a.bin", DATA, ranges=False, cuts=[200_000] * 50)
    with pytest.raises(FetchError, match="5 times in a row"):
        store.fetch(make_file(DATA, url), name=NAME)
    assert len(host.seen) < 8


def test_a_file_that_changes_between_two_connections_is_fetched_anew(host, store, make_file):
    url = host.put("/a.bin", DATA[::-1], cuts=[200_000])
    page = host.pages["/a.bin"]
    page.failures = []
    answer = host.answer

    def changing(handler: Any) -> None:
        if len(host.seen) == 1:
            page.data, page.etag = DATA, '"v2"'
        answer(handler)

    host.answer = changing
    assert store.fetch(make_file(DATA, url), name=NAME).read_bytes() == DATA
    assert [one.status for one in host.seen] == [200, 200]


def test_a_flaky_host_is_asked_as_long_as_it_brings_something(host, store, make_file):
    url = host.put("/a.bin", DATA, cuts=[70_000] * 7)
    assert store.fetch(make_file(DATA, url), name=NAME).read_bytes() == DATA
    assert len(host.seen) == 8


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_host_is_asked_again(host, store, make_file, status):
    url = host.put("/a.bin", DATA, failures=[(status, {}), (status, {"Retry-After": "0"})])
    assert store.fetch(make_file(DATA, url), name=NAME).read_bytes() == DATA
    assert [one.status for one in host.seen] == [status, status, 200]


def test_retry_after_is_waited_for(host, store, make_file, told):
    url = host.put("/a.bin", DATA, failures=[(503, {"Retry-After": "1"})])
    store.fetch(make_file(DATA, url), name=NAME, progress=told)
    assert any("503" in note and "again in 1.0 s" in note for note in told.notes)


def test_a_host_that_asks_to_wait_an_hour_is_left_for_the_next(host, store, make_file):
    busy = host.put("/busy", DATA, failures=[(429, {"Retry-After": "3600"})])
    assert store.fetch(make_file(DATA, busy, host.put("/a.bin", DATA)), name=NAME).read_bytes() == DATA
    host.pages["/busy"].failures = [(429, {"Retry-After": "3600"})]
    with pytest.raises(FetchError, match="asks to wait 3,600 s"):
        Store(store.root / "other").fetch(make_file(DATA, busy), name=NAME)


def test_a_host_that_stays_busy_is_given_up(host, store, make_file):
    url = host.put("/a.bin", DATA, failures=[(503, {})] * 20)
    with pytest.raises(FetchError, match=r"127.0.0.1 answered 503 .*\(5 times in a row\)"):
        store.fetch(make_file(DATA, url), name=NAME)


def test_what_an_earlier_try_left_is_gone_on_with(host, store, make_file, told):
    url = host.put("/a.bin", DATA, cuts=[200_000] + [0] * 9)
    with pytest.raises(FetchError):
        store.fetch(make_file(DATA, url), name=NAME)
    assert only_free_parts(store)
    host.pages["/a.bin"].cuts, host.seen = [], []
    assert store.fetch(make_file(DATA, url), name=NAME, progress=told).read_bytes() == DATA
    assert host.ranges() == ["bytes=200000-"]
    assert host.seen[0].headers["if-range"] == '"v1"'
    assert any("going on from byte 200,000" in note for note in told.notes)
    assert list(store.parts.iterdir()) == []


def test_what_an_earlier_try_left_is_gone_on_with_from_another_source(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, cuts=[200_000] + [0] * 9))
    with pytest.raises(FetchError):
        store.fetch(file, name=NAME)
    host.seen = []
    file = make_file(DATA, host.put("/b.bin", DATA))
    assert store.fetch(file, name=NAME).read_bytes() == DATA
    assert host.ranges() == ["bytes=200000-"]
    assert "if-range" not in host.seen[0].headers


def test_a_part_whose_bytes_are_wrong_costs_a_second_fetch_and_nothing_else(host, store, make_file, told):
    file = make_file(DATA, host.put("/a.bin", DATA, cuts=[200_000] + [0] * 9))
    with pytest.raises(FetchError):
        store.fetch(file, name=NAME)
    (part,) = store.parts.iterdir()
    (part / "bytes").write_bytes(b"\0" * 200_000)  # what a power cut leaves on some file systems
    host.pages["/a.bin"].cuts = []
    assert store.fetch(file, name=NAME, progress=told).read_bytes() == DATA
    assert any("starting anew" in note for note in told.notes)


def test_a_part_that_is_whole_needs_no_request(host, store, make_file, no_network_later):
    file = make_file(DATA, host.put("/a.bin", DATA, cuts=[200_000] + [0] * 9))
    with pytest.raises(FetchError):
        store.fetch(file, name=NAME)
    (part,) = store.parts.iterdir()
    (part / "bytes").write_bytes(DATA)  # killed between the last byte and the rename
    no_network_later()
    assert store.fetch(file, name=NAME).read_bytes() == DATA


def test_bytes_that_nothing_pins_are_gone_on_with_only_if_the_host_can_vouch(host, store, make_file):
    how = {"digest": None, "size_bytes": None}
    file = make_file(DATA, host.put("/a.bin", DATA, cuts=[200_000] + [0] * 9), **how)
    with pytest.raises(FetchError):
        store.fetch(file, name=NAME)
    host.pages["/a.bin"].cuts, host.pages["/a.bin"].data, host.pages["/a.bin"].etag = [], DATA[::-1], '"v2"'
    assert store.fetch(file, name=NAME).read_bytes() == DATA[::-1]

    file = make_file(DATA, host.put("/b.bin", DATA, etag=None, cuts=[200_000] + [0] * 9), path="b.bin", **how)
    with pytest.raises(FetchError):
        store.fetch(file, name=NAME)
    host.pages["/b.bin"].cuts, host.pages["/b.bin"].data, host.seen = [], DATA[::-1], []
    assert store.fetch(file, name=NAME).read_bytes() == DATA[::-1]
    assert host.ranges() == [None]


@pytest.mark.parametrize(
    "published",
    [
        f"sha256-8:{hashlib.sha256(DATA).hexdigest()[:8]}",
        f"sha1:{hashlib.sha1(DATA).hexdigest()}",
        f"md5:{hashlib.md5(DATA).hexdigest()}",
        None,
    ],
)
def test_the_first_fetch_of_a_weaker_pin_is_required_ever_after(host, store, make_file, published):
    how = {"digest": None, "published": published, "size_bytes": None}
    file = make_file(DATA, host.put("/a.bin", DATA), **how)
    assert store.pinned(file, NAME).digest is None
    assert store.fetch(file, name=NAME).read_bytes() == DATA
    assert store.pinned(file, NAME).digest == make_file(DATA).digest
    store.fetch(file, name=NAME)
    assert len(host.seen) == 1
    store.remove(NAME)
    host.pages["/a.bin"].data = DATA[::-1]
    with pytest.raises(DigestMismatch):
        store.fetch(file, name=NAME)
    host.pages["/a.bin"].data = DATA
    assert store.fetch(file, name=NAME).read_bytes() == DATA


@pytest.mark.parametrize("published", ["sha256-8:00000000", f"sha1:{'0' * 40}", f"md5:{'0' * 32}"])
def test_bytes_that_are_not_what_their_author_publishes_are_never_served(host, store, make_file, published):
    file = make_file(DATA, host.put("/a.bin", DATA), digest=None, published=published)
    with pytest.raises(DigestMismatch, match=published):
        store.fetch(file, name=NAME)
    assert store.list() == []
    assert store.pinned(file, NAME).digest is None


def test_the_same_path_of_two_models_is_two_files(host, store, make_file):
    how = {"digest": None, "size_bytes": None, "path": "weights.pth"}
    first = make_file(b"", host.put("/nano", b"nano"), **how)
    second = make_file(b"", host.put("/large", b"large"), **how)
    assert store.fetch(first, name="sam:nano").read_bytes() == b"nano"
    assert store.fetch(second, name="sam:large").read_bytes() == b"large"


def test_offline_nothing_is_asked_and_the_error_names_file_and_model(host, store, make_file, monkeypatch, no_network):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    file = make_file(DATA, host.put("/a.bin", DATA), "hf:org/repo@main/a.bin", "package:some-weights==1.0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(Offline) as caught:
        store.fetch(file, name=NAME)
    assert "weights.bin of toy:v1" in caught.value.message
    assert "ZOO_OFFLINE" in caught.value.message


def test_offline_a_local_source_serves(store, make_file, tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    (tmp_path / "a.bin").write_bytes(DATA)
    assert store.fetch(make_file(DATA, f"file:{tmp_path}/a.bin"), name=NAME).read_bytes() == DATA


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_offline_can_be_switched_off(host, store, make_file, monkeypatch, value):
    monkeypatch.setenv("ZOO_OFFLINE", value)
    assert store.fetch(make_file(DATA, host.put("/a.bin", DATA)), name=NAME).read_bytes() == DATA


def test_plain_http_from_elsewhere_needs_a_whole_digest(store, make_file):
    file = make_file(DATA, "http://host.invalid/a.bin", digest=None, published=f"md5:{'0' * 32}")
    with pytest.raises(FetchError, match="is not https, and no whole digest pins"):
        store.fetch(file, name=NAME)


def test_a_full_disk_is_known_before_the_bytes(host, make_file, elsewhere, small_disk):
    disk = small_disk(256 * 1024)
    store = Store(disk / "home")
    file = make_file(DATA, host.put("/a.bin", DATA))
    with pytest.raises(DiskFull) as caught:
        store.fetch(file, name=NAME)
    assert "524,288 bytes are to come and" in caught.value.message
    assert is_empty(store)


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(host, make_file, elsewhere, small_disk):
    disk = small_disk(256 * 1024)
    store = Store(disk / "home")
    file = make_file(DATA, host.put("/a.bin", DATA, has_length=False), size_bytes=None)
    with pytest.raises(DiskFull, match="no room left"):
        store.fetch(file, name=NAME)
    assert is_empty(store)
    assert store.verify() == []


def test_a_read_only_home_is_one_error_and_still_serves_what_it_holds(host, make_file, elsewhere, small_disk, told):
    from zoo.errors import ReadOnly

    disk = small_disk(8 << 20)
    store = Store(disk / "home")
    here = make_file(DATA, host.put("/a.bin", DATA))
    store.fetch(here, name=NAME)
    small_disk.lock(disk)
    assert store.fetch(here, name="another:name").read_bytes() == DATA
    with pytest.raises(ReadOnly) as caught:
        store.fetch(make_file(DATA[::-1], host.put("/b.bin", DATA[::-1])), name=NAME)
    assert str(disk) in caught.value.message
    assert "ZOO_HOME" in caught.value.hint
    assert [one.path for one in host.seen] == ["/a.bin"]


def test_a_home_that_is_a_file_is_an_error(host, make_file, tmp_path, elsewhere):
    (tmp_path / "home").write_text("I am a file")
    with pytest.raises(StoreError, match="home"):
        Store(tmp_path / "home").fetch(make_file(DATA, host.put("/a.bin", DATA)), name=NAME)


def test_a_lock_that_cannot_be_taken_does_no_harm(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA))
    (store.locks / f"{file.digest[7:]}.lock").mkdir(parents=True)
    assert store.fetch(file, name=NAME).read_bytes() == DATA


def test_a_stored_blob_of_the_wrong_size_is_fetched_again(host, store, make_file, told):
    file = make_file(DATA, host.put("/a.bin", DATA))
    path = store.fetch(file, name=NAME)
    path.chmod(0o644)
    path.write_bytes(DATA[:100])
    assert store.fetch(file, name=NAME, progress=told).read_bytes() == DATA
    assert any("damaged" in note for note in told.notes)


def test_secrets_in_a_url_are_in_no_message_and_on_no_disk(host, store, make_file, told):
    url = host.put("/a.bin", DATA[::-1]).replace("http://", "http://me:hunter2@") + "?token=hunter2"
    with pytest.raises(ZooError) as caught:
        store.fetch(make_file(DATA, url, url.replace("a.bin", "b.bin")), name=NAME, progress=told)
    host.pages["/a.bin"].data = DATA
    store.fetch(make_file(DATA, url, digest=None, size_bytes=None), name=NAME, progress=told)
    host.pages["/a.bin"].cuts = [100] * 9
    with pytest.raises(FetchError):
        store.fetch(make_file(DATA * 2, url), name=NAME, progress=told)
    assert "hunter2" not in str(caught.value) + "".join(told.notes)
    on_disk = [path for path in store.root.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert on_disk == []
    assert not [path for path in store.root.rglob("*") if "hunter2" in path.name]


def test_a_shared_store_serves_and_is_never_written(host, store, make_file, tmp_path):
    shared = Store(tmp_path / "shared")
    file = make_file(DATA, host.put("/a.bin", DATA))
    kept = shared.fetch(file, name=NAME)
    before = sorted(shared.root.rglob("*"))
    layered = Store(tmp_path / "mine", [shared.root])
    assert layered.fetch(file, name="another:name") == kept
    assert not (tmp_path / "mine").exists()
    assert sorted(shared.root.rglob("*")) == before
    assert len(host.seen) == 1


def test_what_a_shared_store_first_fetched_is_required_too(host, store, make_file, tmp_path):
    shared = Store(tmp_path / "shared")
    file = make_file(DATA, host.put("/a.bin", DATA), digest=None, size_bytes=None)
    kept = shared.fetch(file, name=NAME)
    assert Store(tmp_path / "mine", [shared.root]).fetch(file, name=NAME) == kept
    assert len(host.seen) == 1


def test_a_login_that_is_needed_is_said(host, store, make_file):
    with pytest.raises(LoginNeeded, match=r"weights.bin of toy:v1: 127.0.0.1 wants a login for /a.bin"):
        store.fetch(make_file(DATA, host.put("/a.bin", DATA, login="Basic x")), name=NAME)


def test_importing_the_store_is_cheap() -> None:
    import subprocess
    import sys

    heavy = "{'requests', 'yaml', 'rich', 'numpy', 'filelock', 'onnx', 'platformdirs', 'urllib3'}"
    code = f"import zoo.store, zoo.lock, sys; zoo.store.default_store(); print(sorted({heavy} & sys.modules.keys()))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_a_file_needs_no_more_than_its_fields(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(DATA)
    assert store.fetch(File("a b.bin", None, None, None, (f"file:{tmp_path}/",)), name="x").read_bytes() == DATA
