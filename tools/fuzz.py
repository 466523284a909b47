"""Run the coverage-guided fuzz targets: `make fuzz SECONDS=1200 TARGETS='npz torch'`.

There is a target for each format of ``backnorm.convert.files.FORMATS``. Each runs in a process of
its own, with atheris (libFuzzer for Python) and the mutations of tests/files/fuzzing. What it finds
goes to out/fuzz/TARGET: inputs that reach new code into ``corpus``, which the next run begins with,
and an input that shows a fault into ``fault``, to be kept in tests/files/corpus/TARGET.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OUT: Final = ROOT / "out" / "fuzz"

LARGEST: Final = 1 << 17
"""Bytes of an input."""

SECONDS_EACH: Final = 20
"""For one input."""

NEEDED: Final = (
    "The fuzz targets need atheris, which has wheels for Linux and CPython 3.11 to 3.13. "
    "Run them by `make fuzz`, with PYTHON=python3.11 if python3 is another one."
)

TEMPORARY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - in memory


def main() -> int:
    """Run targets one after the other, and return 1 if one of them finds a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("targets", nargs="*", help="formats; without any, all")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(NEEDED, file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT / "tests"))
    from backnorm.convert.files import FORMATS  # noqa: PLC0415 - the message above needs nothing

    unknown = set(arguments.targets) - set(FORMATS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(FORMATS)}")
    print(f"{'target':<12} {'inputs':>9} {'a second':>9} {'coverage':>16} {'peak memory':>12}")
    faults = []
    for name in arguments.targets or FORMATS:
        library = FORMATS[name].library
        if library and importlib.util.find_spec(library) is None:
            print(f"{name:<12} not run: {library} is not installed")
        elif _target(name, arguments.seconds):
            faults.append(name)
    for name in faults:
        print(
            f"{name} has a fault: {OUT / name / 'fault'} shows it, {OUT / name / 'log'} says where"
        )
    return bool(faults)


def _target(name: str, seconds: int) -> bool:
    """Run a target in its process, print a line, and return whether it has found a fault."""
    from files.fuzzing.entry import packed, seeds  # noqa: PLC0415

    folder = OUT / name
    for part in ("found", "fault", "seeds"):
        shutil.rmtree(folder / part, ignore_errors=True)
    for part in ("found", "seeds", "corpus"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for entry in seeds(name):
        data = packed(entry)
        (folder / "seeds" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    command = [
        sys.executable,
        str(ROOT / "tools" / "_fuzzing.py"),
        name,
        f"-max_total_time={seconds}",
    ]
    command += [f"-timeout={SECONDS_EACH}", "-rss_limit_mb=0", f"-max_len={LARGEST}"]
    command += ["-print_final_stats=1", f"-artifact_prefix={folder / 'found'}/", "-len_control=0"]
    command += [str(folder / "corpus"), str(folder / "seeds")]
    with (
        (folder / "log").open("w") as log,
        tempfile.TemporaryDirectory(dir=TEMPORARY, prefix="backnorm-fuzz-") as temporary,
    ):
        environment = {**os.environ, "TMPDIR": temporary, "PYTHONPATH": str(ROOT / "tests")}
        done = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)
    _line(name, (folder / "log").read_text(errors="replace"))
    if done.returncode:
        _keep(folder)
    return done.returncode != 0


def _line(name: str, log: str) -> None:
    """Print what libFuzzer counts."""
    executed = re.findall(r"number_of_executed_units: (\d+)", log) or re.findall(
        r"^#(\d+)", log, re.MULTILINE
    )
    memory = re.findall(r"peak_rss_mb: +(\d+)", log) or re.findall(r"rss: (\d+)Mb", log)
    first = re.search(r"INITED cov: (\d+)", log)
    last = re.findall(r"cov: (\d+)", log)
    inputs = executed[-1] if executed else "0"
    rate = re.findall(r"average_exec_per_sec: +(\d+)", log) or re.findall(r"exec/s: (\d+)", log)
    covered = f"{first[1] if first else '?'} to {last[-1] if last else '?'}"
    peak = f"{memory[-1] if memory else '?'} MB"
    each = rate[-1] if rate else "?"
    print(f"{name:<12} {inputs:>9} {each:>9} {covered:>16} {peak:>12}", flush=True)


def _keep(folder: Path) -> None:
    """Unpack the input that shows the fault."""
    from files.fuzzing.entry import stored, unpacked  # noqa: PLC0415

    for artifact in (folder / "found").iterdir():
        entry = unpacked(artifact.read_bytes())
        if entry is not None:
            stored(entry, folder / "fault" / artifact.name)


if __name__ == "__main__":
    sys.exit(main())
