"""Far from mean 0: what is left of the digits, beside PyTorch's own layer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn import functional  # noqa: E402

from backnorm.torch import batch_norm  # noqa: E402

SHAPE = (
    32,
    64,
    112,
    112,
)  # where PyTorch's sums over channels last were measured, in docs/pytorch.md


def error(y: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest error, where values are about 1."""
    return float((y.double() - exact).abs().max())


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_channels_last_keeps_its_digits_at_an_offset(
    offset: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """At an offset of 1000 the error is 1e-6 at most; at both, a thousandth of PyTorch's own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=generator) + offset
    x = x.contiguous(memory_format=torch.channels_last)
    some = x[:, :2].double()
    mean = some.mean((0, 2, 3), keepdim=True)
    exact = (some - mean) / (((some - mean) ** 2).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    ours = error(batch_norm(x, None, None, training=True)[:, :2], exact)
    stock = error(functional.batch_norm(x, None, None, training=True)[:, :2], exact)
    with capsys.disabled():
        print(f"\noffset {offset:g}: {ours:.1e}, PyTorch's own {stock:.1e}")  # noqa: T201 - a measurement
    if offset == 1e3:
        assert ours <= 1e-6
    assert ours <= stock / 1000
