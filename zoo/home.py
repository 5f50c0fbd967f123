"""Where Polyzoo keeps what it fetches and makes: `$ZOO_HOME`, else the platform's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = "polyzoo"


def home() -> Path:
    """The folder of store, index and user catalogs; it need not exist. Read from the environment at each call.

    Linux and macOS are spelled out as platformdirs has them (a test compares): importing it would take 20 ms of every
    `zoo list`.
    """
    if stated := os.environ.get("ZOO_HOME"):
        return Path(stated).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / APP
    if sys.platform == "linux":
        xdg = os.environ.get("XDG_CACHE_HOME", "").strip()
        return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / APP
    import platformdirs

    return platformdirs.user_cache_path(APP, appauthor=False)
