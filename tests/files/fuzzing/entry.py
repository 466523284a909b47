"""What a reader is given: a model file and the files beside it, as one string of bytes or on disk.

On disk it is a file, or a folder if there are several files. As bytes it is a line of JSON with the
names and the lengths, and then the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files.registry import FORMATS
from files import models
from files.fuzzing.damage import damaged_inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

CORPUS = Path(__file__).parents[1] / "corpus"

Entry = dict[str, bytes]
"""The content of each file, by its name."""


def loaded(path: Path) -> Entry:
    """Return what lies on disk."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def stored(entry: Entry, folder: Path) -> Path:
    """Write the files into a folder."""
    for name, content in entry.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def main_file(entry: Entry, format_: str, folder: Path) -> Path:
    """Return what is read: the file with an ending of the format, or the folder."""
    for name in entry:
        if name.endswith(FORMATS[format_].suffixes):
            return folder / name
    return folder


def packed(entry: Entry) -> bytes:
    """Return the files as one string of bytes."""
    head = json.dumps({name: len(content) for name, content in entry.items()})
    return head.encode() + b"\n" + b"".join(entry.values())


def unpacked(data: bytes) -> Entry | None:
    """Return the files, or None if the bytes are not an entry."""
    line, _, rest = data.partition(b"\n")
    entry = {}
    try:
        for name, length in json.loads(line).items():
            if {"", "..", "/"} & {name, *Path(name).parts}:
                return None
            entry[name], rest = rest[:length], rest[length:]
    except (ValueError, AttributeError, TypeError):
        return None
    return entry or None


def damaged_entry(
    entry: Entry, random: Random, edit: Callable[[bytes, Random], bytes], edits: int
) -> Entry:
    """Return the files after some edits of one of them."""
    name = random.choice(sorted(entry))
    content = entry[name]
    for _ in range(edits):
        content = damaged_inside(content, random, edit)
    return {**entry, name: content}


def kept(format_: str) -> list[Path]:
    """Return what the repository keeps of a format."""
    return sorted((CORPUS / format_).glob("[!.]*"))


def entry_of(sample: models.Sample) -> Entry:
    """Return a sample, and the files that belong to it."""
    paths = [sample.path, *filter(None, [sample.net]), *sample.beside]
    return {path.name: path.read_bytes() for path in paths}


def seeds(format_: str) -> list[Entry]:
    """Return the corpus of a format, and the samples that its frameworks wrote."""
    samples = [entry_of(sample) for sample in models.FILES.values() if sample.format == format_]
    return [loaded(path) for path in kept(format_)] + samples
