"""TensorFlow's SavedModel: the variables beside saved_model.pb, by TensorFlow's own reader.

The program in saved_model.pb is not loaded. TensorFlow's reader is C++ that trusts its files, so it
runs in a separate process.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._flat import find_layers, spellings_of
from backnorm.convert.files._guard import guard
from backnorm.convert.files.keras._config import with_told_options
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Source

__all__ = ["FORMAT"]

CHILD: Final = Path(__file__).with_name("_savedmodel_child.py")

SECONDS: Final = 120.0
"""TensorFlow's import takes 3 to 20 s."""

VARIABLES: Final = "variables/variables"


def read(source: Source) -> ModelFile:
    """Read the layers and all other variables of a SavedModel."""
    path = source.path
    prefix = path.parent / VARIABLES
    if not prefix.with_suffix(".index").is_file():
        there = sorted(item.name for item in path.parent.iterdir())[:8]
        raise FileError.missing_array(path.name, f"{VARIABLES}.index", there)
    for part in prefix.parent.glob("variables.*"):
        source.budget.grow(part.stat().st_size)
    arrays = _arrays(source, prefix)
    named = find_layers(arrays, spellings_of("keras"))
    layers = with_told_options(path.name, named.layers, None)
    return ModelFile(path, "savedmodel", layers, named.others)


def _arrays(source: Source, prefix: Path) -> dict[str, AnyArray]:
    file = source.path.name
    command = [sys.executable, "-I", str(CHILD), str(prefix.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FileError.died(file, "tensorflow", f"no answer within {SECONDS:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        how = f"exit status {done.returncode}, {lines[-1] if lines else 'no message'}"
        raise FileError.died(file, "tensorflow", how)
    source.budget.take(VARIABLES, len(done.stdout))
    with guard(file, "numpy"), np.load(io.BytesIO(done.stdout), allow_pickle=False) as stored:
        return {name.removeprefix("a/"): stored[name] for name in stored.files}


FORMAT: Final = Format("savedmodel", ("keras",), read, None, makes_new=False)

register(FORMAT)
