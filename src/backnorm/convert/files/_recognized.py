"""Which format a file has, where its name does not tell it: by what is in it."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Final

from backnorm.convert.files.registry import FORMATS, name_of_format
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backnorm.convert.files._content import Content

__all__ = ["ARCHIVE", "description_of", "format_in", "format_told", "is_legacy_torch", "located"]

INSIDE: Final = ("saved_model.pb", "model.json")
"""The file of a folder that describes the model: TensorFlow's SavedModel, and TensorFlow.js."""

MANY_FORMATS: Final = (".pt", ".pth")
"""Endings under which people share files of several formats."""

ARCHIVE: Final = b"PK\3\4"
"""How a zip archive begins."""

LEGACY_TORCH: Final = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""The number in the first pickle of a file that PyTorch wrote before version 1.6."""

LONGEST_MAGIC: Final = 32
"""Bytes in which that number is: the pickle says its protocol before."""

BEGINNINGS: Final = (
    (0, b"\x89HDF\r\n\x1a\n", "h5"),
    (0, b"\x12\1\0\0\0\0\0\0", "mxnet"),
    (4, b"TFL3", "tflite"),
    (8, b"{", "safetensors"),
)
"""What stands at which byte of a file of a format."""

MEMBERS: Final = (
    (r".*/constants\.pkl", "torchscript"),  # which torch.save does not write
    (r"(.*/)?data\.pkl", "torch"),
    (r"model\.weights\.h5", "keras"),
    (r".*\.npy", "npz"),
)
"""A member that an archive of a format has; the first that fits decides."""

OTHERS: Final = (
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"\x1f\x8b", "compressed with gzip: unpack it"),
    (0, ARCHIVE, "a zip archive without a model that is known here"),
    (0, b"<", "a page of the web, or another text"),
    (0, b"GGUF", "a GGUF file of llama.cpp"),
    (0, b"\x80", "a pickle that torch.save did not write"),
)
"""What stands at which byte of other files that people have, and what they are."""

CHECKPOINT_PART: Final = re.compile(r".*\.(data-\d{5}-of-\d{5}|index|meta)|checkpoint")
"""The names of the files in which TensorFlow keeps a checkpoint."""

TABLE_END: Final = bytes.fromhex("57fb808b247547db")
"""How the index of a TensorFlow checkpoint ends, and a checkpoint of its first version."""

CHECKPOINT: Final = "a TensorFlow checkpoint: load it and save the model as .keras or SavedModel"

START: Final = 512
"""The bytes that are looked at."""


def located(path: Path) -> Path:
    """Return the file that describes the model where a folder is given; else the path itself."""
    if path.is_dir():
        return next((path / name for name in INSIDE if (path / name).is_file()), path)
    return path


def format_told(path: Path, content: Content) -> str:
    """Return the format that a file's name and its content tell.

    Parameters
    ----------
    path
        The file.
    content
        Its bytes.

    Returns
    -------
    str
        The format of the ending. If the ending tells no format, or many, it is the format of the
        content.

    Raises
    ------
    FileError
        If neither tells a format, saying what the file is as far as that is known.
    """
    known = {ending for home in FORMATS.values() for ending in home.suffixes}
    ending = path.suffix.lower()
    if ending in known and ending not in MANY_FORMATS:
        return name_of_format(path)
    found = format_in(content)
    if found is None and ending not in known:
        raise FileError.other_content(path.name, "", description_of(path.name, content))
    return found or name_of_format(path)


def description_of(file: str, content: Content) -> str:
    """Return what a file is that no format here fits; empty if that is not known."""
    if CHECKPOINT_PART.fullmatch(file) or _ends_as_table(content):
        return CHECKPOINT
    return _first(content, OTHERS) or ""


def _ends_as_table(content: Content) -> bool:
    size = len(content)
    return size > START and bytes(content.part(size - len(TABLE_END), size)) == TABLE_END


def format_in(content: Content) -> str | None:
    """Return the format that the content alone tells; None if it tells none."""
    if bytes(content.part(0, len(ARCHIVE))) == ARCHIVE:
        return _format_of_archive(content)
    return "torch" if is_legacy_torch(content) else _first(content, BEGINNINGS)


def is_legacy_torch(content: Content) -> bool:
    """Return whether a file begins with the pickle that PyTorch wrote before version 1.6."""
    return LEGACY_TORCH in bytes(content.part(0, LONGEST_MAGIC))


def _first(content: Content, signs: Sequence[tuple[int, bytes, str]]) -> str | None:
    start = bytes(content.part(0, START))
    fits = (what for at, sign, what in signs if start[at : at + len(sign)] == sign)
    return next(fits, None)


def _format_of_archive(content: Content) -> str | None:
    try:
        names = zipfile.ZipFile(content.stream()).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None  # the reader that the ending tells says what is wrong
    for pattern, format_ in MEMBERS:
        if any(re.fullmatch(pattern, name) for name in names):
            return format_
    return None
