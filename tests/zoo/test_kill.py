"""Processes that fetch the same file, and kill -9 at any moment."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from zoo.entry import File
from zoo.sources.patience import Patience
from zoo.store import Store

DATA = random.Random(0).randbytes(600_000)
NAME = "toy:v1"


def wait_for(host: Any, n_bytes: int) -> None:
    """Until the host has sent so many bytes of its first answer."""
    while not (host.seen and host.seen[0].sent_bytes > n_bytes):
        time.sleep(0.01)


def test_two_processes_fetch_one_blob_once(host, store, make_file, pull):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.3))
    first = pull(store.root, file, "toy:first")
    wait_for(host, 0)
    second = pull(store.root, file, "toy:second")
    assert second.stdout.readline() == "note waiting for another process that fetches the same file\n"
    host.pages["/a.bin"].pause_s = 0
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert len(host.seen) == 1
    assert [one.name for one in store.list()] == ["toy:first", "toy:second"]
    assert store.verify() == []
    assert list(store.parts.iterdir()) == []


def test_a_process_killed_in_mid_download_leaves_its_bytes_to_the_next(host, store, make_file, pull):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.05))
    process = pull(store.root, file)
    wait_for(host, 300_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.blob(file.digest) is None
    assert store.verify() == []
    host.pages["/a.bin"].pause_s, host.seen = 0, []
    assert store.fetch(file, name=NAME).read_bytes() == DATA
    (asked,) = host.ranges()
    assert asked is not None
    assert int(asked.removeprefix("bytes=").removesuffix("-")) > 0
    assert list(store.parts.iterdir()) == []


def test_a_waiting_process_goes_on_when_the_one_before_it_is_killed(host, store, make_file, pull):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.05))
    first = pull(store.root, file, "toy:first")
    wait_for(host, 100_000)
    host.pages["/a.bin"].pause_s = 0.3
    second = pull(store.root, file, "toy:second")
    assert "waiting" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    host.pages["/a.bin"].pause_s = 0
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert "going on from byte" in said
    assert store.verify() == []


def test_a_build_killed_in_mid_write_is_never_seen(store):
    code = (
        "import sys, time; from pathlib import Path; from zoo.store import Store\n"
        "with Store(Path(sys.argv[1])).build('key') as folder:\n"
        "    (folder / 'model').write_bytes(b'half'); print('half', flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, store.root], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    assert store.built("key") is None
    assert len(store.prune()) == 1
    assert list(store.parts.iterdir()) == []


def kill_at_random(store: Store, file: File, host: Any, *, kills: int, seed: int, fetch: Any = None) -> int:
    """Two processes at a time fetch `file`, some are killed, and a last fetch ends right; how many were killed."""
    rng, killed = random.Random(seed), 0
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["zoo.fetch", "zoo.sources.https", "zoo.lock", "filelock"])
    while killed < kills:
        store.remove(NAME)
        running = [forks.Process(target=fetch or fetch_quietly, args=(store.root, file)) for _ in range(2)]
        for process in running:
            process.start()
        for process in running:
            time.sleep(rng.uniform(0, 0.25))
            if process.is_alive():
                process.kill()
                killed += 1
        for process in running:
            process.join()
        assert store.verify() == []
        assert all(path.stat().st_size == len(DATA) for path in (store.root / "blobs").rglob("?" * 64))
    host.pages["/a.bin"].pause_s = 0
    assert store.fetch(file, name=NAME).read_bytes() == DATA
    assert store.verify() == []
    store.prune()
    # What was killed while it was being named is hidden, a few bytes, and goes later.
    assert [path for path in store.parts.iterdir() if not path.name.startswith(".")] == []
    return killed


def fetch_quietly(root: Path, file: File) -> None:
    """What each process does; an error would be its exit code."""
    Store(root, patience=Patience(first_wait_s=0.01)).fetch(file, name=NAME)


@pytest.mark.parametrize("is_pinned", [True, False])
def test_kill_9_at_random_moments_never_harms_the_store(host, store, make_file, is_pinned):
    how = {} if is_pinned else {"digest": None, "published": f"sha256-8:{hashlib.sha256(DATA).hexdigest()[:8]}"}
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.003), **how)
    assert kill_at_random(store, file, host, kills=12, seed=1) >= 12


def fetch_with_lying_locks(root: Path, file: File) -> None:
    """As on a network file system that grants every lock to everybody."""
    import fcntl

    fcntl.flock = lambda fd, operation: None
    fetch_quietly(root, file)


def test_kill_9_harms_nothing_where_every_lock_is_granted(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.003))
    assert kill_at_random(store, file, host, kills=8, seed=3, fetch=fetch_with_lying_locks) >= 8


def test_two_processes_fetch_one_blob_where_every_lock_is_granted(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.005))
    forks = multiprocessing.get_context("forkserver")
    running = [forks.Process(target=fetch_with_lying_locks, args=(store.root, file)) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert store.verify() == []
    assert store.blob(file.digest) is not None


def test_two_threads_fetch_one_blob_once(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.01))
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda i: store.fetch(file, name=f"toy:{i}"), range(4)))
    assert len(set(paths)) == 1
    assert len(host.seen) == 1
    assert len(store.list()) == 4


def test_an_interrupted_process_leaves_its_bytes_to_the_next(host, store, make_file, pull):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.05))
    process = pull(store.root, file)
    wait_for(host, 200_000)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    host.pages["/a.bin"].pause_s, host.seen = 0, []
    assert store.fetch(file, name=NAME).read_bytes() == DATA
    assert host.ranges()[0] is not None


@pytest.mark.slow
def test_kill_9_at_200_random_moments_never_harms_the_store(host, store, make_file):
    file = make_file(DATA, host.put("/a.bin", DATA, pause_s=0.003))
    assert kill_at_random(store, file, host, kills=200, seed=2) >= 200
