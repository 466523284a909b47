"""Threads and processes around the engine: forked workers, two trainings at once, memory's end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.data import DataLoader, Dataset  # noqa: E402

from backnorm.torch import BatchNorm2d, BatchNormAct2d, batch_norm  # noqa: E402

LARGE = (8, 64, 56, 56)  # 6 MiB: outputs come from recycled memory, and two threads share the work


class Normalizing(Dataset):  # type: ignore[type-arg]
    """Samples that a worker normalizes."""

    def __len__(self) -> int:
        """As many as two workers share."""
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one, after a forward and a backward pass."""
        x = torch.full(LARGE, float(index)).add_(torch.arange(56.0)).requires_grad_()
        y = BatchNorm2d(64)(x)
        y.sum().backward()
        return y.detach()[0, 0, 0]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_that_normalizes_does_not_hang() -> None:
    """The parent's threads exist, and the workers do without them."""
    batch_norm(torch.randn(LARGE), None, None, training=True)
    loader = DataLoader(
        Normalizing(), num_workers=2, batch_size=1, timeout=300, multiprocessing_context="fork"
    )
    expected = batch_norm(torch.zeros(LARGE).add_(torch.arange(56.0)), None, None, training=True)[
        0, 0, 0
    ]
    samples = [sample[0] for sample in loader]
    assert len(samples) == 4
    assert torch.equal(samples[0], expected)


def train(seed: int, losses: list[float]) -> None:
    """Train a small model for some steps."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(
        BatchNormAct2d(16), torch.nn.Flatten(), torch.nn.Linear(16 * 28 * 28, 1)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) / 100 + 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(8):
        x = torch.randn((16, 16, 28, 28), generator=generator)
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))


def test_two_threads_train_as_each_alone() -> None:
    """Losses have the same bits."""
    alone: list[list[float]] = [[], []]
    for seed in (0, 1):
        train(seed, alone[seed])
    together: list[list[float]] = [[], []]
    threads = [threading.Thread(target=train, args=(s, together[s])) for s in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert together == alone
    assert alone[0] != alone[1]


def test_a_large_output_is_a_tensor_like_any_other() -> None:
    """It can be changed in place, seen by NumPy and DLPack, shared, and freed by another thread."""
    y = batch_norm(torch.randn(LARGE), None, None, training=True)
    copy = y.clone()
    assert torch.equal(torch.from_numpy(y.numpy()), copy)
    assert torch.equal(torch.from_dlpack(y), copy)
    assert torch.equal(y.relu_(), copy.relu_())
    assert torch.equal(y.share_memory_(), copy)
    held = [batch_norm(torch.randn(LARGE), None, None, training=True)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join(300)
    assert not held


def test_large_outputs_may_live_until_the_end_of_the_process() -> None:
    """Their memory outlives the interpreter; nothing is said about it."""
    code = (
        "import torch\n"
        "from backnorm.torch import BatchNorm2d\n"
        "x = torch.randn(8, 64, 56, 56, requires_grad=True)\n"
        "y = BatchNorm2d(64)(x)\n"
        "y.backward(torch.ones_like(y))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=600, check=True
    )
    assert done.stdout + done.stderr == b""
