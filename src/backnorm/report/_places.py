"""Where a target is defined, as far as its name and the files of the current folder tell."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple

from backnorm.errors.printable import printable

__all__ = ["DefinedAt", "fingerprint", "place_of"]

IN_FILE: Final = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
"""The beginning of a target that is defined in a file."""

IN_MODEL: Final = re.compile(r"(?P<file>.+\.onnx)(:|$)")
"""The beginning of a target in a model file, which has no lines."""

IN_MODULE: Final = re.compile(r"(?P<module>\w+(\.\w+)*)[.:](?P<name>\w+)")
"""The beginning of a target that is defined in a module."""

SOURCES: Final = (".", "src")
"""Folders in which modules are looked for: nothing is imported."""

DEFINITIONS: Final = (ast.ClassDef, ast.FunctionDef)


class DefinedAt(NamedTuple):
    """A file and a line.

    Attributes
    ----------
    file
        As a POSIX path, relative to the current folder if it is inside; empty where unknown.
    line
        The line that defines the target; 0 where unknown.
    """

    file: str = ""
    line: int = 0


def place_of(target: str) -> DefinedAt:
    """Return the file of a target and the line of its definition, as far as they are known."""
    model = IN_MODEL.match(target)
    if model is not None:
        return DefinedAt(_relative(Path(model["file"])))
    match = IN_FILE.match(target)
    if match is not None:
        return _place(Path(match["file"]), match["name"])
    match = IN_MODULE.match(target)
    if match is None:
        return DefinedAt()
    parts = match["module"].split(".")
    for folder in SOURCES:
        for tail in (Path(*parts).with_suffix(".py"), Path(*parts, "__init__.py")):
            path = Path(folder, tail)
            if path.is_file() and _line_defining(path, match["name"]):
                return _place(path, match["name"])
    return DefinedAt()


def fingerprint(target: str, code: str, before: int = 0) -> str:
    """Return what stays the same for a finding when lines move, and numbers change.

    Parameters
    ----------
    target, code
        Of the finding.
    before
        How many findings of this target with this code come before it: no two are the same.
    """
    told = [target, code, *([str(before)] if before else [])]
    return hashlib.sha256("\n".join(told).encode(errors="surrogatepass")).hexdigest()


def _place(path: Path, name: str) -> DefinedAt:
    return DefinedAt(_relative(path), _line_defining(path, name))


def _relative(path: Path) -> str:
    relative = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return printable(relative.as_posix())


def _line_defining(path: Path, name: str) -> int:
    """Return the line that defines a name; 0 where it is unknown."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return 0
    named = (node for node in tree.body if isinstance(node, DEFINITIONS))
    return next((node.lineno for node in named if node.name == name), 0)
