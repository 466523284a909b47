"""What PyTorch does around a module: compiling, mapping, casting, saving, distributing."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from backnorm.testing.cases import ACTIVATIONS  # noqa: E402
from backnorm.torch.engine.tools import constant_result  # noqa: E402
from with_torch.engine.tensors import array, assert_like, drawn, needs_engine  # noqa: E402

pytestmark = needs_engine

SHAPE = (4, 3, 5, 6)
MODES = {"train": True, "eval": False}

by_mode = pytest.mark.parametrize("mode", MODES)


def model(activation: str = "relu") -> Any:
    """Return a small model with ours in it, in float64, weights and biases drawn."""
    norm = ours.BatchNormAct2d(3, activation=activation, negative_slope=0.125)
    made = nn.Sequential(ours.BatchNorm2d(3), norm).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    return made


def step(made: Any, x: torch.Tensor, run: Any = None) -> list[torch.Tensor]:
    """Run forward and backward, and return output, gradients and buffers."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = (run or made)(x)
    (y * y.detach().sin()).sum().backward()
    found = [y.detach(), x.grad, *(p.grad for p in made.parameters()), *made.buffers()]
    assert all(isinstance(value, torch.Tensor) for value in found)
    return found


def assert_same(got: list[torch.Tensor], want: list[torch.Tensor]) -> None:
    """Assert that two steps gave the same, but for the order of sums."""
    for ours_, expected in zip(got, want, strict=True):
        if expected.dtype.is_floating_point:
            assert_like(ours_, expected)
        else:
            assert torch.equal(ours_, expected)


def assert_equal(got: list[torch.Tensor], want: list[torch.Tensor]) -> None:
    """Assert that two steps gave the same bits."""
    for ours_, expected in zip(got, want, strict=True):
        assert_bits(array(ours_), array(expected))


@by_mode
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compile_without_a_break(mode: str, activation: str) -> None:
    """As one graph, with shapes that may change: the same bits, running statistics included."""
    torch._dynamo.reset()
    x = drawn(SHAPE).x
    made = model(activation).train(MODES[mode])
    other = copy.deepcopy(made)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager", dynamic=True)
    for now in (x, x[:3], x.to(memory_format=torch.channels_last)):
        assert_same(step(other, now, compiled), step(made, now))


@by_mode
def test_export(mode: str) -> None:
    """A program that was exported gives the same output, by PyTorch's own operators."""
    x = drawn(SHAPE).x
    made = model().train(MODES[mode])
    program = torch.export.export(copy.deepcopy(made), (x,))
    assert "backnorm" not in str(program.graph)
    assert_like(program.module()(x).detach(), made(x).detach())


@by_mode
@pytest.mark.parametrize("mapped", ["x", "parameters", "both"])
def test_vmap(mode: str, mapped: str) -> None:
    """Over x, over parameters and over both: each gets what it gets alone."""
    made = model("identity").train(MODES[mode])
    state = {k: v.detach() for k, v in (*made.named_parameters(), *made.named_buffers())}
    counts = [key for key in state if key.endswith("num_batches_tracked")]
    fixed = {key: state.pop(key) for key in counts}
    xs = torch.stack([drawn(SHAPE, seed=seed).x for seed in range(3)])
    states = {k: torch.stack([v, v + 0.5, v + 1.0]) for k, v in state.items()}

    def run(values: Any, x: Any) -> torch.Tensor:
        if mode == "train" and mapped == "x":
            values = {k: v + 0.0 * x.sum() for k, v in values.items()}
        y: torch.Tensor = torch.func.functional_call(
            made, values | {k: v.clone() for k, v in fixed.items()}, (x,)
        )
        return y

    dims = (None if mapped == "x" else 0, None if mapped == "parameters" else 0)
    if mode == "train":
        # The count takes no part in what is mapped; it is an integer that PyTorch adds to.
        for layer in made:
            layer.num_batches_tracked = None
        fixed.clear()
    got = torch.vmap(run, in_dims=dims)(
        state if dims[0] is None else states, xs[0] if dims[1] is None else xs
    )
    for index in range(3):
        values = state if dims[0] is None else {k: v[index] for k, v in states.items()}
        values = {k: v.clone() for k, v in values.items()}
        assert_like(
            got[index].detach(), run(values, xs[0] if dims[1] is None else xs[index]).detach()
        )


@by_mode
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(mode: str, *, reentrant: bool) -> None:
    """Gradients are the same bits when the forward pass is run again in backward."""
    x = drawn(SHAPE).x
    made = model().train(MODES[mode])
    other = copy.deepcopy(made)
    want = step(made, x)
    got = step(other, x, lambda z: checkpoint(other, z, use_reentrant=reentrant))
    count = 2 + len(list(made.parameters()))
    assert_equal(got[:count], want[:count])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: Any) -> None:
    """Behind a convolution in 16 bits, with parameters and statistics in float32."""
    conv = nn.Conv2d(3, 3, 1)
    layer = ours.BatchNorm2d(3)
    x = drawn(SHAPE, "float32").x
    with torch.autocast("cpu", dtype=dtype):
        z = conv(x)
        y = layer(z)
    assert (z.dtype, y.dtype) == (dtype, dtype)
    y.float().square().sum().backward()
    assert layer.weight.grad.dtype is layer.running_mean.dtype is torch.float32
    assert conv.weight.grad.isfinite().all()


