"""Norms of libraries in other languages: built from examples/programs/libraries, and audited."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from backnorm.host.helpers import FILES, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["LIBRARIES", "row_of", "table"]

MISSING = "{} cannot be built: {}\nInstall what its first lines say: examples/programs/libraries/{}"


class ForeignLibrary(NamedTuple):
    """A library, how its program is built, and what is audited of it."""

    name: str
    file: str
    build: tuple[str, ...]
    programs: tuple[str, ...]
    options: tuple[str, ...] = ()


LIBRARIES = (
    ForeignLibrary(
        "dlib",
        "dlib.cpp",
        ("g++ -O2 dlib.cpp -o dlib -ldlib",),
        ("./dlib bn_con", "./dlib layer_norm"),
        ("--mode", "train"),
    ),
    ForeignLibrary(
        "tiny-dnn",
        "tiny_dnn.cpp",
        (
            "mkdir -p third_party",
            "ln -sfn /usr/include/stb third_party/stb",
            "g++ -O2 -w -I. tiny_dnn.cpp -o tiny_dnn -lpthread",
        ),
        ("./tiny_dnn",),
    ),
    ForeignLibrary(
        "oneDNN",
        "onednn.cpp",
        ("g++ -O2 onednn.cpp -o onednn -ldnnl",),
        ("./onednn batch", "./onednn layer"),
    ),
    ForeignLibrary(
        "mlpack",
        "mlpack.cpp",
        (
            "python3 -m pip download -q --no-deps -d . mlpack==4.8.0",
            "unzip -q -o mlpack-*.whl mlpack/include/*",
            "g++ -O2 -std=c++17 -fopenmp -Imlpack/include mlpack.cpp -o mlpack_norms -larmadillo",
        ),
        ("./mlpack_norms batch", "./mlpack_norms layer"),
    ),
    ForeignLibrary(
        "tensorflow.js",
        "tfjs.mjs",
        ("npm install --no-audit --no-fund --silent @tensorflow/tfjs@4.22.0",),
        ("node tfjs.mjs batch", "node tfjs.mjs layer"),
    ),
)


def table(source: Path, folder: Path) -> str:
    """Build the programs in a folder, audit them, and return the table of their verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, file in FILES.items():
        (folder / file).write_text(text_of(language), encoding="utf-8")
    rows = [row for library in LIBRARIES for row in _rows(library, source, folder)]
    head = "| layer | version | mode | gradient through | D, M, V | sound | findings |"
    return "\n".join([head, "|" + "---|" * 7, *rows, ""])


def _rows(library: ForeignLibrary, source: Path, folder: Path) -> list[str]:
    shutil.copy(source / library.file, folder)
    for command in library.build:
        print(f"== {library.name}: {command}", flush=True)
        words = command.split()
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().partition("\n")[0]
            raise SystemExit(MISSING.format(library.name, said, library.file))
    return [row_of(target) for target in _audited(library, folder)]


def _audited(library: ForeignLibrary, folder: Path) -> Sequence[dict[str, Any]]:
    """Return the targets of the JSON of an audit."""
    programs = [word for one in library.programs for word in ("--program", one)]
    command = [sys.executable, "-m", "backnorm", "audit", "--json", "-", *library.options]
    words = [*command, *programs]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    targets: Sequence[dict[str, Any]] = json.loads(done.stdout)["targets"]
    return targets


def row_of(target: dict[str, Any], version: str = "") -> str:
    """Return the line of a table for one layer; its own notes may tell another version."""
    notes = " ".join(target["notes"])
    version = notes.partition("Its version is ")[2].partition(" ")[0].rstrip(".") or version
    weights = target["coefficients"]
    numbers = [None if weight is None else round(weight, 3) + 0.0 for weight in weights.values()]
    listed = ", ".join("-" if number is None else f"{number:.3f}" for number in numbers)
    found = ", ".join(dict.fromkeys(finding["code"] for finding in target["findings"]))
    sound = {True: "yes", False: "**no**", None: "not judged"}[target["sound"]]
    name, mode = target["target"], target["mode"]
    return f"| `{name}` | {version} | {mode} | {target['through']} | {listed} | {sound} | {found} |"
