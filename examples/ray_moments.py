"""Mean and variance of each channel of a sharded data set, on the workers of Ray.

    pip install '.[cluster]'
    python examples/ray_moments.py [SHARD.npy ...]

Each task reads one shard and returns its exact sums; other tasks add two of them, as they come. No
bit of the result depends on the number of workers, or on which sums meet; the last line compares it
with one process. Without SHARDs the example makes some.
"""

from __future__ import annotations

import sys
import tempfile
from functools import reduce
from operator import add
from pathlib import Path

import click
import numpy as np
import ray

import backnorm as bn

CHANNEL_AXIS = -1


def moments_of(file: str) -> bn.Moments:
    """Return the exact sums of a shard, shape (N, ..., C)."""
    made = bn.Moments()
    made.update(np.load(file, mmap_mode="r"), channel_axis=CHANNEL_AXIS)
    return made


def on_ray(files: list[str]) -> bn.Moments:
    """Return those of all shards: whichever two sums are there first are added."""
    read, added = ray.remote(moments_of), ray.remote(add)
    waiting = [read.remote(file) for file in files]
    while len(waiting) > 1:
        pair, waiting = ray.wait(waiting, num_returns=2)
        waiting.append(added.remote(*pair))
    found: bn.Moments = ray.get(waiting[0])
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
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        files = sys.argv[1:] or made_in(folder)
        found = on_ray(files)
        one = reduce(add, map(moments_of, files))
    click.echo(f"{found.n} values a channel of {len(files)} shards")
    click.echo(f"mean {found.mean}, variance {found.var}")
    click.echo(f"same bits as one process: {found.to_bytes() == one.to_bytes()}")


if __name__ == "__main__":
    main()
