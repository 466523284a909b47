"""Masks and residuals of ghost batch normalization and of batch renormalization."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from backnorm.errors import DtypeError, ShapeError  # noqa: E402
from backnorm.torch import (  # noqa: E402
    BatchNorm2d,
    BatchRenorm1d,
    BatchRenorm2d,
    GhostBatchNorm2d,
    batch_norm,
)
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = needs_engine

SHAPE, SIZES = (8, 3, 2, 5), (3, 3, 2)
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
SUMS = ("float64", "exact")


def batch(dtype: torch.dtype = torch.float32, *, hidden: bool = True) -> dict[str, torch.Tensor]:
    """A batch of which a mask hides what is not finite, with all of the third group."""
    rng = torch.Generator().manual_seed(0)
    x, dy, residual = torch.randn(3, *SHAPE, generator=rng, dtype=torch.float64)
    mask = torch.rand(8, 2, 5, generator=rng) < 0.6
    mask[6:] = False
    x = 3 * x + 20
    if hidden:
        for values in (x, residual):
            values.movedim(1, -1)[~mask] = float("nan")
    return {"x": x.to(dtype), "dy": dy.to(dtype), "residual": residual.to(dtype), "mask": mask}


def ready(layer: Any, dtype: torch.dtype) -> Any:
    """A layer with parameters and running statistics that are not those of a new one."""
    rng = torch.Generator().manual_seed(1)
    layer = layer.double() if dtype == torch.float64 else layer
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            tensor.copy_(torch.rand(3, generator=rng) + 0.5)
    return layer


def renorm(cls: Any, **options: Any) -> Any:
    """A layer after its warm-up, near the statistics of the batch."""
    return cls(3, rmax=1.5, dmax=0.5, warmup_steps=0, rmax_steps=0, dmax_steps=0, **options)


both = pytest.mark.parametrize(
    "make",
    [lambda: GhostBatchNorm2d(3, virtual_batch_size=3), lambda: renorm(BatchRenorm2d)],
    ids=["ghost", "renorm"],
)


def called(layer: Any, b: dict[str, torch.Tensor], **extras: Any) -> list[torch.Tensor]:
    """Return y, the gradients, and the state after a pass."""
    x = b["x"].clone().requires_grad_()
    y = layer(x, **extras)
    y.backward(b["dy"])
    gradients = [x.grad, layer.weight.grad, layer.bias.grad]
    return [y.detach(), *gradients, *layer.buffers()]  # type: ignore[list-item] # not None


def gathered(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return what counts, shape (count, C)."""
    return values.movedim(1, -1)[mask]


def assert_same(got: torch.Tensor, want: torch.Tensor, mask: torch.Tensor) -> None:
    """Raise unless bits are those of the gathered values, between zeros."""
    assert torch.equal(gathered(got, mask), want)
    assert not gathered(got, ~mask).any()


