"""Programs that test_processes.py runs in a process of their own: python children.py NAME."""

# ruff: noqa: T201 - a child answers on standard output
from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

import backnorm as bn
from backnorm.kernels.native_kernel import tensor_calls
from backnorm.testing.cases import make

SHAPE = (6, 9, 60, 41)
"""Enough values for every thread to get some."""

ENOUGH_STEPS = 10
"""Of another thread during a call. 1 or 2 were measured at most where calls keep the GIL, hundreds
where they let go and a processor is free."""

MOST_CALLS = 1000
"""Until one of them leaves room for the steps."""


def checksum(seed: int = 0) -> str:
    """Run forward and backward, and return a digest of all bits that came out."""
    batch = make(SHAPE, seed=seed)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta)
    g = bn.batch_norm_backward(batch.dy, fwd)
    digest = hashlib.sha256()
    for array in (fwd.y, fwd.mean, fwd.var, g.dx, g.dgamma, g.dbeta):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def fork() -> None:
    """Print two checksums: the parent's, whose threads are running, and the child's."""
    bn.set_num_threads(3)
    print(checksum(), flush=True)
    child = os.fork()
    if child == 0:
        print(checksum(), flush=True)
        print(bn.get_num_threads(), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(status, checksum() and bn.get_num_threads())


def fork_while_busy() -> None:
    """Fork while other threads are in the middle of calls; print what went wrong, which is 0."""
    bn.set_num_threads(2)
    want, stop = checksum(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            checksum()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    wrong = 0
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if checksum() == want else 1)
        wrong += os.waitpid(child, 0)[1] != 0
    stop.set()
    for worker in workers:
        worker.join()
    print(wrong)


def pool(method: str) -> None:
    """Print the checksums of three seeds, from here and from a pool of processes."""
    here = [checksum(seed) for seed in range(3)]
    with multiprocessing.get_context(method).Pool(2) as workers:
        there = workers.map(checksum, range(3))
    print(*here)
    print(*there)


def leave_daemons() -> None:
    """End the interpreter while daemon threads are in the middle of calls."""
    batch = make((8, 16, 64, 64))
    begun = threading.Barrier(4)

    def work() -> None:
        begun.wait()
        while True:
            fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta)
            bn.batch_norm_backward(batch.dy, fwd)

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    begun.wait()
    time.sleep(0.1)
    print("left", flush=True)


def libraries() -> None:
    """Print the libraries of OpenMP that are loaded after a call with several threads."""
    bn.set_num_threads(3)
    checksum()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    print(*{line.split("/")[-1] for line in maps if "omp" in line.split("/")[-1]})


def idle_spin() -> None:
    """Print how many microseconds a thread without work spins."""
    print(tensor_calls().idle_spin())


def threads() -> None:
    """Print how many threads a call may use, before anything was set."""
    print(bn.get_num_threads())


def released() -> None:
    """Print how many steps another Python thread made during one call, the call with the most.

    Threads change places only where the running one lets go of the GIL: this one in each step, the
    other within a call if anywhere. On a busy machine this thread may have to wait for a processor
    while a call is under way, so there are calls until it has made its steps during one of them.
    """
    sys.setswitchinterval(1000)
    bn.set_num_threads(1)
    x = make((64, 4, 256, 64)).x
    fwd, into = bn.batch_norm(x), bn.Gradients(dx=np.empty_like(x))
    steps, most = 0, 0

    def call() -> None:
        nonlocal most
        for _ in range(MOST_CALLS):
            before = steps
            bn.batch_norm_backward(x, fwd, into=into)
            most = max(most, steps - before)
            if most >= ENOUGH_STEPS:
                return

    worker = threading.Thread(target=call)
    worker.start()
    while worker.is_alive():
        steps += 1
        time.sleep(0)
    print(most)


def peak(layout: str) -> None:
    """Print how many bytes a forward and a backward call take at most, beyond their results."""
    shape = (32, 64, 96, 96)
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if layout == "channels last":
        x = np.moveaxis(x.reshape(32, 96, 96, 64), -1, 1)
    gamma, small = np.ones(64, np.float32), x[:4, :, :24]
    warm = bn.batch_norm(small, gamma, gamma)  # threads have their stacks then
    bn.batch_norm_backward(small, warm)
    before = _memory("VmRSS")
    fwd = bn.batch_norm(x, gamma, gamma)
    print(_memory("VmHWM") - before - fwd.y.nbytes)
    before = _memory("VmRSS")
    g = bn.batch_norm_backward(x, fwd)
    assert g.dx is not None
    print(_memory("VmHWM") - before - g.dx.nbytes)


def _memory(field: str) -> int:
    """Return what the system says of this process: VmRSS, memory in use, or VmHWM, its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    raise KeyError(field)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
