"""Mean and variance of each channel of a sharded data set, on the workers of Dask.

    pip install '.[cluster]'
    python examples/dask_moments.py [SHARD.npy ...]

Each task reads one shard and returns its exact sums, some hundred bytes a channel. The sums are
added in a tree. No bit of the result depends on the number of workers, or on the order in which
they finish; the last line compares it with one process. Without SHARDs the example makes some.
"""

from __future__ import annotations

import sys
import tempfile
from functools import reduce
from operator import add
from pathlib import Path

import click
import dask
import dask.bag
import numpy as np

import backnorm as bn

CHANNEL_AXIS = -1


def moments_of(file: str) -> bn.Moments:
    """Return the exact sums of a shard, shape (N, ..., C)."""
    made = bn.Moments()
    made.update(np.load(file, mmap_mode="r"), channel_axis=CHANNEL_AXIS)
    return made


def on_dask(files: list[str], scheduler: str = "processes") -> bn.Moments:
    """Return those of all shards: one task a shard, and sums of eight at a time."""
    bag = dask.bag.from_sequence(files, partition_size=1).map(moments_of)
    total = bag.fold(add, initial=bn.Moments(), split_every=8)
    found: bn.Moments = total.compute(scheduler=scheduler)
    return found


def made_in(folder: str, shards: int = 20) -> list[str]:
    """Write shards of different sizes, with means far from 0."""
    rng = np.random.default_rng(0)
    files = [str(Path(folder) / f"{number}.npy") for number in range(shards)]
    for number, file in enumerate(files):
        x = rng.normal([1.0, 1e3, 1e5], 1.0, size=(10 * number + 1, 8, 8, 3))
        np.save(file, x.astype(np.float32))
    return files


def main() -> None:
    """Compute, and compare with one process."""
    with tempfile.TemporaryDirectory() as folder:
        files = sys.argv[1:] or made_in(folder)
        found = on_dask(files)
        one = reduce(add, map(moments_of, files))
    click.echo(f"{found.n} values a channel of {len(files)} shards")
    click.echo(f"mean {found.mean}, variance {found.var}")
    click.echo(f"same bits as one process: {found.to_bytes() == one.to_bytes()}")


if __name__ == "__main__":
    main()