@pytest.mark.parametrize("sums", SUMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_renorm_has_the_bits_of_the_gathered_values(dtype: torch.dtype, sums: Any) -> None:
    """y, dx, gradients of parameters and running statistics."""
    b = batch(dtype)
    mask = b["mask"]
    got = called(ready(renorm(BatchRenorm2d, sums=sums), dtype), b, mask=mask)
    alone = {name: gathered(value, mask) for name, value in b.items() if name != "mask"}
    want = called(ready(renorm(BatchRenorm1d, sums=sums), dtype), alone)
    for k in range(2):
        assert_same(got[k], want[k], mask)
    for a, c in zip(got[2:], want[2:], strict=True):
        assert torch.equal(a, c)


@pytest.mark.parametrize("sums", SUMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ghost_has_the_bits_of_each_group_gathered(dtype: torch.dtype, sums: Any) -> None:
    """y and dx; a group in which nothing counts is 0."""
    b = batch(dtype)
    layer = ready(GhostBatchNorm2d(3, virtual_batch_size=3, sums=sums), dtype)
    y, dx, *_ = called(layer, b, mask=b["mask"])
    for x, dy, mask, *got in zip(
        *(value.split(SIZES) for value in (b["x"], b["dy"], b["mask"], y, dx)), strict=True
    ):
        alone = gathered(x, mask).requires_grad_()
        if len(alone) == 0:
            assert not any(value.any() for value in got)
            continue
        options = {"training": True, "sums": sums}
        want = batch_norm(alone, None, None, layer.weight, layer.bias, **options)  # type: ignore[arg-type]
        want.backward(gathered(dy, mask))
        assert_same(got[0], want.detach(), mask)
        assert alone.grad is not None
        assert_same(got[1], alone.grad, mask)


@pytest.mark.parametrize("variance", ["total", "within"])
def test_running_statistics_of_ghost_are_those_of_what_counts(variance: Any) -> None:
    """By fractions; the group in which nothing counts has no part."""
    b = batch()
    layer = GhostBatchNorm2d(3, momentum=1.0, virtual_batch_size=3, variance=variance)
    layer(b["x"], mask=b["mask"])
    for c in range(3):
        groups = [
            [Fraction(v) for v in x[:, c][mask].tolist()]
            for x, mask in zip(b["x"].split(SIZES), b["mask"].split(SIZES), strict=True)
        ]
        values = [v for group in groups for v in group]
        mean = sum(values) / len(values)
        centers = [sum(group) / len(group) if group else 0 for group in groups]
        around = [mean] * 3 if variance == "total" else centers
        squares = sum((v - m) ** 2 for g, m in zip(groups, around, strict=True) for v in g)
        filled = 1 if variance == "total" else sum(map(bool, groups))
        assert layer.running_mean[c].item() == pytest.approx(float(mean), rel=1e-6)
        true = float(squares / (len(values) - filled))
        assert layer.running_var[c].item() == pytest.approx(true, rel=1e-6)


@both
def test_a_mask_that_hides_nothing_changes_nothing(make: Any) -> None:
    """y and running statistics are those of a call without it, up to rounding of another layout."""
    b = batch(torch.float64, hidden=False)
    everything = torch.ones_like(b["mask"])
    masked = called(ready(make(), torch.float64), b, mask=everything)
    plain = called(ready(make(), torch.float64), b)
    torch.testing.assert_close(masked, plain)


@both
def test_nothing_counts(make: Any) -> None:
    """y and the gradients are 0, and running statistics stay; the batch is counted."""
    b = batch()
    layer = ready(make(), torch.float32)
    before = copy.deepcopy(layer.state_dict())
    y, *gradients = called(layer, b, mask=torch.zeros_like(b["mask"]))[:4]
    assert not any(value.any() for value in (y, *gradients))
    after = layer.state_dict()
    assert after.pop("num_batches_tracked") == before.pop("num_batches_tracked") + 1
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@both
def test_a_residual_is_added(make: Any, *, masked: bool) -> None:
    """To what counts; its gradient is that of y."""
    b = batch(torch.float64, hidden=False)
    mask = b["mask"] if masked else None
    plain = ready(make(), torch.float64)(b["x"], mask=mask)
    residual = b["residual"].requires_grad_()
    y = ready(make(), torch.float64)(b["x"], residual, mask)
    counts = torch.ones_like(b["mask"]) if mask is None else mask
    shown = counts.unsqueeze(1).double()
    torch.testing.assert_close(y, plain + residual * shown)
    y.backward(b["dy"])
    assert residual.grad is not None
    torch.testing.assert_close(residual.grad, b["dy"] * shown)


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("kind", ["ghost", "renorm"])
def test_derivatives_by_differences(kind: str, *, second: bool) -> None:
    """Of x, residual, weight and bias; r and d of renormalization are clipped, so constant."""
    b = batch(torch.float64, hidden=False)
    layer: Any = GhostBatchNorm2d(3, virtual_batch_size=3)
    if kind == "renorm":
        layer = renorm(BatchRenorm2d)
    layer = ready(layer, torch.float64)
    layer.track_running_stats = False
    with torch.no_grad():  # far from the batch
        layer.running_mean.fill_(-100.0)
        layer.running_var.fill_(1e4)

    def call(x: torch.Tensor, residual: torch.Tensor, *parameters: torch.Tensor) -> Any:
        own = dict(zip(("weight", "bias"), parameters, strict=True))
        return torch.func.functional_call(layer, own, (x, residual, b["mask"]))

    given = [b["x"], b["residual"], layer.weight, layer.bias]
    given = [value.detach().clone().requires_grad_() for value in given]
    assert (gradgradcheck if second else gradcheck)(call, given, fast_mode=True)


@both
def test_evaluation_takes_them_too(make: Any) -> None:
    """As batch normalization does."""
    b = batch()
    layer, plain = ready(make(), torch.float32).eval(), ready(BatchNorm2d(3), torch.float32).eval()
    arguments = (b["x"], b["residual"], b["mask"])
    assert torch.equal(layer(*arguments), plain(*arguments))


@both
def test_a_compiled_layer_has_the_same_bits(make: Any) -> None:
    """As one graph."""
    torch.compiler.reset()
    b = batch()
    plain, layer = (ready(make(), torch.float32) for _ in range(2))
    compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
    extras = (b["residual"], b["mask"])
    assert torch.equal(compiled(b["x"], *extras), plain(b["x"], *extras))
    assert torch.equal(layer.running_var, plain.running_var)


@both
def test_refusals(make: Any) -> None:
    """Weights, and other shapes."""
    b = batch()
    layer = make()
    with pytest.raises(DtypeError, match="mask must have dtype bool"):
        layer(b["x"], mask=b["mask"].float())
    with pytest.raises(ShapeError, match="mask must have shape"):
        layer(b["x"], mask=b["mask"][:, :1])
    with pytest.raises(ShapeError, match="residual must have the shape of input"):
        layer(b["x"], b["residual"][:, :1])
