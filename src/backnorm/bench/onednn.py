"""oneDNN as a peer: onednn.cpp, compiled once where the library is installed, in this process."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.errors import BenchmarkError

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.bench.engine import CaseArrays

__all__ = ["NAME", "OPERATIONS", "OneDnnLayer", "layer", "library", "results", "version"]

NAME: Final = "onednn"
OPERATIONS: Final = ("forward", "backward")
SOURCE: Final = Path(__file__).with_suffix(".cpp")
FLAGS: Final = ("-std=c++17", "-O2", "-fopenmp", "-shared", "-fPIC")
NO_COMPILER: Final = "there is no C++ compiler"
EPS: Final = 1e-5
AXES: Final = 4
ARRAYS: Final = ("x", "dy", "out", "gamma", "beta", "mean", "variance", "dgamma", "dbeta")
"""Members of `Arrays` in onednn.cpp, in their order."""


class _Arrays(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ARRAYS)


def library(cache: Path | None = None) -> ctypes.CDLL:
    """Return onednn.cpp as a library; the first call on a machine compiles it.

    Parameters
    ----------
    cache
        Folder of the compiled library; None for backnorm's in the user's cache.

    Returns
    -------
    ctypes.CDLL
        With the functions of onednn.cpp.

    Raises
    ------
    BenchmarkError
        Without a compiler, or without oneDNN and its headers.
    """
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        raise BenchmarkError.no_onednn(NO_COMPILER)
    text = SOURCE.read_bytes() + " ".join((compiler, *FLAGS)).encode()
    file = (cache or _cache()) / f"onednn-{hashlib.sha256(text).hexdigest()[:16]}.so"
    try:
        return _typed(ctypes.CDLL(str(file)))
    except OSError:  # it was never made, or for another version of oneDNN
        _compile(compiler, file)
    try:
        return _typed(ctypes.CDLL(str(file)))
    except OSError as error:
        raise BenchmarkError.no_onednn(str(error)) from None


def version(loaded: ctypes.CDLL) -> str:
    """Return the version of the library that is loaded, such as "2.6.3"."""
    number = loaded.backnorm_onednn_version()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backnorm"


def _compile(compiler: str, file: Path) -> None:
    """Make the library under another name first, since other processes may want it as well."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            made = Path(folder) / file.name
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-ldnnl"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(file)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line or "cannot" in line]
        raise BenchmarkError.no_onednn((lines or ["the compiler failed"])[0]) from None
    except OSError as error:
        raise BenchmarkError.no_onednn(str(error)) from None


def _typed(loaded: ctypes.CDLL) -> ctypes.CDLL:
    loaded.backnorm_onednn_error.restype = ctypes.c_char_p
    loaded.backnorm_onednn_make.restype = ctypes.c_void_p
    loaded.backnorm_onednn_make.argtypes = [
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_int64),
        ctypes.c_float,
        ctypes.c_int,
        ctypes.POINTER(_Arrays),
    ]
    loaded.backnorm_onednn_implementation.restype = ctypes.c_char_p
    for name in ("implementation", "run", "free"):
        getattr(loaded, f"backnorm_onednn_{name}").argtypes = [ctypes.c_void_p]
    return loaded


class OneDnnLayer:
    """One pass of batch normalization by oneDNN; a call runs it.

    Parameters
    ----------
    loaded
        The library, of `library`.
    handle
        What its function `make` returned.
    arrays
        The members of `Arrays` in onednn.cpp, which the pass reads and writes.
    """

    def __init__(self, loaded: ctypes.CDLL, handle: int, arrays: dict[str, AnyArray]) -> None:
        self._library, self._handle, self.arrays = loaded, handle, arrays
        weakref.finalize(self, loaded.backnorm_onednn_free, handle)

    def __call__(self) -> None:
        """Run the pass."""
        if self._library.backnorm_onednn_run(self._handle):
            words = self._library.backnorm_onednn_error().decode()
            raise BenchmarkError.no_onednn(words)

    @property
    def implementation(self) -> str:
        """Which of oneDNN's implementations runs."""
        name: bytes = self._library.backnorm_onednn_implementation(self._handle)
        return name.decode()


def layer(
    loaded: ctypes.CDLL, op: str, layout: str, arrays: CaseArrays, threads: int
) -> OneDnnLayer | None:
    """Return oneDNN's pass on the arrays of a case, or None if it has none.

    Parameters
    ----------
    loaded
        The library, of `library`.
    op, layout
        The operation; "nchw" or "nhwc".
    arrays
        The case. The layer's output is `out`, as the engine's given output is.
    threads
        How many threads oneDNN takes.
    """
    dtype, extent = arrays.x.dtype.name, arrays.x.shape
    if op not in OPERATIONS or dtype == "float64":
        return None
    taken, backward = _float32_beside(arrays), op == "backward"
    if backward:
        statistics = layer(loaded, "forward", layout, arrays, threads)
        if statistics is None:
            return None
        statistics()
        taken |= {name: statistics.arrays[name] for name in ("mean", "variance")}
    shape = (ctypes.c_int64 * AXES)(*extent, *[1] * (AXES - len(extent)))
    places = _Arrays(*(taken[name].ctypes.data for name in ARRAYS))
    options = (backward, layout == "nhwc", dtype.encode(), shape, EPS, threads)
    handle = loaded.backnorm_onednn_make(*options, ctypes.byref(places))
    return None if handle is None else OneDnnLayer(loaded, handle, taken)


def _float32_beside(arrays: CaseArrays) -> dict[str, AnyArray]:
    """Return the arrays of a case, and one value per channel of all else, in float32."""
    given, c = arrays._asdict(), arrays.x.shape[1]
    values = {name: given.get(name, np.zeros(c)) for name in ARRAYS[3:]}
    rows = {name: np.array(value, dtype=np.float32) for name, value in values.items()}
    return {name: given[name] for name in ARRAYS[:3]} | rows


def results(op: str, run: OneDnnLayer) -> dict[str, AnyArray]:
    """Run a pass, and return what it computes: y, or dx, dgamma and dbeta."""
    run()
    of = run.arrays
    if op == "forward":
        return {"y": of["out"]}
    return {"dx": of["out"], "dgamma": of["dgamma"], "dbeta": of["dbeta"]}
