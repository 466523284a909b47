"""PyTorch's tools make of a converted model what they make of the stock model.

`make test-architectures WORKERS=0 ARGS=tests/with_torch/architectures/test_tools_on_models.py`
prints the differences that docs/pytorch.md shows.
"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import fx, nn  # noqa: E402
from torch.ao import quantization  # noqa: E402
from torch.ao.quantization import quantize_fx  # noqa: E402

from with_torch.architectures import catalog  # noqa: E402
from with_torch.architectures.comparison import (  # noqa: E402
    TOLERANCES,
    called,
    difference,
    images,
    pair,
    runs_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch.export import ExportedProgram

pytestmark = [
    pytest.mark.skipif(
        not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
    ),
    # The tools and the libraries warn of what will be removed.
    pytest.mark.filterwarnings("ignore::Warning"),
]

FIVE = tuple(
    f"torchvision {name}"
    for name in ("resnet18", "mobilenet_v2", "efficientnet_b0", "vgg11_bn", "densenet121")
)
NAMES = FIVE if runs_all() else FIVE[:2]

every_model = pytest.mark.parametrize("name", NAMES)
in_both_modes = pytest.mark.parametrize("training", [False, True])


@pytest.fixture
def compare(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[torch.Tensor, torch.Tensor, float], None]:
    """Print how far two outputs are apart, and assert that it is not more than a tolerance."""

    def function(want: torch.Tensor, got: torch.Tensor, tolerance: float) -> None:
        error = difference(want, got)
        with capsys.disabled():
            print(f"\n{request.node.name}: {error:.1e}")  # noqa: T201 - a measurement
        assert error <= tolerance

    return function


def ours_in(modules: Any) -> list[str]:
    """Return the classes among those of some modules that are backnorm's."""
    return [str(type(m)) for m in modules if type(m).__module__.startswith("backnorm")]


@pytest.mark.parametrize("dynamo", [False, True])
@every_model
def test_onnxruntime_computes_what_stock_does(name: str, compare: Any, *, dynamo: bool) -> None:
    """Both exporters, in float32; the model has operators of the standard alone."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    stock, converted = pair(name, torch.float32)
    # The older exporter pools to 7x7 only what is a multiple of that, of stock too.
    side = 224 if name.endswith("vgg11_bn") and not dynamo else 64
    x, file = images(9, torch.float32, side), io.BytesIO()
    if dynamo:
        torch.onnx.export(converted, (x,), dynamo=True, verbose=False).save(file)
    else:
        torch.onnx.export(converted, (x,), file, dynamo=False)
    assert b"backnorm::" not in file.getvalue()
    session = runtime.InferenceSession(file.getvalue())
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    compare(stock(x), torch.from_numpy(y), TOLERANCES[torch.float32])


@in_both_modes
@every_model
def test_a_traced_graph_computes_what_stock_does(
    name: str, compare: Any, *, training: bool
) -> None:
    """torch.fx finds every layer. What a model draws is traced as it is in this mode."""
    stock, converted = pair(name, torch.float64, training=training)
    graph = fx.symbolic_trace(converted)
    targets = {node.target for node in graph.graph.nodes if node.op == "call_module"}
    assert len(ours_in(graph.get_submodule(target) for target in targets)) == sum(
        isinstance(layer, nn.BatchNorm2d) for layer in stock.modules()
    )
    x = images(9, torch.float64)
    compare(called(stock, x), called(graph, x), TOLERANCES[torch.float64])
    compare_buffers(stock, graph)


def compare_buffers(stock: nn.Module, got: nn.Module) -> None:
    """Assert that running statistics are the same."""
    buffers = dict(got.named_buffers())
    for key, want in stock.named_buffers():
        assert difference(want, buffers[key]) <= TOLERANCES[torch.float64], key


@in_both_modes
@every_model
def test_quantization_by_fx_is_that_of_stock(name: str, compare: Any, *, training: bool) -> None:
    """After training, and while training with one step: the same layers, the same integers."""
    x, kinds, outputs = images(9, torch.float32), [], []
    for model in pair(name, torch.float32, training=training):
        mapping = quantization.get_default_qconfig_mapping("x86")
        prepare: Any = quantize_fx.prepare_fx
        if training:
            mapping = quantization.get_default_qat_qconfig_mapping("x86")
            prepare = quantize_fx.prepare_qat_fx
        prepared = prepare(model, mapping, (x,))
        loss = called(prepared, x).square().sum()
        if training:
            loss.backward()
            torch.optim.SGD(prepared.parameters(), lr=1e-3).step()
        quantized = quantize_fx.convert_fx(prepared.eval())
        kinds.append([type(module) for module in quantized.modules()][1:])
        outputs.append(quantized(x))
    assert kinds[0] == kinds[1]
    assert not {nn.Conv2d, nn.Linear, nn.BatchNorm2d} & set(kinds[0])
    compare(*outputs, 0.0)


def chains(model: nn.Module) -> list[list[str]]:
    """Return the names of convolutions with the normalization, and ReLU, that alone follow."""
    nodes = fx.symbolic_trace(model).graph.nodes
    calls = [node.target for node in nodes if node.op == "call_module"]

    def follower(node: fx.Node, kind: type[nn.Module]) -> fx.Node | None:
        for user in node.users:
            alone = len(node.users) == 1 and user.op == "call_module"
            if alone and calls.count(user.target) == 1:
                return user if type(model.get_submodule(user.target)) is kind else None
        return None

    found = []
    for node in nodes:
        if node.target in calls and isinstance(model.get_submodule(node.target), nn.Conv2d):
            norm = follower(node, nn.BatchNorm2d)
            act = norm and follower(norm, nn.ReLU)
            found.append([str(part.target) for part in (node, norm, act) if part])
    return [names for names in found if len(names) > 1]


@in_both_modes
@every_model
def test_fuse_modules_folds_what_it_folds_of_stock(
    name: str, compare: Any, *, training: bool
) -> None:
    """All convolutions with a normalization, and with the ReLU that alone follows."""
    fuse = quantization.fuse_modules_qat if training else quantization.fuse_modules
    stock, converted = pair(name, torch.float64, training=training)
    names = chains(stock)
    assert len(names) >= 8
    models = [fuse(model, names) for model in (stock, converted)]
    kinds = [
        [type(model.get_submodule(part)) for chain in names for part in chain] for model in models
    ]
    assert kinds[0] == kinds[1]
    x = images(9, torch.float64)
    compare(*(called(model, x) for model in models), TOLERANCES[torch.float64])


@in_both_modes
@every_model
def test_an_exported_program_has_operators_of_pytorch(
    name: str, compare: Any, *, training: bool
) -> None:
    """Before and after its decompositions."""
    stock, converted = pair(name, torch.float64, training=training)
    x = images(9, torch.float64)
    program = torch.export.export(converted, (x,))
    decomposed = program.run_decompositions()
    for one in (program, decomposed):
        assert [node for node in one.graph.nodes if "backnorm" in str(node.target)] == []
    compare(called(stock, x), called(decomposed.module(), x), TOLERANCES[torch.float64])


WITHOUT_BACKNORM = """
import sys

