"""Measure what `backnorm inspect` and `backnorm convert` take for large files (docs/files.md).

    python tools/large_files.py FOLDER      FOLDER gets 2 GB, and is removed afterwards

A `.safetensors` file of 2 GB with 60 layers is inspected; beside it stands the start of the
command, measured by its `--version`. A model of 200 MB with 50 layers is converted from each format
that can be written anew to the next, round to the first, and back. Times are processor time of the
command, user and system, since they depend less on what else the machine does; memory is the
largest that the process had resident.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm._meter import metered

if TYPE_CHECKING:
    from collections.abc import Mapping

    State = dict[str, np.ndarray[Any, Any]]

COMMAND = (sys.executable, "-m", "backnorm")

DIALECTS = {
    "npz": "torch",
    "safetensors": "torch",
    "pt": "torch",
    "h5": "keras",
    "onnx": "onnx",
    "caffemodel": "caffe",
    "params": "mxnet",
    "msgpack": "flax",
}
"""The formats of new files, by their endings, and the dialect of each."""

CHANNELS = 256
FAILED = "{} ended with {}:\n{}"


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    bytes: int


def cost(*arguments: str) -> Cost:
    """Run the command, and return its processor time and its largest memory."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=said, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if code != 0:
            raise SystemExit(FAILED.format(" ".join(arguments), code, said.read()))
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def arrays(layers: int, size: int) -> State:
    """Return a state of PyTorch: a convolution before each normalization layer; size in all."""
    rng = np.random.default_rng(0)
    inputs = max(1, round(size / layers / CHANNELS / 9 / 4))
    state: State = {}
    for index in range(layers):
        kernel = rng.standard_normal((CHANNELS, inputs, 3, 3), dtype=np.float32)
        state[f"conv{index}.weight"] = kernel
        state |= {f"bn{index}.{name}": value for name, value in norm(rng).items()}
    return state


def norm(rng: np.random.Generator) -> State:
    """Return the arrays of a normalization layer."""
    spread = rng.uniform(0.5, 1.5, (4, CHANNELS)).astype(np.float32)
    names = ("weight", "bias", "running_mean", "running_var")
    return dict(zip(names, spread, strict=True)) | {"num_batches_tracked": np.asarray(9)}


def write_sparse(path: Path, layers: int, size: int) -> None:
    """Write a `.safetensors` file whose kernels are zeros, of which a disk keeps little."""
    small = arrays(layers, 0)
    inputs = size // layers // CHANNELS // 9 // 4
    header, values, end = {}, {}, 0
    for name, value in small.items():
        shape = (CHANNELS, inputs, 3, 3) if name.startswith("conv") else value.shape
        begin, end = end, end + int(np.prod(shape)) * value.itemsize
        kind = {"float32": "F32", "int64": "I64"}[value.dtype.name]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": (begin, end)}
        if not name.startswith("conv"):
            values[begin] = value.tobytes()
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        file.truncate(start + end)
        for begin, content in values.items():
            file.seek(start + begin)
            file.write(content)


def conversions(folder: Path, layers: int, size: int) -> dict[tuple[str, str], Cost]:
    """Convert a model from each format to the next, round to the first, and the same way back."""
    endings = list(DIALECTS)
    np.savez(folder / "model.npz", **arrays(layers, size))
    there = list(zip(endings, [*endings[1:], endings[0]], strict=True))
    pairs = [*there, *((to, one) for one, to in reversed(there))]
    found = {}
    with metered("conversions", len(pairs)) as meter:
        for one, to in meter.each(pairs):
            meter.begin(f"{one} to {to}")
            found[one, to] = converted(folder / f"model.{one}", folder / f"model.{to}")
    return found


def converted(source: Path, target: Path) -> Cost:
    """Convert a file."""
    dialect = DIALECTS[target.suffix[1:]]
    return cost("convert", str(source), str(target), "--to", dialect, "--allow-loss")


def summary(found: Mapping[tuple[str, str], Cost]) -> str:
    """Return the range of the times: a new .pt file is written by PyTorch, which starts slowly."""
    lines = []
    for title, torch in (("conversions without a new .pt", False), ("to a new .pt", True)):
        times = [took.seconds for (_, to), took in found.items() if (to == "pt") is torch]
        if times:
            lines.append(f"{title}: {min(times):.1f} to {max(times):.1f} s")
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Print what was measured."""
    folder.mkdir(parents=True)
    try:
        start = cost("--version")
        large = folder / "large.safetensors"
        write_sparse(large, 60, 2 * 10**9)
        seen = cost("inspect", str(large))
        print(f"start of the command: {start.seconds:.2f} s, {start.bytes / 1e6:.0f} MB")
        print(f"inspect, 2 GB, 60 layers: {seen.seconds:.2f} s, {seen.bytes / 1e6:.0f} MB")
        large.unlink()
        found = conversions(folder, 50, 200 * 10**6)
        for (one, other), took in found.items():
            print(f"{one} to {other}: {took.seconds:.2f} s, {took.bytes / 1e6:.0f} MB")
        print(summary(found))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [given]:
            main(Path(given).resolve())
        case _:
            raise SystemExit(__doc__)
