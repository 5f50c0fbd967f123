"""Write converters/writers/lowered.json anew: which operators each framework has lowerings of.

    python tools/lowered.py

Each table is filled in a process of its own, since it takes the framework; all have to be installed.
"""

from __future__ import annotations

import json
import subprocess
import sys

from zoo.converters.frameworks import FRAMEWORKS
from zoo.converters.writers.lowered import LISTED

PROGRAM = """
import json, sys
from zoo.converters.frameworks import framework
from zoo.converters.writers.lowered import listed
print(json.dumps(listed(framework(sys.argv[1]).module("writer").lowers)))
"""


def main() -> None:
    """Write the file."""
    made = {}
    for name in FRAMEWORKS:
        if name != "onnx":
            command = [sys.executable, "-W", "ignore", "-c", PROGRAM, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            made[name] = json.loads(done.stdout.splitlines()[-1])
    LISTED.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