import torch

sys.modules["backnorm"] = None  # an import of it raises
program, x, y = sys.argv[1:]
torch.save(torch.export.load(program).module()(torch.load(x)), y)
assert not [name for name in sys.modules if name.startswith("backnorm.")]
"""


@every_model
def test_a_saved_program_runs_without_backnorm(name: str, compare: Any, tmp_path: Path) -> None:
    """In a process that cannot import it."""
    stock, converted = pair(name, torch.float32)
    x, files = images(9, torch.float32), [tmp_path / part for part in ("model.pt2", "x", "y")]
    program: ExportedProgram = torch.export.export(converted, (x,))
    torch.export.save(program, files[0])
    torch.save(x, files[1])
    subprocess.run([sys.executable, "-I", "-c", WITHOUT_BACKNORM, *files], check=True)
    files[0].unlink()
    compare(stock(x), torch.load(files[2]), TOLERANCES[torch.float32])


EAGER = [(name, "xnnpack", False) for name in NAMES]
SLOW = [(FIVE[0], "xnnpack", True), (FIVE[1], "x86_inductor", True)] if runs_all() else []
"""While training, where torchao searches for its patterns for a minute."""


@pytest.mark.parametrize(("name", "backend", "training"), EAGER + SLOW)
def test_quantization_of_a_program_is_that_of_stock(
    name: str, backend: str, compare: Any, *, training: bool
) -> None:
    """torchao folds every convolution and normalization: the same graph, the same integers."""
    pt2e = pytest.importorskip("torchao.quantization.pt2e", reason="torchao is not installed")
    from torchao.quantization.pt2e import quantize_pt2e  # noqa: PLC0415 - where it is installed

    x, codes, outputs = images(9, torch.float32), [], []
    for model in pair(name, torch.float32, training=training):
        prepare = quantize_pt2e.prepare_qat_pt2e if training else quantize_pt2e.prepare_pt2e
        program = torch.export.export(model, (x,)).module()
        prepared = prepare(program, quantizer(backend, training=training))
        called(prepared, x)
        quantized = quantize_pt2e.convert_pt2e(prepared)
        pt2e.move_exported_model_to_eval(quantized)
        codes.append(quantized.code)
        outputs.append(quantized(x))
    assert codes[0] == codes[1]
    assert "dequantize" in codes[0]
    # In torchvision's densenet normalizations come before their convolutions, and stay.
    assert "batch_norm" not in codes[0] or name.endswith("densenet121")
    compare(*outputs, 0.0)


def quantizer(backend: str, *, training: bool) -> Any:
    """Return one of torchao's quantizers; that for Intel refuses torchvision's resnet18."""
    if backend == "xnnpack":
        from torchao.testing.pt2e import _xnnpack_quantizer  # noqa: PLC0415 - where installed

        config = _xnnpack_quantizer.get_symmetric_quantization_config(
            is_per_channel=True, is_qat=training
        )
        return _xnnpack_quantizer.XNNPACKQuantizer().set_global(config)
    from torchao.quantization.pt2e.quantizer import (  # noqa: PLC0415 - where installed
        x86_inductor_quantizer,
    )

    config = x86_inductor_quantizer.get_default_x86_inductor_quantization_config(is_qat=training)
    return x86_inductor_quantizer.X86InductorQuantizer().set_global(config)
