"""The strides of y and of the gradients are PyTorch's, whatever those of the inputs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn import functional  # noqa: E402

from backnorm.testing.cases import ACTIVATIONS, DTYPES, MODES  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from backnorm.torch.engine.schema import BACKWARD, FORWARD  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    VIEWS,
    assert_like,
    drawn,
    leaves,
    needs_engine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Shape

pytestmark = needs_engine

LAST, LAST_3D = torch.channels_last, torch.channels_last_3d

LAID_OUT: dict[str, Callable[[], torch.Tensor]] = {
    "rows, transposed": lambda: torch.randn(4, 6).t(),
    "rows, every other": lambda: torch.randn(6, 8)[:, ::2],
    "sequences of vectors": lambda: torch.randn(2, 6, 4).transpose(1, 2),
    "images, height and width swapped": lambda: torch.randn(2, 4, 5, 3).transpose(2, 3),
    "channels last": lambda: torch.randn(2, 4, 5, 3).contiguous(memory_format=LAST),
    "channels last, swapped": lambda: (
        torch.randn(2, 4, 5, 3).contiguous(memory_format=LAST).transpose(2, 3)
    ),
    "channels last, every other row": lambda: torch.randn(2, 4, 10, 3).contiguous(
        memory_format=LAST
    )[:, :, ::2],
    "channels last, some channels": lambda: torch.randn(2, 8, 5, 3).contiguous(memory_format=LAST)[
        :, 2:6
    ],
    "every other row": lambda: torch.randn(2, 4, 10, 3)[:, :, ::2],
    "channels before samples": lambda: torch.randn(4, 2, 5, 3).transpose(0, 1),
    "one sample for all": lambda: torch.randn(1, 4, 5, 3).expand(3, 4, 5, 3),
    "one channel for all": lambda: torch.randn(2, 1, 5, 3).expand(2, 4, 5, 3),
    "one value for each plane": lambda: torch.randn(2, 4, 1, 1).expand(2, 4, 5, 3),
    "one channel": lambda: torch.randn(2, 1, 5, 3),
    "one position": lambda: torch.randn(6, 4, 1, 1),
    "sequences as images": lambda: torch.randn(2, 6, 4).transpose(1, 2).unsqueeze(-1),
    "vectors as images": lambda: torch.randn(4, 6).t()[:, :, None, None],
    "volumes, channels last": lambda: torch.randn(2, 4, 3, 2, 5).contiguous(memory_format=LAST_3D),
    "volumes, any order": lambda: torch.randn(5, 3, 4, 6, 2).permute(4, 1, 3, 2, 0),
}

by_layout = pytest.mark.parametrize("layout", LAID_OUT)
by_mode = pytest.mark.parametrize("mode", MODES)


def running(x: torch.Tensor, mode: str) -> dict[str, Any]:
    """Return the arguments of one of MODES, in the dtype of x."""
    c = x.shape[1]
    values = {"running_mean": torch.zeros(c, dtype=x.dtype), "running_var": torch.ones(c)}
    return {name: v.to(x.dtype) for name, v in values.items()} | {"training": mode == "batch"}


def placed(x: torch.Tensor) -> torch.Tensor:
    """Return a leaf in the same memory."""
    return x.detach().requires_grad_()


def assert_same_strides(x: torch.Tensor, dy: torch.Tensor, mode: str) -> None:
    """Compare y and dx with those of PyTorch's function, strides and values."""
    ours, theirs, exact = placed(x), placed(x), placed(x.double().contiguous())
    options = running(x, mode)
    y = batch_norm(ours, **options)
    want = functional.batch_norm(theirs, **options)
    assert y.stride() == want.stride()
    (dx,) = torch.autograd.grad(y, ours, dy)
    (theirs_dx,) = torch.autograd.grad(want, theirs, dy)
    assert dx.stride() == theirs_dx.stride()
    # The values are those of contiguous tensors: PyTorch's own are wrong for some strides of x, dy.
    options = running(exact, mode)
    exact_y = functional.batch_norm(exact, **options)
    (exact_dx,) = torch.autograd.grad(exact_y, exact, dy.double().contiguous())
    if x.dtype == torch.float32:
        assert_like(y + 1, exact_y.float() + 1)  # y of equal values is 0 up to rounding
        assert_like(dx + dy, exact_dx.float() + dy)  # the parts of dx may cancel


