"""Run a command that compiles, and show how far it is.

    python tools/building.py python -m pip -v install …

All other output is kept back, and printed if the command fails. It needs the standard library only,
because it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys

STEP = re.compile(r"\[(\d+)/(\d+)\] (Building|Linking) CXX \w+ (?:\w+ )*(\S+)")
"""A line of Ninja: steps done, all steps, and the file that was made."""

TARGET = re.compile(r"CMakeFiles/(.+?)\.dir/(?:.*/)?(.+?)\.o$")


def progress(line: str) -> str | None:
    """Say how far the build is, if a line tells."""
    step = STEP.search(line)
    if step is None:
        return None
    done, steps, _, made = step.groups()
    target = TARGET.search(made)
    name = f"{target[2]} ({target[1]})" if target else made
    return f"   {done} of {steps} compiled: {name}"


def main(command: list[str]) -> int:
    """Run the command, and return its exit status."""
    kept: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            kept.append(line)
            if (message := progress(line)) is not None:
                print(message, flush=True)
    if process.returncode:
        sys.stderr.writelines(kept)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
