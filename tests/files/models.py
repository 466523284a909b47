"""The model files of these tests, each with what the framework that wrote it computed.

A sample is a file that a framework wrote and, beside it, a file of the same name with
``.sample.json`` behind: which arrays hold an input and the output that the framework computed
(``arrays``, ``x``, ``y``), the options that the file does not tell (``options``), and the file that
describes the network (``net``), and those that hold its weights (``beside``).
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS, format_of

if TYPE_CHECKING:
    from backnorm.convert.files import ModelFile

SAMPLES = Path(__file__).parent / "samples"
GOLDENS = Path(__file__).parents[1] / "dialects" / "goldens"
ENDING = ".sample.json"


class Sample(NamedTuple):
    """A file, its format, the record of what its framework computed, what the file does not tell.

    ``recorded`` is None where the file alone does not determine the output.
    """

    path: Path
    format: str
    recorded: tuple[Path, str, str] | None
    options: tuple[tuple[str, str, float], ...]
    net: Path | None
    beside: tuple[Path, ...]


def _name_of_format(path: Path) -> str:
    """Return the format with the ending of a file."""
    found = [name for name, home in FORMATS.items() if path.suffix in home.suffixes]
    assert len(found) == 1, f"no format in convert/files/registry.py has the ending of {path.name}"
    return found[0]


def _sample(description: Path) -> Sample:
    path = description.with_name(description.name.removesuffix(ENDING))
    said = json.loads(description.read_text())
    folder = path.parent
    return Sample(
        path,
        _name_of_format(path),
        (folder / said["arrays"], said["x"], said["y"]) if "arrays" in said else None,
        tuple(map(tuple, said.get("options", ()))),
        folder / said["net"] if "net" in said else None,
        tuple(folder / name for name in said.get("beside", ())),
    )


FILES = {
    sample.path.name: sample
    for sample in map(
        _sample, sorted([*SAMPLES.rglob(f"*{ENDING}"), *GOLDENS.glob(f"*/*{ENDING}")])
    )
}
"""All samples, by the names of their files."""

ELSEWHERE = ("savedmodel",)
"""Formats that only a framework reads: test_savedmodel.py has what can be tested without it."""

READABLE = [name for name in FORMATS if name not in ELSEWHERE]

SAMPLED = [name for name, sample in FILES.items() if sample.format in READABLE]
"""The samples that can be read."""

RECORDED = [name for name, sample in FILES.items() if sample.recorded]
"""Those with an output."""


def installed(format_: str) -> bool:
    """Whether the library of a format is there."""
    library = FORMATS[format_].library
    return not library or importlib.util.find_spec(library) is not None


WRITABLE = [name for name in RECORDED if not FORMATS[FILES[name].format].read_only]
"""Those of a format that can be written."""

NEW = [
    name
    for name, home in FORMATS.items()
    if not home.read_only and (not installed(name) or format_of(Path(), name).makes_new)
]
"""The formats of which a new file can be made; those without their library are skipped later."""


def need(format_: str) -> None:
    """Skip where the library of a format is missing."""
    if not installed(format_):
        pytest.skip(f"{FORMATS[format_].library} is not installed; make test has it")


def makes(format_: str) -> bool:
    """Whether a new file of a format can be written."""
    package = FORMATS[format_].new_needs
    return installed(format_) and (not package or importlib.util.find_spec(package) is not None)


def need_new(format_: str) -> None:
    """Skip where a new file of a format cannot be written."""
    need(format_)
    if not makes(format_):
        pytest.skip(f"{FORMATS[format_].new_needs} is not installed; make test has it")


def read(name: str) -> ModelFile:
    """Read a sample, and add the options that it does not tell."""
    sample = FILES[name]
    need(sample.format)
    return files.read(sample.path, settings=sample.options)


def new_file(folder: Path, format_: str) -> Path:
    """Where to write a new file of a format."""
    return folder / f"t{FORMATS[format_].suffixes[0]}"


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the recorded input and output."""
    recorded = FILES[name].recorded
    assert recorded
    path, x, y = recorded
    with np.load(path) as stored:
        return stored[x], stored[y]
