"""Run Keras's own tests of batch normalization with the layer of backnorm.keras in its place.

    python tools/upstream_keras.py SOURCE        SOURCE is a checkout of Keras's repository

On each backend of backnorm.keras that is installed, with the layer of the installed Keras first.
Each test that passes with that layer must pass with ours.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TEST = Path("keras/src/layers/normalization/batch_normalization_test.py")

PLUGIN = """
from backnorm.keras import BatchNormalization
from keras.src import layers

layers.BatchNormalization = BatchNormalization
"""
"""A conftest.py: the tests look the class up in this module."""


def passed(source: Path, backend: str, *, ours: bool) -> set[str]:
    """Return the names of the tests that pass, of a copy of the file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / TEST.name
        file.write_bytes((source / TEST).read_bytes())
        if ours:
            (file.parent / "conftest.py").write_text(PLUGIN, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:randomly"]
        command += ["-p", "no:cacheprovider", "-W", "ignore", f"--rootdir={folder}", str(file)]
        ran = subprocess.run(
            command,
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            check=False,
            text=True,
            cwd=folder,
        )
    lines = [line.split() for line in ran.stdout.splitlines()]
    found = {words[1] for words in lines if words[:1] == ["PASSED"]}
    if not found or (ours and ran.returncode):
        print(ran.stdout[-4000:], ran.stderr[-2000:])
    return found


def main(arguments: list[str]) -> int:
    """Compare on each backend; 1 if a test passes with the layer of Keras only."""
    if len(arguments) != 1 or not (Path(arguments[0]) / TEST).is_file():
        print(f"SOURCE must be a checkout of Keras's repository, with {TEST}.", file=sys.stderr)
        return 2
    lost = 0
    for backend in ("jax", "torch"):
        if importlib.util.find_spec(backend) is None:
            print(f"{backend}: not installed")
            continue
        stock, ours = (passed(Path(arguments[0]), backend, ours=way) for way in (False, True))
        print(f"{backend}: {len(stock)} pass with Keras's layer, {len(ours & stock)} of them ours")
        lost += len(stock - ours) + (not stock)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
