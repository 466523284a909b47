"""Masks in a graph that inductor has compiled: the bits of a plain call."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm import torch as bt  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = 3


class Masked(torch.nn.Module):
    """Layers with a mask, one after the other; nothing between them that inductor computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(
            [
                bt.BatchNormAct2d(CHANNELS, activation="leaky_relu"),
                bt.GhostBatchNorm2d(CHANNELS, virtual_batch_size=2),
                bt.BatchRenorm2d(CHANNELS, warmup_steps=0, rmax_steps=0, dmax_steps=0),
                bt.SyncBatchNorm(CHANNELS, synchronize="step"),
            ]
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return y; the last call has weights."""
        for layer in self.layers:
            x = layer(x, mask=mask)
        return bt.batch_norm(x, None, None, training=True, mask=weights)


def results(call: Any, model: Masked, seed: int) -> list[torch.Tensor]:
    """Return y, all gradients and the state of a training pass."""
    rng = torch.Generator().manual_seed(seed)
    x, dy = torch.randn(2, 6, CHANNELS, 4, 5, generator=rng).unbind()
    mask = torch.rand(6, 4, 5, generator=rng) < 0.6
    weights = torch.where(mask, torch.rand(6, 4, 5, generator=rng) + 0.1, 0.0)
    x.movedim(1, -1)[~mask] = float("inf")
    x.requires_grad_()
    weights.requires_grad_()
    y = call(x, mask, weights)
    given = [x, weights, *model.parameters()]
    gradients = torch.autograd.grad(y, given, dy)
    bt.merge_statistics(model)
    return [y.detach(), *gradients, *(value.clone() for value in model.buffers())]


@needs_engine
@pytest.mark.thorough  # 20 s; test_masks.py and test_masked_layers.py have graphs of other backends
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # of inductor
def test_bits_are_those_of_a_plain_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, gradients, of the weights of positions too, and running statistics."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    model, plain = Masked(), Masked()
    with torch._inductor.config.patch(compile_threads=1):
        compiled = torch.compile(model, fullgraph=True)
        for seed in range(2):
            pairs = zip(results(compiled, model, seed), results(plain, plain, seed), strict=True)
            for got, want in pairs:
                assert torch.equal(got, want)
