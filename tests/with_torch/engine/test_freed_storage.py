"""Tensors whose storage was freed or made smaller: an error, as in PyTorch, and never a crash."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import forward_ad  # noqa: E402

from backnorm.errors import StorageError  # noqa: E402
from backnorm.testing.cases import ACTIVATIONS, DTYPES, MODES  # noqa: E402
from backnorm.torch import BatchNorm2d, BatchNormAct2d, FrozenBatchNorm2d, batch_norm  # noqa: E402
from backnorm.torch.engine.schema import BACKWARD  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from backnorm._types import Shape

pytestmark = [
    needs_engine,
    # PyTorch scripts its formulas of forward mode at first use.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
]

SHAPE = (4, 6, 5, 3)
FORWARD_NAMES = ("input", "residual", "weight", "bias", "running_mean", "running_var")
BACKWARD_NAMES = ("dy", "input", "output", "weight")
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}

WAYS = {"freed": 0, "halved": 0.5, "second half freed": 0.5}
"""The part of its storage that a tensor keeps. In the last way its values are in the second half of
the storage, which is then as long as they are."""

by_way = pytest.mark.parametrize("way", WAYS)
by_format = pytest.mark.parametrize("memory_format", FORMATS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_mode = pytest.mark.parametrize("mode", MODES)


def given(dtype: str = "float32", memory_format: str = "nchw", way: str = "") -> dict[str, Any]:
    """Return the tensors of a call by their names, each in separate memory."""
    tensors = {name: torch.rand(SHAPE[1]) + 0.5 for name in FORWARD_NAMES[2:]}
    for name in ("input", "residual", "dy"):
        tensors[name] = torch.randn(SHAPE).contiguous(memory_format=FORMATS[memory_format])
    kind = getattr(torch, dtype)
    return {name: placed(value.to(kind), way) for name, value in tensors.items()}


def placed(value: torch.Tensor, way: str) -> torch.Tensor:
    """Return a copy; in a storage of twice the length where the way asks for it."""
    if not way.startswith("second"):
        return value.clone()
    whole = value.new_empty(2 * value.numel())
    second = whole.as_strided(value.shape, value.stride(), value.numel())
    return second.copy_(value)


def shrink(value: torch.Tensor, way: str) -> None:
    """Free some of a tensor's storage."""
    storage = value.untyped_storage()
    storage.resize_(int(storage.nbytes() * WAYS[way]))


def run(tensors: dict[str, Any], names: tuple[str, ...], **options: Any) -> torch.Tensor:
    """Run batch_norm with some of the tensors."""
    running = {"running_mean": None, "running_var": None}
    return batch_norm(**running | {name: tensors[name] for name in names}, **options)


def refused(name: str) -> Any:
    """Expect the error that names a tensor: a RuntimeError, as in PyTorch."""
    assert issubclass(StorageError, RuntimeError)
    return pytest.raises(StorageError, match=f"^{name} must have its values in memory")


@by_way
@by_mode
@by_format
@by_dtype
@pytest.mark.parametrize("name", FORWARD_NAMES)
def test_forward_names_the_tensor(
    name: str, dtype: str, memory_format: str, mode: str, way: str
) -> None:
    """Each tensor in turn; nothing is written before."""
    tensors = given(dtype, memory_format, way)
    others = {other: t.clone() for other, t in tensors.items() if other != name}
    shrink(tensors[name], way)
    with refused(name):
        run(tensors, FORWARD_NAMES, training=mode == "batch", activation="relu")
    assert all(torch.equal(tensors[other], value) for other, value in others.items())


@by_way
@by_format
@by_dtype
@pytest.mark.parametrize("name", BACKWARD_NAMES)
def test_backward_names_the_tensor(name: str, dtype: str, memory_format: str, way: str) -> None:
    """What was saved and freed between the passes, and dy."""
    tensors = given(dtype, memory_format, way)
    for leaf in ("input", "weight", "bias"):
        tensors[leaf].requires_grad_()
    y = run(tensors, ("input", "weight", "bias"), training=True, activation="relu")
    shrink(y.detach() if name == "output" else tensors[name], way)
    with refused(name):
        y.backward(tensors["dy"])


