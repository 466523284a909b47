"""The process of one fuzz target: `python tools/_fuzzing.py FORMAT ARGUMENTS-OF-LIBFUZZER`."""

from __future__ import annotations

import importlib
import inspect
import resource
import shutil
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path
from random import Random
from types import FunctionType
from typing import TYPE_CHECKING, Final

import atheris

from backnorm.convert.files.registry import FORMATS, format_of
from files.fuzzing import forked
from files.fuzzing.damage import random_edit
from files.fuzzing.entry import damaged_entry, packed, unpacked
from files.fuzzing.target import check

if TYPE_CHECKING:
    from collections.abc import Iterator

HDF5_SECONDS: Final = 3.0
"""For one reading of an HDF5 file, some of which keep the library busy without an end."""

RISE: Final = 64 << 20
"""Bytes by which one input may raise the peak memory of the process, beside 5 times its size:
16 MiB for the reading, the copies that are written, and what libraries keep of their memory."""

READERS: Final = (
    *("backnorm.convert", "backnorm.torch.files", "zipfile", "numpy.lib._format_impl"),
    "torch._weights_only_unpickler",
)
"""Modules whose coverage guides, as far as they are loaded: ours, and readers of others that are
written in Python."""


class Target:
    """Runs inputs as one format, and holds them to the limit on memory."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.warm = False
        """Whether an input has been read: the first one loads libraries."""

    def run(self, data: bytes) -> int:
        """Run an input; -1 says that it is none."""
        entry = unpacked(data)
        if entry is None:
            return -1
        before = _peak()
        try:
            check(self.name, entry, self.folder)
        finally:
            for path in self.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        rise = _peak() - before
        if self.warm and rise > RISE + 5 * len(data):
            message = f"{rise} bytes of memory for {len(data)}"
            raise MemoryError(message)
        self.warm = True
        return 0


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _mutated(data: bytes, most: int, seed: int) -> bytes:
    """Return an input after one to three edits that follow the structure of its files."""
    entry = unpacked(data)
    if entry is None:
        return bytes(atheris.Mutate(data, most))
    random = Random(seed)  # noqa: S311 - the engine's seed
    new = packed(damaged_entry(entry, random, _edit, 1 + random.randrange(3)))
    return new if len(new) <= most else data


def _edit(data: bytes, random: Random) -> bytes:
    """Edit bytes, as the ordinary tests do or as libFuzzer does, which remembers what helped."""
    if random.random() < 1 / 2:
        return random_edit(data, random)
    return bytes(atheris.Mutate(data, max(2 * len(data), 64)))


def _functions_of(prefixes: tuple[str, ...]) -> Iterator[FunctionType]:
    """Yield the functions of the modules that are loaded, and those of their classes."""
    for name, module in list(sys.modules.items()):
        if not any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes):
            continue
        values = [v for v in vars(module).values() if getattr(v, "__module__", "") == name]
        for value in values:
            members = vars(value).values() if isinstance(value, type) else [value]
            plain = [inspect.unwrap(getattr(member, "__func__", member)) for member in members]
            yield from (member for member in plain if isinstance(member, FunctionType))


def _read_hdf5_in_forks() -> None:
    """Let HDF5 files be read in forks, if this target reads them."""
    module = sys.modules.get("backnorm.convert.files.keras._hdf5")
    if module is not None:
        import h5py  # noqa: F401, PLC0415 - the forks have it then

        vars(module).update(subprocess=forked.STAND_IN, SECONDS=HDF5_SECONDS)


def main() -> None:
    """Run a target; the engine ends the process."""
    name = sys.argv.pop(1)
    for path in ("t.npz", "t.caffemodel"):  # what is converted into
        format_of(Path(path))
    format_of(Path(), name)
    if FORMATS[name].new_needs:  # else the first input that is written loads it, in its time
        importlib.import_module(f"backnorm.{FORMATS[name].new_needs}.files")
    for function in _functions_of(READERS):  # the loader of an editable installation has no hook
        atheris.instrument_func(function)
    _read_hdf5_in_forks()
    warnings.simplefilter("error")
    tracemalloc.start()  # once: it does not free all that it needs
    target = Target(name, Path(tempfile.mkdtemp()))
    atheris.Setup(sys.argv, target.run, custom_mutator=_mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
