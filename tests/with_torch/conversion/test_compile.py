"""Converted models under torch.compile: one graph, with the engine's operators in it."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import convert  # noqa: E402
from backnorm.torch.conversion.activations import SPELLINGS  # noqa: E402
from with_torch.conversion.blocks import Basic  # noqa: E402
from with_torch.conversion.models import assert_close, built, drawn, sequence  # noqa: E402
from with_torch.conversion.overwriting import Residual  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_engine

SHAPE = (2, 3, 4, 6)


def network() -> nn.Module:
    """Return blocks of each kind: 5 normalizations, of which 3 with an activation alone."""
    return nn.Sequential(Residual(), Basic(3), *sequence(nn.ReLU()))


def step(model: nn.Module, run: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run forward and backward, and return the output, gradients and buffers."""
    x = x.clone().requires_grad_()
    y = run(x)
    y.sin().sum().backward()
    assert x.grad is not None
    gradients = {f"{name}.grad": p.grad for name, p in model.named_parameters()}
    return {"y": y, "dx": x.grad, **gradients, **dict(model.named_buffers())}


def assert_compiles(backend: Any, *, inplace: bool, training: bool) -> None:
    """Assert that a model compiles without a break, and trains as it does uncompiled."""
    torch._dynamo.reset()
    want, got = built(network).train(training), built(network).train(training)
    convert(got, inplace=inplace)
    compiled = torch.compile(got, fullgraph=True, backend=backend)
    for seed in range(2):
        x = drawn(SHAPE, seed)
        assert_close(step(got, compiled, x), step(want, want, x))
        want.zero_grad()
        got.zero_grad()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_without_a_break(*, inplace: bool, training: bool) -> None:
    """One graph, forward and backward, that gives what the model gives."""
    assert_compiles("aot_eager", inplace=inplace, training=training)


class Spelled(nn.Module):
    """A function after a normalization."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.norm, self.call = nn.BatchNorm2d(3), call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.call(self.norm(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "call",
    [call for spelling in SPELLINGS.values() for call in spelling.calls if callable(call)],
    ids=lambda call: call.__name__,
)
def test_each_function_is_compiled_without_a_break(call: Any) -> None:
    """It is looked up in the table of activations."""
    torch._dynamo.reset()
    want, got = built(lambda: Spelled(call)), convert(built(lambda: Spelled(call)))
    compiled = torch.compile(got, fullgraph=True, backend="aot_eager")
    x = drawn(SHAPE, 0)
    assert_close(step(got, compiled, x), step(want, want, x))


@pytest.mark.parametrize("act", [nn.LeakyReLU(0.2), nn.ReLU6()], ids=["leaky_relu", "relu6"])
def test_an_output_may_be_written_to(act: nn.Module) -> None:
    """As the output of PyTorch's may: it is not kept for backward."""
    torch._dynamo.reset()

    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), act, nn.ELU(inplace=True))

    want, got = built(build), convert(built(build))
    compiled = torch.compile(got, fullgraph=True, backend="aot_eager")
    x = drawn(SHAPE, 0)
    assert_close(step(got, compiled, x), step(want, want, x))


def test_the_graph_has_the_fused_operators() -> None:
    """The generated forward is compiled, not the one that it stands for."""
    torch._dynamo.reset()
    model = built(network)
    convert(model)
    seen: Counter[str] = Counter()

    def noting(module: Any, _: Any) -> Any:
        for node in module.graph.nodes:
            if node.target is torch.ops.backnorm.batch_norm.default:
                seen[("add + " if node.args[5] is not None else "") + node.args[8]] += 1
        return module.forward

    torch.compile(model, fullgraph=True, backend=noting)(drawn(SHAPE, 0))
    assert seen == {"leaky_relu": 1, "add + leaky_relu": 1, "relu": 2, "add + relu": 1}


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # of inductor
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler that is the default: C++ around the operators."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with torch._inductor.config.patch(compile_threads=1):
        assert_compiles("inductor", inplace=True, training=True)


def test_what_is_changed_later_counts() -> None:
    """A plan that holds no longer is not compiled: the guards see it."""
    torch._dynamo.reset()
    want, got = built(lambda: Basic(3)), built(lambda: Basic(3))
    convert(got)
    compiled = torch.compile(got, fullgraph=True, backend="aot_eager")
    assert_close({"y": compiled(drawn(SHAPE, 0))}, {"y": want(drawn(SHAPE, 0))})
    for block in (want, got):
        block.relu = nn.Tanh()
    assert_close(step(got, compiled, drawn(SHAPE, 1)), step(want, want, drawn(SHAPE, 1)))
