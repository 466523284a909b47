"""Targets for another interpreter: they need NumPy, and no backnorm."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

NOT_A_LAYER = 3


class Right:
    """Batch normalization of (N, C) with its whole gradient."""

    sample_shape = (3,)

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize."""
        inv_std = 1 / np.sqrt(x.var(0) + 1e-5)
        x_hat = (x - x.mean(0)) * inv_std
        return gamma * x_hat + beta, (x_hat, gamma * inv_std)

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Go through both statistics."""
        x_hat, slope = cache
        dx = slope * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class Alone(Right):
    """Raises where backnorm is loaded."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Look around, then normalize."""
        assert "backnorm" not in sys.modules
        return Right.forward(x, gamma, beta)


class Cut(Right):
    """The same without the path through the mean."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Leave the mean out."""
        x_hat, slope = cache
        dx = slope * (dy - x_hat * (dy * x_hat).mean(0))
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class Loud(Right):
    """Prints 100 megabytes that look like answers."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Shout once, then normalize."""
        if not hasattr(Loud, "shouted"):
            Loud.shouted = True  # type: ignore[attr-defined]
            assert sys.stdin.read() == ""
            for _ in range(100):
                os.write(1, b"\0\0\0\0\0\0\0\2{}" * 100_000)
        return Right.forward(x, gamma, beta)


class Crashes(Right):
    """Reads where nothing may be read."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Say something, then crash."""
        os.write(2, b"goodbye")
        return ctypes.string_at(0)


class Exits(Right):
    """Ends its process behind Python's back."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Leave."""
        os._exit(7)


class Hangs(Right):
    """Starts a process of its own, says which, and sleeps for ever."""

    @staticmethod
    def backward(*_: Any) -> Any:
        """Sleep."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["BACKNORM_TEST_PIDS"]).write_text(f"{os.getpid()} {child.pid}")
        while True:
            time.sleep(1)


class WrongY(Right):
    """Gives y without its last sample."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Forget a sample."""
        y, cache = Right.forward(x, gamma, beta)
        return y[:-1], cache


class WrongDx(Right):
    """Gives dx summed over the batch."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Sum too much."""
        dx, dgamma, dbeta = Right.backward(dy, cache)
        return dx.sum(0), dgamma, dbeta


class NoArray(Right):
    """Gives dx as a list."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Forget that it is an array."""
        dx, dgamma, dbeta = Right.backward(dy, cache)
        return set(dx[0]), dgamma, dbeta


class NoTuple(Right):
    """Gives y and the cache with something more."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Give too much."""
        return (*Right.forward(x, gamma, beta), x)


class Nothing(Right):
    """Forgets to return the gradients."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Compute for nothing."""
        Right.backward(dy, cache)


class Forward:
    """Has no backward pass."""

    forward = staticmethod(Right.forward)


class Raises(Right):
    """Raises an error of its own."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Raise."""
        message = "no such thing"
        raise ArithmeticError(message)


class Traces(Right):
    """Raises an error whose text begins with a traceback, as those of MXNet."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Raise."""
        message = 'Traceback (most recent call last):\n  File "a.cc", line 1\nKeyError: no operator'
        raise LookupError(message)


class OnceOnly:
    """A box whose gradient is not to be differentiated."""

    forward = staticmethod(lambda x, gamma, beta: Right.forward(x, gamma, beta)[0])

    @staticmethod
    def run(x: Any, gamma: Any, beta: Any, dy: Any) -> Any:
        """Return y and the gradients."""
        y, cache = Right.forward(x, gamma, beta)
        dx, dgamma, dbeta = Right.backward(dy, cache)
        return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    @staticmethod
    def higher(x: Any, gamma: Any, beta: Any, dy: Any, along: Any) -> Any:
        """Refuse."""
        message = f"{len(along)} beyond the first"
        raise NotImplementedError(message)


class Subject:
    """A subject in the making: only what has no default."""

    box = OnceOnly
    sample_shape = (3,)
    name = "once only"


class Scribbles(Right):
    """Writes to every open file, the pipe of the answers among them."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Scribble."""
        for number in range(3, 20):
            with contextlib.suppress(OSError):
                os.write(number, b"\0\0\0\0\0\0\0\6scribe")
        return Right.forward(x, gamma, beta)
