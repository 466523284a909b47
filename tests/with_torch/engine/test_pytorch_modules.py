"""PyTorch's own module tests for BatchNorm1d, 2d and 3d, with ours in the place of the stock class.

The inputs, errors and flags are those of torch.testing._internal.common_modules.module_db. What
each test checks is what PyTorch's test of that name does; where PyTorch has no reference the stock
class is one. Tolerances are PyTorch's own (torch.testing).
"""

from __future__ import annotations

import copy
import inspect
import io
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's test cases need, is missing")

from torch import nn  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.testing import assert_close  # noqa: E402
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db  # noqa: E402

import backnorm.torch as ours  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOCK = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INFOS = {info.module_cls.__name__: info for info in module_db if info.module_cls in STOCK}
DTYPES = (torch.float32, torch.float64)
MODES = {"train": True, "eval": False}

by_name = pytest.mark.parametrize("name", INFOS)
by_mode = pytest.mark.parametrize("mode", MODES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def inputs(name: str, dtype: Any, mode: str, *, requires_grad: bool = False) -> Iterator[Any]:
    """Yield PyTorch's constructor arguments and inputs."""
    torch.manual_seed(0)
    function = INFOS[name].module_inputs_func
    return iter(
        function(
            INFOS[name],
            device="cpu",
            dtype=dtype,
            requires_grad=requires_grad,
            training=MODES[mode],
        )
    )


def build(cls: Any, case: Any, dtype: Any, mode: str, **others: Any) -> Any:
    """Construct a module for one of the inputs."""
    given = case.constructor_input
    return cls(*given.args, **given.kwargs, **others).to(dtype).train(MODES[mode])


def run(module: Any, case: Any) -> torch.Tensor:
    """Call a module on one of the inputs."""
    return module(*case.forward_input.args, **case.forward_input.kwargs)


def test_all_three_have_their_inputs() -> None:
    """PyTorch lists each class, with formats that we run and inputs for both modes."""
    assert set(INFOS) == {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d"}
    for info in INFOS.values():
        assert set(info.supported_dtypes("cpu")) == set(DTYPES)
        assert info.train_and_eval_differ
        assert info.supports_gradgrad
        assert not info.is_lazy


@by_name
@by_mode
@by_dtype
def test_forward(name: str, mode: str, dtype: Any) -> None:
    """Outputs and buffers are the stock class's; .float() and .double() move all of them."""
    for case in inputs(name, dtype, mode):
        module, stock = (
            build(c, case, dtype, mode) for c in (getattr(ours, name), getattr(nn, name))
        )
        assert_close(run(module, case), run(stock, case))
        assert_close(module.state_dict(), stock.state_dict())
        module = module.float() if dtype is torch.float32 else module.double()
        run(module, case)
        assert_formats(module, dtype, "cpu")


def assert_formats(module: Any, dtype: Any, device: str) -> None:
    """Assert that all that can be of a floating-point format is of this one, and lies there."""
    for value in (*module.parameters(), *module.buffers()):
        assert value.device.type == device
        assert value.dtype is dtype or not value.dtype.is_floating_point


@by_name
@by_mode
@by_dtype
def test_factory_kwargs(name: str, mode: str, dtype: Any) -> None:
    """Device and dtype given to the constructor hold for every parameter and buffer."""
    for case in inputs(name, dtype, mode):
        given = case.constructor_input
        for device in ("cpu", "meta"):
            keywords = {**given.kwargs, "device": device, "dtype": dtype}
            assert_formats(getattr(ours, name)(*given.args, **keywords), dtype, device)


@by_name
@by_mode
@by_dtype
def test_repr(name: str, mode: str, dtype: Any) -> None:
    """It reads as the stock class does."""
    for case in inputs(name, dtype, mode):
        module, stock = (
            build(c, case, dtype, mode) for c in (getattr(ours, name), getattr(nn, name))
        )
        assert repr(module) == str(module) == repr(stock)


@by_name
@by_mode
@by_dtype
def test_pickle(name: str, mode: str, dtype: Any) -> None:
    """A module that was saved whole and loaded gives the same output, from the same state."""
    for case in inputs(name, dtype, mode):
        module = build(getattr(ours, name), case, dtype, mode)
        run(module, case)
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        assert type(again) is type(module)
        assert_close(run(again, case), run(module, case), rtol=0.0, atol=0.0)
        assert_close(again.state_dict(), module.state_dict(), rtol=0.0, atol=0.0)


@by_name
@by_mode
@by_dtype
def test_check_inplace(name: str, mode: str, dtype: Any) -> None:
    """Of ours the class with inplace: same output and gradients, x's version moves only then."""
    cls = getattr(ours, name.replace("Norm", "NormAct"))
    assert "inplace" in inspect.signature(cls).parameters
    for case in inputs(name, dtype, mode, requires_grad=True):
        (x,) = case.forward_input.args
        outside, inside = (
            build(cls, case, dtype, mode, activation="leaky_relu", inplace=inplace)
            for inplace in (False, True)
        )
        version = x._version
        y = outside(x)
        assert x._version == version
        other = x.detach().clone().requires_grad_()
        clone = other.clone()
        version = clone._version
        y_inside = inside(clone)
        # PyTorch's own kernels, which take empty batches, do not work in place.
        assert clone._version > version or not x.numel()
        assert_close(y_inside, y)
        dy = torch.randn_like(y)
        y.backward(dy)
        y_inside.backward(dy)
        assert_close(other.grad, x.grad)


def strided(value: torch.Tensor) -> torch.Tensor:
    """Return the same values, every second of a longer last axis."""
    view = torch.repeat_interleave(value.detach(), 2, dim=-1)[..., ::2]
    return view.requires_grad_(value.requires_grad)


@by_name
@by_mode
@by_dtype
def test_non_contiguous_tensors(name: str, mode: str, dtype: Any) -> None:
    """x, dy or both may have strides: same output, same gradients."""
    for case in inputs(name, dtype, mode, requires_grad=True):
        module = build(getattr(ours, name), case, dtype, mode)
        state = copy.deepcopy(module.state_dict())
        (x,) = case.forward_input.args
        y = module(x)
        dy = torch.randn_like(y)
        wanted = (x, *module.parameters())
        want = torch.autograd.grad(y, wanted, dy)
        for x_now, dy_now in product((x, strided(x)), (dy, strided(dy))):
            module.load_state_dict(state)
            y_now = module(x_now)
            got = torch.autograd.grad(y_now, (x_now, *module.parameters()), dy_now)
            assert_close(y_now, y)
            assert_close(got, want)


def check_derivatives(check: Callable[..., bool], name: str, mode: str) -> None:
    """Run a numerical check for all that can require a gradient together, and one by one.

    By random projections (fast_mode), as PyTorch's own runs do it.
    """
    for case in inputs(name, torch.float64, mode, requires_grad=True):
        module = build(getattr(ours, name), case, torch.float64, mode)
        names = [key for key, _ in module.named_parameters()]
        state = copy.deepcopy(module.state_dict())

        def call(
            x: Any, *values: Any, module: Any = module, names: Any = names, state: Any = state
        ) -> Any:
            # From the same running statistics each time.
            fresh = {key: value.clone() for key, value in state.items()}
            return torch.func.functional_call(
                module, fresh | dict(zip(names, values, strict=True)), x
            )

        tensors = (*case.forward_input.args, *(p.detach().clone() for p in module.parameters()))
        for alone in (None, *range(len(tensors))):
            for index, tensor in enumerate(tensors):
                tensor.requires_grad_(alone in (None, index))
            assert check(call, tensors, fast_mode=True)


@by_name
@by_mode
def test_grad(name: str, mode: str) -> None:
    """Gradients are those of numerical differentiation."""
    check_derivatives(gradcheck, name, mode)


@by_name
@by_mode
def test_gradgrad(name: str, mode: str) -> None:
    """Second gradients are those of numerical differentiation."""
    check_derivatives(gradgradcheck, name, mode)


FORMATS = {
    4: (torch.contiguous_format, torch.channels_last),
    5: (torch.contiguous_format, torch.channels_last_3d),
}


@by_name
@by_mode
@by_dtype
def test_memory_format(name: str, mode: str, dtype: Any) -> None:
    """Output and dx have x's memory format, whatever the module's; the values stay."""
    for case in inputs(name, dtype, mode, requires_grad=True):
        (x,) = case.forward_input.args
        module = build(getattr(ours, name), case, dtype, mode)
        y = module(x)
        dy = torch.rand_like(y)
        want = torch.autograd.grad(y, (x, *module.parameters()), dy)
        own = FORMATS.get(x.dim(), (torch.contiguous_format,))
        for x_format, module_format in product(own, (torch.preserve_format, *own)):
            module.to(memory_format=module_format)
            x_now = x.detach().clone().to(memory_format=x_format).requires_grad_()
            y_now = module(x_now)
            dy_now = torch.empty_like(y_now).copy_(dy)
            got = torch.autograd.grad(y_now, (x_now, *module.parameters()), dy_now)
            assert_close(y_now, y)
            assert_close(got, want)
            assert y_now.is_contiguous(memory_format=x_format)
            assert got[0].is_contiguous(memory_format=x_format)


@by_name
@by_dtype
def test_if_train_and_eval_modes_differ(name: str, dtype: Any) -> None:
    """The forward pass asks for the mode, as module_db says of the stock class."""
    for case in inputs(name, dtype, "train"):
        module = build(getattr(ours, name), case, dtype, "train")
        del module.training
        with pytest.raises(AttributeError, match="'training'"):
            run(module, case)


@by_name
@by_mode
@by_dtype
def test_device_ctx_init(name: str, mode: str, dtype: Any) -> None:
    """Under torch.device('meta') all of it is made there, with the shapes it has elsewhere."""
    for case in inputs(name, dtype, mode):
        given = case.constructor_input
        here = getattr(ours, name)(*given.args, **given.kwargs)
        with torch.device("meta"):
            there = getattr(ours, name)(*given.args, **given.kwargs)
        for kind in ("parameters", "buffers"):
            pairs = zip(getattr(there, kind)(), getattr(here, kind)(), strict=True)
            for meta, real in pairs:
                assert meta.is_meta
                assert (meta.shape, meta.stride(), meta.dtype, meta.requires_grad) == (
                    real.shape,
                    real.stride(),
                    real.dtype,
                    real.requires_grad,
                )


@by_name
@by_mode
@by_dtype
def test_errors(name: str, mode: str, dtype: Any) -> None:
    """What is an error for PyTorch's class is the same error for ours, raised at the same place."""
    cases = INFOS[name].module_error_inputs_func(
        INFOS[name], device="cpu", dtype=dtype, requires_grad=False, training=MODES[mode]
    )
    for case in cases:
        given = case.module_error_input
        assert case.error_on is ModuleErrorEnum.FORWARD_ERROR
        args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
        # As PyTorch's test has it: in training, in the format of the constructor.
        with pytest.raises(case.error_type, match=case.error_regex):
            run(getattr(ours, name)(*args, **kwargs), given)


@pytest.mark.parametrize("swap", [False, True], ids=["change data", "swap tensors"])
@pytest.mark.parametrize("with_grad", [False, True], ids=["without grad", "with grad"])
@by_name
@by_mode
@by_dtype
def test_to(name: str, mode: str, dtype: Any, *, swap: bool, with_grad: bool) -> None:
    """Parameters stay the same objects when a module moves to another format, gradients too."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for case in inputs(name, dtype, mode):
            module = build(getattr(ours, name), case, dtype, mode)
            parameters = list(module.parameters())
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter) if with_grad else None
            other = torch.float64 if dtype is torch.float32 else torch.float32
            module.to(other)
            assert [id(p) for p in module.parameters()] == [id(p) for p in parameters]
            assert_formats(module, other, "cpu")
            if with_grad:
                assert all(p.grad.dtype is other for p in module.parameters())
            assert run(module.to(dtype), case).dtype is dtype
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@pytest.mark.parametrize("swap", [False, True], ids=["change data", "swap tensors"])
@by_name
@by_mode
@by_dtype
def test_to_empty(name: str, mode: str, dtype: Any, *, swap: bool) -> None:
    """A module made on meta gets memory, and after reset_parameters it runs as one made here."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for case in inputs(name, dtype, mode):
            given = case.constructor_input
            with torch.device("meta"):
                module = getattr(ours, name)(*given.args, **given.kwargs).to(dtype)
            parameters = list(module.parameters())
            module.to_empty(device="cpu").train(MODES[mode]).reset_parameters()
            if swap:
                assert [id(p) for p in module.parameters()] == [id(p) for p in parameters]
            assert_formats(module, dtype, "cpu")
            assert_close(
                run(module, case), run(build(getattr(ours, name), case, dtype, mode), case)
            )
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
