"""Mean and variance of each channel of a sharded data set, on the workers of Dask or of Ray.

    pip install '.[cluster]'
    python examples/sharded_moments.py dask [SHARD.npy ...]
    python examples/sharded_moments.py ray [SHARD.npy ...]

Each task reads one shard and returns its exact sums, some hundred bytes a channel; further tasks
add them. No bit of the result depends on the number of workers, on the order in which they finish,
or on which sums meet. The last line compares it with one process. Without SHARDs the example makes
some.
"""

from __future__ import annotations

import tempfile
from functools import reduce
from operator import add
from pathlib import Path

import click
import numpy as np

import backnorm as bn

CHANNEL_AXIS = -1


def moments_of(file: str) -> bn.Moments:
    """Return the exact sums of a shard, shape (N, ..., C)."""
    made = bn.Moments()
    made.update(np.load(file, mmap_mode="r"), channel_axis=CHANNEL_AXIS)
    return made


def sum_of(one: bn.Moments, other: bn.Moments) -> bn.Moments:
    """Return the exact sums of both."""
    return one + other


def on_dask(files: list[str]) -> bn.Moments:
    """Return those of all shards: a task for each, and sums of eight at a time."""
    import dask.bag  # noqa: PLC0415 - Ray needs none of it

    bag = dask.bag.from_sequence(files, partition_size=1).map(moments_of)
    total = bag.fold(sum_of, initial=bn.Moments(), split_every=8)
    found: bn.Moments = total.compute(scheduler="processes", num_workers=2)
    return found


def on_ray(files: list[str]) -> bn.Moments:
    """Return those of all shards: whichever two sums are there first are added."""
    import ray  # noqa: PLC0415 - Dask needs none of it

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    read, added = ray.remote(moments_of), ray.remote(sum_of)
    waiting = [read.remote(file) for file in files]
    while len(waiting) > 1:
        pair, waiting = ray.wait(waiting, num_returns=2)
        waiting.append(added.remote(*pair))
    found: bn.Moments = ray.get(waiting[0])
    ray.shutdown()
    return found


def made_in(folder: str, shards: int = 20) -> list[str]:
    """Write shards of different sizes, with means far from 0."""
    rng = np.random.default_rng(0)
    files = [str(Path(folder) / f"{number}.npy") for number in range(shards)]
    for number, file in enumerate(files):
        x = rng.normal([1.0, 1e3, 1e5], 1.0, size=(10 * number + 1, 8, 8, 3))
        np.save(file, x.astype(np.float32))
    return files


@click.command()
@click.argument("engine", type=click.Choice(["dask", "ray"]))
@click.argument("shards", nargs=-1)
def main(engine: str, shards: tuple[str, ...]) -> None:
    """Compute, and compare with one process."""
    with tempfile.TemporaryDirectory() as folder:
        files = list(shards) or made_in(folder)
        found = (on_dask if engine == "dask" else on_ray)(files)
        one = reduce(add, map(moments_of, files))
    click.echo(f"{found.n} values a channel of {len(files)} shards")
    click.echo(f"mean {found.mean}, variance {found.var}")
    click.echo(f"same bits as one process: {found.to_bytes() == one.to_bytes()}")


if __name__ == "__main__":
    main()
