"""What a person who waits sees."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCH = """
import time
from zoo.progress import default
bar = default()
bar.start("weights.pth", 8 << 20)
for i in range(8):
    bar.advance(1 << 20)
    time.sleep(0.06)
    if i == 3:
        bar.note("the connection dropped [1/5]; trying again")
        bar.start("weights.pth", 8 << 20, at=4 << 20)
bar.done()
bar.done()
bar.note("after")
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pty there")
def test_a_terminal_gets_a_bar_with_rate_and_time_left():
    import pty

    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH], stderr=theirs, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT
    )
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:  # how Linux says that the other end of a pty is closed
        pass
    os.close(ours)
    assert process.communicate()[0] == "done\n"
    text = seen.decode()
    assert "weights.pth" in text
    assert "the connection dropped [1/5]; trying again" in text
    assert re.search(r"\d+(\.\d+)?/8\.4 MB", text)
    assert re.search(r"[MkG]?B/s", text)
    assert re.search(r"0:00:0\d", text)
    assert "after" in text


def test_a_file_or_a_pipe_gets_nothing():
    done = subprocess.run([sys.executable, "-c", FETCH], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("done\n", "")
