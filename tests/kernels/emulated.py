"""A plugin of pytest: the kernels of another processor beside those of this one.

`make aarch64` builds program.cpp for it, and names in BACKNORM_EMULATED the command that runs the
program. Tests that go over all kernels then go over its kernel, "native-emulated", too.
"""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm import kernels
from backnorm.kernels import native_kernel
from backnorm.kernels._contract import Kernel
from backnorm.kernels._higher_order import second, tangent
from backnorm.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    import pytest

    from backnorm._types import AnyArray
    from backnorm.kernels._contract import BackwardCall, ForwardCall

LEVEL = "emulated"
PAGE = 4096
ABSENT = (-1, 0, 0, 0, 0)
DTYPES = {"f": 0, "d": 1, "e": 3}
BFLOAT16 = 2


def pytest_configure(config: pytest.Config) -> None:
    """Put the kernel behind those of this processor."""
    del config
    process = Process(shlex.split(os.environ["BACKNORM_EMULATED"]))
    own, own_levels = native_kernel.at_level, native_kernel.levels()
    emulated = Kernel("native", LEVEL, process.forward, process.backward, tangent, second)
    native_kernel.levels = lambda: (*own_levels, LEVEL)
    native_kernel.at_level = lambda level: emulated if level == LEVEL else own(level)
    kernels.available.cache_clear()
    kernels.get.cache_clear()


class Process:
    """The program, which answers one call after the other."""

    def __init__(self, command: list[str]) -> None:
        """Start it, and read the names of its levels."""
        self._lock = threading.Lock()  # for tests that call from several threads
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        assert self._process.stdout.readline().split() == [b"baseline"]

    def forward(self, call: ForwardCall) -> None:
        """Send a call; write y, and the statistics unless they are frozen."""
        operands = [call.x, call.y, call.residual, None, None]
        outputs = [call.y, None if call.frozen else call.statistics]
        self._ask(call, operands, (0, 0, 0, 0), [call.gamma, call.beta, call.statistics], outputs)

    def backward(self, call: BackwardCall) -> None:
        """Send a call; write dx, dresidual and the sums."""
        operands = [call.dy, call.x, call.y, call.dx, call.dresidual]
        flags = call.through_mean, call.through_variance, call.add_dx, call.add_dresidual
        numbers = [call.gamma, None, call.statistics]
        self._ask(call, operands, flags, numbers, [call.dx, call.dresidual, call.sums])

    def _ask(
        self,
        call: Any,
        operands: list[AnyArray | None],
        flags: tuple[int, ...],
        numbers: list[AnyArray | None],
        outputs: list[AnyArray | None],
    ) -> None:
        backward = len(outputs) == 3
        code = DTYPES.get(call.x.dtype.char, BFLOAT16)
        head = [backward, 0, code, *call.x.shape, native_kernel.thread_count(), call.law == "exact"]
        head += [ACTIVATIONS[call.activation].code, call.frozen, *flags]
        head += [numbers[0] is not None, numbers[1] is not None]
        eps = 0.0 if backward else call.eps
        spans = [None if a is None else Span(a) for a in operands]
        places = [number for span in spans for number in (span.place if span else ABSENT)]
        message = struct.pack("<16q2d25q", *map(int, head), eps, call.negative_slope, *places)
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe
        assert answers
        parts = [span.memory.tobytes() for span in spans if span]
        parts += [a.tobytes() for a in numbers if a is not None]
        with self._lock:
            pipe.write(b"".join([message, *parts]))
            pipe.flush()
            for output in [a for a in outputs if a is not None]:
                memory = Span(output).memory if output.ndim > 2 else output
                answer = answers.read(memory.nbytes)
                assert len(answer) == memory.nbytes, self._process.poll()
                memory[...] = np.frombuffer(answer, memory.dtype).reshape(memory.shape)
            if not backward and call.frozen:
                answers.read(call.statistics.nbytes)


class Span:
    """The memory from the first to the last value of an operand, and where it lies in it."""

    def __init__(self, array: AnyArray) -> None:
        """Look at an array; negative strides begin at the end."""
        forwards = array[tuple(slice(None, None, -1 if s < 0 else 1) for s in array.strides)]
        size = array.itemsize
        extents = [(n - 1) * s for n, s in zip(forwards.shape, forwards.strides, strict=True)]
        count = (sum(extents) // size + 1) if array.size else 0
        self.memory = np.lib.stride_tricks.as_strided(forwards, (count,), (size,))
        start = forwards.ctypes.data
        first = array.ctypes.data - start if array.size else 0
        strides = [stride // size for stride in array.strides[:2]]
        self.place = (self.memory.nbytes, *strides, first, start % PAGE)