def test_state_loads_strictly_both_ways() -> None:
    """The keys, their order and what they mean are the stock class's."""
    stock = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).double()
    mine = model("identity")
    step(mine, drawn(SHAPE).x)
    assert list(stock.state_dict()) == list(mine.state_dict())
    assert (
        str(stock.load_state_dict(mine.state_dict(), strict=True))
        == "<All keys matched successfully>"
    )
    fresh = model("identity")
    fresh.load_state_dict(stock.state_dict(), strict=True)
    assert_equal(list(fresh.buffers()), list(mine.buffers()))
    x = drawn(SHAPE).x
    assert_like(stock.eval()(x).detach(), fresh.eval()(x).detach())


def test_frozen_loads_a_checkpoint() -> None:
    """FrozenBatchNorm2d takes the state of BatchNorm2d, and gives what that gives in evaluation."""
    stock = nn.BatchNorm2d(3)
    x = drawn(SHAPE, "float32").x
    stock(x)
    frozen = ours.FrozenBatchNorm2d(3)
    frozen.load_state_dict(stock.state_dict(), strict=True)
    assert list(frozen.parameters()) == []
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    assert_like(frozen.train()(x), stock.eval()(x).detach())
    for key, value in frozen.state_dict().items():
        assert_bits(array(value), array(before[key]))


def test_copies_and_pickles() -> None:
    """A deep copy, and a model that was saved whole, take the next step with the same bits."""
    x = drawn(SHAPE).x
    made = model()
    step(made, x)
    made.zero_grad()
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    copied = copy.deepcopy(made)
    want = step(made, x)
    assert_equal(step(loaded, x), want)
    assert_equal(step(copied, x), want)


def test_gradients_accumulate() -> None:
    """Two backward passes add up to twice one, bit for bit."""
    layer = ours.BatchNorm2d(3, track_running_stats=False).double()
    x = drawn(SHAPE).x
    once = [value.clone() for value in step(layer, x)]
    twice = step(layer, x)
    for one, two in zip(once[2:], twice[2:], strict=True):
        assert_bits(array(two), array(2 * one))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace() -> None:
    """torch.jit.trace records the registered operator, for the shape that it is given."""
    made = model().eval()
    x = drawn(SHAPE).x
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.trace"):
        traced = torch.jit.trace(made, (x,), check_trace=False)
    assert "backnorm::batch_norm" in str(traced.inlined_graph)
    assert_like(traced(x).detach(), made(x).detach())


def test_distributed_data_parallel(tmp_path: Any) -> None:
    """A process group of one, with gloo: the same gradients."""
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - where there is a group

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        made = model()
        other = copy.deepcopy(made)
        x = drawn(SHAPE).x
        assert_same(step(other, x, DistributedDataParallel(other)), step(made, x))
    finally:
        torch.distributed.destroy_process_group()


@by_mode
def test_saved_tensor_hooks(mode: str) -> None:
    """What is packed and unpacked is enough for the same gradients."""
    x = drawn(SHAPE).x
    made = model().train(MODES[mode])
    other = copy.deepcopy(made)
    packed: list[torch.Tensor] = []

    def pack(value: torch.Tensor) -> torch.Tensor:
        packed.append(value)
        return value.detach().clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        got = step(other, x)
    assert packed
    assert_equal(got, step(made, x))


@by_mode
def test_without_gradients(mode: str) -> None:
    """no_grad and inference_mode give the bits that the tracked call gives."""
    x = drawn(SHAPE).x
    made = model().train(MODES[mode])
    want = copy.deepcopy(made)(x).detach()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            y = copy.deepcopy(made)(x)
        assert not y.requires_grad
        assert_bits(y.numpy(), want.numpy())


def test_meta() -> None:
    """Tensors without memory get their shape and format."""
    with torch.device("meta"):
        made = model()
        y = made(torch.empty(SHAPE, dtype=torch.float64))
    assert y.is_meta
    assert y.shape == SHAPE


def test_modes_see_the_operator() -> None:
    """A TorchDispatchMode sees one call a layer, and a fake tensor goes through."""
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    seen = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    x = drawn(SHAPE).x
    made = model()
    want = copy.deepcopy(made)(x)
    with Recorder():
        y = made(x)
    assert seen.count("backnorm.batch_norm.default") == 2
    assert_bits(array(y), array(want))
    other = copy.deepcopy(made).eval()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = other(mode.from_tensor(x))
    assert fake.shape == SHAPE


def test_subclasses_keep_their_functions() -> None:
    """A tensor subclass goes the way of its own __torch_function__."""

    class Named(torch.Tensor):
        pass

    x = drawn(SHAPE).x
    made = model().eval()
    y = made(x.as_subclass(Named))
    assert_like(y.as_subclass(torch.Tensor).detach(), made(x).detach())


def test_importing_does_not_load_the_compiler() -> None:
    """It takes a second, which most programs do not need."""
    code = "import sys, backnorm.torch; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"


def test_a_constant_result_is_marked_as_pytorch_marks_it() -> None:
    """By the attribute for which Dynamo looks."""

    def theirs() -> None:
        """Do nothing."""

    def mine() -> None:
        """Do nothing."""

    torch.compiler.assume_constant_result(theirs)
    assert vars(constant_result(mine)) == vars(theirs) != {}
