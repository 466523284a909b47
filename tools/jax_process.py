"""Time steps under JAX with one and two threads of each pool, and with memory that glibc keeps.

    python tools/jax_process.py [ROUNDS]

A step is a normalization and a relu by the engine, a matrix product by XLA, and the gradient of
both, on 25 MB of float32. Each line of the table has a process; they run in turn, while the others
sleep. XLA reads NPROC when it starts, and glibc its two variables. The table has medians of a step:
milliseconds, milliseconds of all processors, and page faults. The last two do not depend on what
other programs do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import NamedTuple

ROUNDS = 7
KEEPS = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**33))
"""With these glibc gives no memory back to the system, and takes none from it for each array."""

CHILD = """
import resource
import sys
import time

import jax
import numpy as np
from jax import numpy as jnp

import backnorm
from backnorm.jax import batch_norm

STEPS = 3
backnorm.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(32, 56, 56, 64)), jnp.float32)
w = jnp.asarray(rng.normal(size=(64, 64)) / 8, jnp.float32)
scale, bias = jnp.ones(64), jnp.zeros(64)


def loss(x, w, scale, bias):
    y = batch_norm(x, scale, bias, activation="relu").y
    return jnp.square(y.reshape(-1, 64) @ w).sum()


step = jax.jit(jax.grad(loss, (0, 1, 2, 3)))
for _ in sys.stdin:
    for _ in range(2):
        jax.block_until_ready(step(x, w, scale, bias))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        jax.block_until_ready(step(x, w, scale, bias))
    spent = [time.perf_counter() - wall, time.process_time() - cpu]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    print(*(1e3 * value / STEPS for value in spent), faults / STEPS, flush=True)
"""


class Way(NamedTuple):
    """Threads of each pool, and whether glibc keeps memory."""

    own: int
    xla: int
    keeps: bool


WAYS = [Way(own, xla, keeps=False) for own in (1, 2) for xla in (1, 2)]
WAYS += [Way(2, 2, keeps=True)]


def started(way: Way) -> subprocess.Popen[str]:
    """Start the process of a line."""
    environment = {**os.environ, "NPROC": str(way.xla), "JAX_PLATFORMS": "cpu"}
    environment |= KEEPS if way.keeps else {}
    command = [sys.executable, "-c", CHILD, str(way.own)]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def asked(child: subprocess.Popen[str]) -> list[float]:
    """Return what a step takes: milliseconds, those of all processors, page faults."""
    child.stdin.write("\n")
    child.stdin.flush()
    return [float(word) for word in child.stdout.readline().split()]


def main(rounds: int) -> None:
    """Print the table."""
    children = {way: started(way) for way in WAYS}
    samples: dict[Way, list[list[float]]] = {way: [] for way in WAYS}
    try:
        for _ in range(rounds):
            for way, child in children.items():
                samples[way].append(asked(child))
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    print("| threads of backnorm | of XLA | glibc keeps memory | ms | processor ms | faults |")
    print("|---|---|---|---|---|---|")
    for way, found in samples.items():
        wall, cpu, faults = map(median, zip(*found, strict=True))
        keeps = "yes" if way.keeps else "no"
        print(f"| {way.own} | {way.xla} | {keeps} | {wall:.0f} | {cpu:.0f} | {faults:.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
