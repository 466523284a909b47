"""The dialect torch beside the installed PyTorch: training and eval, and the state after each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import backnorm as bn  # noqa: E402
from backnorm.testing.budget import FRAMEWORK_PARTS, parts  # noqa: E402

C = 5
MODULES = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
SHAPES = ((16, C), (4, C, 7), (3, C, 4, 5), (2, C, 3, 2, 4))
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "eps and momentum": {"eps": 1e-3, "momentum": 0.3},
    "plain mean": {"momentum": None},
    "not affine": {"affine": False},
    "no bias": {"bias": False},
    "no running statistics": {"track_running_stats": False},
}


def pair(shape: tuple[int, ...], dtype: str, options: dict[str, Any]) -> tuple[Any, bn.BatchNorm]:
    """A module of PyTorch with random parameters, and a layer with its state."""
    torch.manual_seed(1)
    module = getattr(torch.nn, MODULES[len(shape)])(C, dtype=getattr(torch, dtype), **options)
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 2)
    layer = bn.BatchNorm(C, dialect="torch", **options).load_state(arrays(module))
    return module, layer


def arrays(module: Any) -> dict[str, Any]:
    """The module's state."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def assert_same_step(module: Any, layer: bn.BatchNorm, x: Any, dy: Any, dtype: str) -> None:
    """Compare y, the gradients, and the state afterwards."""
    tensor = torch.from_numpy(x).requires_grad_()
    module.zero_grad()
    output = module(tensor)
    output.backward(torch.from_numpy(dy))
    y, g = layer.forward(x), layer.backward(dy)
    theirs = {"y": output.detach(), "dx": tensor.grad}
    ours = {"y": y, "dx": g.dx}
    for name, gradient in (("weight", g.dgamma), ("bias", g.dbeta)):
        parameter = getattr(module, name)
        assert (parameter is None) == (gradient is None)
        if parameter is not None:
            theirs[name], ours[name] = parameter.grad, gradient
    for name, value in theirs.items():
        assert ours[name].dtype == value.numpy().dtype
        assert parts(ours[name], value.numpy()) <= FRAMEWORK_PARTS[dtype], name
    state, wanted = layer.state(), arrays(module)
    assert list(state) == list(wanted)
    for name, value in wanted.items():
        assert (state[name].dtype, state[name].shape) == (value.dtype, value.shape)
        assert parts(state[name], value) <= FRAMEWORK_PARTS[dtype], name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_three_steps_are_pytorchs(
    options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, then one in eval: y, dx, both parameters' gradients, every buffer."""
    module, layer = pair(shape, dtype, options)
    rng = np.random.default_rng(0)
    for step in range(4):
        if step == 3:
            module.eval()
            layer.eval()
        x, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
        assert_same_step(module, layer, x * 2 + 1, dy, dtype)


def test_one_value_per_channel_is_refused_by_both() -> None:
    """In training; neither refuses it in eval."""
    module, layer = pair((1, C), "float32", {})
    x = np.ones((1, C), "f4")
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        module(torch.from_numpy(x))
    with pytest.raises(ValueError, match="more than one value per channel"):
        layer.forward(x)
    module.eval()
    theirs = module(torch.from_numpy(x)).detach()
    assert parts(layer.eval().forward(x), theirs) <= FRAMEWORK_PARTS["float32"]


def test_a_state_goes_into_pytorch_and_its_own_into_ours() -> None:
    """load_state_dict takes what state() gives, strictly."""
    layer = bn.BatchNorm(C, dialect="torch")
    layer.forward(np.random.default_rng(2).normal(size=(8, C)).astype("f4"))
    module = torch.nn.BatchNorm1d(C)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in layer.state().items()})
    assert arrays(module)["num_batches_tracked"].item() == 1


def test_what_others_computed_is_what_pytorch_computes_after_conversion() -> None:
    """Keras' state, converted and run by PyTorch itself."""
    rng = np.random.default_rng(4)
    layer = bn.BatchNorm(C, dialect="keras")
    for _ in range(3):
        layer.forward(rng.normal(1, 2, (8, C)).astype("f4"))
    done = bn.convert_state(layer.state(), "keras", "torch", n=8)
    module = torch.nn.BatchNorm1d(C, **done.options).eval()
    module.load_state_dict({name: torch.from_numpy(a) for name, a in done.state.items()})
    x = rng.normal(size=(6, C)).astype("f4")
    theirs = module(torch.from_numpy(x)).detach().numpy()
    assert parts(layer.eval().forward(x), theirs) <= FRAMEWORK_PARTS["float32"]
