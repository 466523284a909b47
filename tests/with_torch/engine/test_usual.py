"""Layers whose calls run in C++ alone: which these are, and that others go through Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils import parametrize  # noqa: E402

from backnorm.testing.cases import MODES  # noqa: E402
from backnorm.torch import BatchNorm1d, BatchNorm2d  # noqa: E402
from backnorm.torch.engine import usual  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    MEMORY,
    assert_like,
    drawn,
    leaves,
    needs_engine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_engine

SHAPE = (4, 3, 5, 6)


class Constant(BatchNorm2d):
    """A layer with another law of its class."""

    through = "none"


def layer(shape: tuple[int, ...] = SHAPE, **arguments: Any) -> BatchNorm2d:
    """A layer for x of this shape, in float32 and with parameters of its own."""
    made = BatchNorm2d(shape[1], **arguments)
    with torch.no_grad():
        made.weight.uniform_(0.5, 1.5)
        made.bias.uniform_(-1, 1)
    return made


def inputs(**draw: Any) -> torch.Tensor:
    """An input of a layer."""
    return drawn(SHAPE, "float32", **draw).x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["contiguous", "channels last"])
def test_a_usual_call_is_the_call_through_python(
    mode: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every bit: y, the gradients, the running statistics and the count."""
    results = []
    for function in (usual.layer, lambda *_: None):
        torch.manual_seed(0)
        own = layer().train(mode == "batch")
        (x,) = leaves(inputs().contiguous(memory_format=MEMORY[name][1]))
        with monkeypatch.context() as patch:
            calls: list[Any] = []
            patch.setattr(usual, "layer", lambda *a, f=function, c=calls: c.append(f(*a)) or c[-1])
            y = own(x)
        assert (calls[0] is None) == (function is not usual.layer)
        y.backward(torch.ones_like(y))
        assert x.grad is not None
        state = (own.running_mean, own.running_var, own.num_batches_tracked)
        results.append((y, x.grad, own.weight.grad, own.bias.grad, *state))
        assert y.grad_fn is not None
        assert y.grad_fn.name() == "_OutOfPlaceBackward"
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_each_call_counts_once() -> None:
    """Whether it is usual or not; and a call that PyTorch refuses counts as PyTorch counts it."""
    own, stock = layer(), torch.nn.BatchNorm2d(3)
    for x in (inputs(), inputs().double(), inputs()[..., ::2]):
        own(x.float())
        stock(x.float())
    for each in (own, stock):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            each(torch.ones(1, 3, 1, 1))
    assert int(own.num_batches_tracked) == int(stock.num_batches_tracked) == 4


def test_a_counter_of_another_dtype_is_counted() -> None:
    """A cast of a model to float32 leaves integers, but one may be replaced."""
    own = layer()
    own.num_batches_tracked = torch.tensor(2, dtype=torch.int32)
    own(inputs())
    assert own.num_batches_tracked.equal(torch.tensor(3, dtype=torch.int32))


def test_a_wrong_shape_is_refused_before_anything_is_counted() -> None:
    """With PyTorch's message."""
    own = layer()
    with pytest.raises(ValueError, match=r"^expected 4D input"):
        own(torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"^expected 2D or 3D input"):
        BatchNorm1d(3)(inputs())
    assert int(own.num_batches_tracked) == 0


def negated(x: torch.Tensor) -> torch.Tensor:
    """A tensor whose memory holds -x."""
    return torch._neg_view(x)


def wrapped(x: torch.Tensor) -> torch.Tensor:
    """A wrapper of PyTorch's, whose own memory is nothing."""
    made: torch.Tensor = torch._to_functional_tensor(x)
    return made


UNUSUAL_INPUTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "negated": negated,
    "zeros without memory": lambda x: torch._efficientzerotensor(x.shape),
    "wrapped": wrapped,
    "lazy copy": torch._lazy_clone,
    "on no device": lambda x: x.to("meta"),
    "sparse": lambda x: x.to_sparse(),
    "of a subclass": lambda x: x.as_subclass(type("Own", (torch.Tensor,), {})),
    "integers": lambda x: x.int(),
    "no tensor": lambda x: x.tolist(),
}


@pytest.mark.parametrize("name", UNUSUAL_INPUTS)
def test_what_is_not_plain_memory_is_unusual(name: str) -> None:
    """Nothing was counted before that was found out."""
    own = layer()
    assert usual.layer(own, UNUSUAL_INPUTS[name](inputs().clone())) is None
    assert int(own.num_batches_tracked) == 0


UNUSUAL_LAYERS: dict[str, Callable[[], Any]] = {
    "an average of all batches": lambda: layer(momentum=None),
    "exact sums": lambda: layer(sums="exact"),
    "another gradient": lambda: layer(through="mean"),
    "another gradient of the class": lambda: Constant(3),
    "no eps": lambda: layer(eps=0.0),
    "an eps that is an integer": lambda: layer(eps=1),
    "parametrized": lambda: parametrize.register_parametrization(
        layer(), "weight", torch.nn.Identity()
    ),
    "of float64": lambda: layer().double(),
}


@pytest.mark.parametrize("name", UNUSUAL_LAYERS)
def test_layers_with_other_arguments_are_unusual(name: str) -> None:
    """The call through Python knows what to do."""
    own = UNUSUAL_LAYERS[name]()
    assert usual.layer(own, inputs()) is None
    assert int(own.num_batches_tracked) == 0


def test_a_negated_gradient_is_read_as_it_is() -> None:
    """Its memory holds -dy."""
    own, given = layer(), drawn(SHAPE, "float32")
    gradients = []
    for dy in (given.dy, torch._neg_view(-given.dy)):
        (x,) = leaves(given.x)
        own(x).backward(dy)
        assert x.grad is not None
        gradients.append(x.grad)
    assert_like(*gradients)


def test_a_layer_called_in_a_mode_is_unusual() -> None:
    """Modes see each operation."""
    own = layer()
    with torch.device("cpu"):
        assert usual.layer(own, inputs()) is None
    with torch.autograd.forward_ad.dual_level():
        assert usual.layer(own, inputs()) is None
    torch.func.vmap(lambda x: torch.zeros_like(x) if usual.layer(own, x) is None else x)(
        torch.ones(2, *SHAPE)
    )
    assert int(own.num_batches_tracked) == 0