@by_way
@by_format
@pytest.mark.parametrize("name", ["input", "weight", "bias", "running_mean", "running_var"])
def test_in_place_names_the_tensor(name: str, memory_format: str, way: str) -> None:
    """y would take the memory of x: it is not there, or what x is computed with is not."""
    tensors = given("float32", memory_format, way)
    x = tensors["input"].clone()
    shrink(tensors[name], way)
    names = ("input", "weight", "bias", "running_mean", "running_var")
    with refused(name):
        run(tensors, names, training=True, activation="leaky_relu", inplace=True)
    assert name == "input" or torch.equal(tensors["input"], x)


@by_way
@pytest.mark.parametrize("name", ["dy", "output", "weight", "bias"])
def test_backward_from_the_output_names_the_tensor(name: str, way: str) -> None:
    """x was overwritten by y, which is in its storage."""
    tensors = given(way=way)
    x, weight, bias = (tensors[leaf].requires_grad_() for leaf in ("input", "weight", "bias"))
    y = batch_norm(x + 0, None, None, weight, bias, training=True, inplace=True)
    shrink(y.detach() if name == "output" else tensors[name], way)
    with refused(name):
        y.backward(tensors["dy"])


@by_way
@by_mode
@pytest.mark.parametrize("name", FORWARD_NAMES)
def test_the_compiled_operator_names_the_tensor(name: str, mode: str, way: str) -> None:
    """What torch.compile calls, compiled while the tensor was there."""
    tensors = given(way=way)
    compiled = torch.compile(batch_norm, backend="aot_eager", fullgraph=True)
    arguments: dict[str, Any] = {key: tensors[key] for key in FORWARD_NAMES}
    arguments |= {"training": mode == "batch", "activation": "relu"}
    compiled(**arguments)
    shrink(tensors[name], way)
    with refused(name):
        compiled(**arguments)


@by_way
@pytest.mark.parametrize("name", ["dy", "input", "weight"])
def test_the_compiled_gradient_names_the_tensor(name: str, way: str) -> None:
    """What was freed between the passes of a compiled call."""
    tensors = given(way=way)
    leaves = [tensors[leaf].requires_grad_() for leaf in ("input", "weight", "bias")]
    compiled = torch.compile(batch_norm, backend="aot_eager", fullgraph=True)
    y = compiled(leaves[0], None, None, *leaves[1:], training=True, activation="relu")
    shrink(tensors[name], way)
    with refused(name):
        torch.autograd.grad(y, leaves, tensors["dy"])


@by_way
@by_dtype
@pytest.mark.parametrize("name", ["input", "weight", "dy", "output"])
@pytest.mark.parametrize("when", ["before the gradient", "before its derivative"])
def test_double_backward_names_the_tensor(when: str, name: str, dtype: str, way: str) -> None:
    """PyTorch's own operations, of which further derivatives consist, would read freed memory."""
    tensors = given(dtype, way=way)
    x, weight, dy = (tensors[key].requires_grad_() for key in ("input", "weight", "dy"))
    y = batch_norm(x, None, None, weight, training=True, activation="relu")
    freed = y.detach() if name == "output" else tensors[name]
    if when == "before the gradient":
        shrink(freed, way)
        with refused(name):
            torch.autograd.grad(y, x, dy, create_graph=True)
        return
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    direction = torch.randn_like(dx)
    shrink(freed, way)
    with refused(name):
        torch.autograd.grad(dx, x, direction)


@by_way
def test_double_backward_names_the_gradient_that_it_is_given(way: str) -> None:
    """The gradient of a function of dx."""
    tensors = given(way=way)
    x = tensors["input"].requires_grad_()
    y = batch_norm(x, None, None, training=True)
    (dx,) = torch.autograd.grad(y, x, tensors["dy"].requires_grad_(), create_graph=True)
    shrink(tensors["residual"], way)
    with refused("the gradient of the gradient of input"):
        torch.autograd.grad(dx, x, tensors["residual"])


