"""Programs that test_threads.py runs in a process of their own: python children.py NAME."""

# ruff: noqa: T201 - a child answers on standard output
from __future__ import annotations

import sys
import time

import torch

import backnorm as bn
from backnorm.kernels.native_kernel import tensor_calls
from backnorm.torch import batch_norm


def step() -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and dx of one batch, which two threads share."""
    x = torch.linspace(-1, 3, 32 * 64 * 28 * 28).sin_().view(32, 64, 28, 28).requires_grad_()
    y = batch_norm(x, None, None, training=True)
    y.backward(torch.cos(x).detach())
    assert x.grad is not None
    return y.detach(), x.grad


def rest() -> None:
    """Print whether threads of OpenMP are known to sleep, first and after a rest; compare bits."""
    torch.set_num_threads(2)
    print(not tensor_calls().openmp_is_awake())
    first = step()
    time.sleep(2)
    print(not tensor_calls().openmp_is_awake())
    after = step()
    print(all(torch.equal(a, b) for a, b in zip(first, after, strict=True)))


def limit() -> None:
    """Print how many threads NumPy's arrays get, when PyTorch's number is set, and ours."""
    torch.set_num_threads(1)
    print(bn.get_num_threads())
    bn.set_num_threads(3)
    print(bn.get_num_threads())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