@by_layout
@by_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_of_a_gradient_in_any_layout(layout: str, mode: str, dtype: str) -> None:
    """dy contiguous, like y, like x, of a sum, and with its axes in reverse order."""
    torch.manual_seed(0)
    x = LAID_OUT[layout]().to(getattr(torch, dtype))
    options = running(x, mode)
    y = functional.batch_norm(x, **options)
    reverse = tuple(range(x.dim()))[::-1]
    for dy in (
        torch.randn(x.shape).to(x.dtype),
        torch.randn_like(y),
        torch.randn_like(x),
        torch.ones((), dtype=x.dtype).expand(x.shape),
        torch.randn(x.shape[::-1]).to(x.dtype).permute(reverse),
    ):
        assert_same_strides(x, dy, mode)


def view_of(draw: random.Random) -> torch.Tensor:
    """Draw a tensor with axes of 1 to 4 in any order, with gaps, expanded, or of odd strides."""
    axes = draw.choice([2, 3, 4, 4, 4, 5, 5])
    shape = [draw.choice([1, 2, 3, 4]) for _ in range(axes)]
    shape[0] = max(shape[0], 2)
    order = draw.sample(range(axes), axes)
    steps = [draw.choice([1, 1, 1, 2]) for _ in range(axes)]
    whole = torch.randn([shape[axis] * steps[axis] for axis in order])
    x = whole.permute([order.index(axis) for axis in range(axes)])
    x = x[tuple(slice(None, None, step) for step in steps)]
    if draw.random() < 0.3:
        x = x.narrow(draw.randrange(axes), 0, 1).expand(shape)
    if draw.random() < 0.3:
        odd = [draw.choice([0, 1, 2, 7, stride]) for stride in x.stride()]
        lengths = zip(shape, odd, x.stride(), strict=True)
        x = x.as_strided(shape, [o if length == 1 else s for length, o, s in lengths])
    return x


@pytest.mark.parametrize("seed", range(8))
def test_of_any_strides(seed: int) -> None:
    """A hundred tensors with each seed; odd strides are those of axes of length 1."""
    torch.manual_seed(seed)
    draw = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(100):
        x = view_of(draw)
        reverse = tuple(range(x.dim()))[::-1]
        for dy in (torch.randn(x.shape), torch.randn(x.shape[::-1]).permute(reverse)):
            assert_same_strides(x, dy, draw.choice(MODES))


@pytest.mark.parametrize("seed", range(4))
def test_of_tensors_without_memory(seed: int) -> None:
    """What a compiler is told of any strides is what it gets, y and all gradients."""
    torch.manual_seed(seed)
    draw = random.Random(seed)  # noqa: S311 - no secret
    options = (True, 1e-5, "relu", 0.1, "both", "float64")
    for _ in range(30):
        x = view_of(draw)
        reverse = tuple(range(x.dim()))[::-1]
        dy = torch.randn(x.shape[::-1]).permute(reverse)
        weight = torch.ones(x.shape[1])
        forward = (x, weight, weight, None, None, dy, *options)
        y, statistics = FORWARD(*forward)
        backward = (dy, x, y, weight, weight, statistics, *options, [True] * 4)
        for operator, arguments in ((FORWARD, forward), (BACKWARD, backward)):
            real = operator(*arguments)
            with torch._subclasses.FakeTensorMode() as mode:
                fake = operator(
                    *(mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments)
                )
            assert [t.stride() for t in fake] == [t.stride() for t in real]


@by_mode
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("of_residual", VIEWS)
@pytest.mark.parametrize("layout", VIEWS)
def test_with_a_residual(layout: str, of_residual: str, activation: str, mode: str) -> None:
    """The residual has no say in it."""
    shape = (3, 4, 5, 2)
    x, residual = drawn(shape, layout=layout).x, drawn(shape, layout=of_residual).residual
    options = running(x, mode)
    (ours, added) = leaves(x, residual)
    y = batch_norm(ours, activation=activation, residual=added, **options)
    assert y.stride() == functional.batch_norm(x, **options).stride()
    for gradient in torch.autograd.grad(y.sum(), (ours, added)):
        assert gradient.stride() == y.stride()


LARGE: dict[str, Shape] = {"NLC": (8, 400, 600), "NWHC": (2, 80, 90, 100)}


@pytest.mark.parametrize("order", LARGE)
def test_of_outputs_in_recycled_memory(order: str) -> None:
    """From 4 MiB on results lie elsewhere, in the same format; and the bits do not depend on it."""
    x = torch.randn(LARGE[order]).movedim(-1, 1)
    for dy in (torch.randn(x.shape), torch.randn_like(x)):
        assert_same_strides(x, dy, "batch")


def test_y_can_be_viewed() -> None:
    """Code that flattens a layer's output by view."""
    x = torch.randn(2, 6, 4).transpose(1, 2)
    assert batch_norm(x, None, None, training=True).view(2, -1).shape == (2, 24)