@by_way
@pytest.mark.parametrize("name", ["input", "weight", "bias", "residual"])
def test_forward_mode_names_the_tangent(name: str, way: str) -> None:
    """The step of y consists of PyTorch's operations too."""
    tensors = given(way=way)
    step = placed(torch.randn_like(tensors[name]), way)
    with forward_ad.dual_level():
        tensors[name] = forward_ad.make_dual(tensors[name], step)
        shrink(step, way)
        with refused(f"the tangent of {name}"):
            run(tensors, FORWARD_NAMES[:4], training=True)


@by_way
@pytest.mark.parametrize("name", ["input", "dy"])
def test_forward_mode_of_the_gradient_names_the_tangent(name: str, way: str) -> None:
    """And the step of dx."""
    tensors = given(way=way)
    step = placed(torch.randn_like(tensors[name]), way)
    x = tensors["input"].requires_grad_()
    y = batch_norm(x, None, None, training=True)
    statistics = torch.stack([y.detach().mean((0, 2, 3))] * 4).double()
    with forward_ad.dual_level():
        tensors[name] = forward_ad.make_dual(tensors[name], step)
        shrink(step, way)
        with refused(f"the tangent of {name}"):
            BACKWARD(
                *(tensors["dy"], tensors["input"], None, None, None, statistics),
                *(True, 1e-5, "identity", 0.1, "both", "float64", [True, False, False, False]),
            )


@by_way
def test_a_residual_that_pytorch_adds_is_named(way: str) -> None:
    """PyTorch computes what the engine does not, such as parameters in several dtypes."""
    tensors = given(way=way)
    tensors["running_mean"] = tensors["running_mean"].bfloat16()
    tensors["running_var"] = tensors["running_var"].bfloat16()
    for name in ("input", "residual", "weight", "bias"):
        tensors[name] = placed(tensors[name].bfloat16(), way)
    tensors["weight"] = tensors["weight"].float()
    tensors["bias"] = tensors["bias"].float()
    shrink(tensors["residual"], way)
    with refused("residual"):
        run(tensors, FORWARD_NAMES)


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("module", [BatchNorm2d, BatchNormAct2d, FrozenBatchNorm2d])
def test_modules_name_the_tensor(module: Any, name: str) -> None:
    """A parameter or buffer that an offloaded layer does not have now."""
    layer = module(SHAPE[1]).eval()
    shrink(getattr(layer, name).data, "freed")
    with refused(name):
        layer(torch.randn(SHAPE))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_memory_that_comes_back_is_used(activation: str) -> None:
    """Weight and bias are freed after forward and filled again before backward, as FSDP does."""
    tensors = given()
    leaves = [tensors[name].requires_grad_() for name in ("input", "weight", "bias")]
    want = torch.autograd.grad(
        run(tensors, ("input", "weight", "bias"), training=True, activation=activation),
        leaves,
        tensors["dy"],
    )
    y = run(tensors, ("input", "weight", "bias"), training=True, activation=activation)
    filled = copy.deepcopy([leaf.detach() for leaf in leaves[1:]])
    for leaf, value in zip(leaves[1:], filled, strict=True):
        shrink(leaf.data, "freed")
        leaf.data.untyped_storage().resize_(value.nbytes)
        leaf.data.copy_(value)
    got = torch.autograd.grad(y, leaves, tensors["dy"])
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@by_way
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [SHAPE, (64, 6, 60, 60)], ids=["small", "recomputed"])
def test_a_freed_bias_does_not_hinder_backward(shape: Shape, activation: str, way: str) -> None:
    """PyTorch's layers do not keep it. Where y would be computed again it is read instead."""
    bias = placed(torch.rand(SHAPE[1]), way).requires_grad_()
    leaves = [
        torch.randn(shape, requires_grad=True),
        torch.rand(SHAPE[1], requires_grad=True),
        bias,
    ]
    y = batch_norm(leaves[0], None, None, *leaves[1:], training=True, activation=activation)
    dy = torch.randn(shape)
    want = torch.autograd.grad(y, leaves, dy, retain_graph=True)
    shrink(bias, way)
    got = torch.autograd.grad(y, leaves, dy)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_expanded_tensors_need_one_value() -> None:
    """A gradient of y.sum() has one value in memory, for all positions."""
    x = torch.randn(SHAPE, requires_grad=True)
    batch_norm(x, None, None, training=True).sum().backward()
    assert x.grad is not None
