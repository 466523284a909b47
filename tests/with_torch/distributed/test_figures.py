"""The figures of three faults of other packages, each beside the truth and the engine.

The variance of values whose standard deviation is 1: -8 by detectron2, 13.5 by a masked norm that
many projects copy, and 0.99 for 4.10 by PyTorch's update_bn.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.optim import swa_utils  # noqa: E402

from backnorm.torch import batch_norm, update_bn  # noqa: E402
from with_torch.distributed import test_what_others_do as others  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = needs_engine
PRECISION = 1e-6


def drawn(seed: int, *shape: int) -> torch.Tensor:
    """Values around 0 with a standard deviation of 1."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def truth(x: torch.Tensor, ddof: int = 0) -> float:
    """Variance by fractions."""
    values = [Fraction(value) for value in x.flatten().tolist()]
    mean = sum(values) / len(values)
    return float(sum((value - mean) ** 2 for value in values) / (len(values) - ddof))


def unbiased_by_engine(x: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """The running variance after one batch with momentum 1."""
    mean, var = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    batch_norm(x.double(), mean, var, training=True, momentum=1.0, mask=mask)
    single = torch.ones(1)
    batch_norm(x, torch.zeros(1), single, training=True, momentum=1.0, mask=mask)
    assert single.item() == pytest.approx(var.item(), rel=PRECISION)
    return var.item()


def test_minus_eight_for_one() -> None:
    """E[x^2] - E[x]^2 in float32 of two ranks, at a mean of 1e4 standard deviations."""
    x = drawn(2, 1000, 1) + 1e4
    first, second = x.chunk(2)
    assert others.by_squares((first, second)) == -8.0
    assert truth(x) == pytest.approx(0.96, abs=0.005)
    assert unbiased_by_engine(x) == pytest.approx(truth(x, 1), rel=PRECISION)


def test_thirteen_and_a_half_for_one() -> None:
    """Padding of 0 counts in the sum of squared deviations, and not in what it is divided by."""
    mask = torch.arange(3000) % 3 != 2
    x = torch.where(mask, drawn(21, 3000) + 5.0, 0.0)
    count = mask.sum()
    mean = x.sum() / count
    copied = ((x - mean) ** 2).sum() / count
    assert copied.item() == pytest.approx(13.5, abs=0.02)
    assert truth(x[mask]) == pytest.approx(0.99, abs=0.005)
    found = unbiased_by_engine(x[None, None], mask[None])
    assert found == pytest.approx(truth(x[mask], 1), rel=PRECISION)


def test_a_variance_within_classes_for_that_of_all() -> None:
    """A loader that is sorted by class, two classes 3.5 apart: update_bn averages 0.99 for 4.10."""
    classes = drawn(116, 2, 512, 1)
    classes[1] += 3.5
    loader = [batch for of_class in classes for batch in of_class.split(256)]
    stock, own = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    swa_utils.update_bn(loader, stock)
    update_bn(loader, own)
    true = truth(classes, 1)
    assert round(stock.running_var.item(), 2) == 0.99
    assert round(true, 2) == 4.10
    assert own.running_var.item() == pytest.approx(true, rel=PRECISION)
