"""PyTorch's own tools take models with the engine's layers, converted or built by hand."""

from __future__ import annotations

import io
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import fx, nn  # noqa: E402
from torch.ao import quantization  # noqa: E402
from torch.ao.quantization import quantize_fx  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.errors import NotSupportedError  # noqa: E402
from backnorm.torch import conversion_report, convert, revert, unfused  # noqa: E402
from with_torch.conversion.blocks import Basic  # noqa: E402
from with_torch.conversion.models import assert_close, assert_same, built, drawn  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

# The tools warn of themselves: that they are deprecated, or what their dependencies will change.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")

SHAPE = (2, 3, 8, 8)


class ByHand(nn.Module):
    """Layers built of our classes: plain, with an activation, with a residual, and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.plain = nn.Conv2d(3, 3, 1), ours.BatchNorm2d(3)
        self.act = ours.BatchNormAct2d(3, activation="leaky_relu", negative_slope=0.2)
        self.adds, self.frozen = ours.BatchNormAct2d(3), ours.FrozenBatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = self.plain(self.conv(x))
        x = self.adds(self.act(x), residual=x)
        return ours.batch_norm(self.frozen(x), None, None, training=True, activation="relu")


def stock() -> nn.Module:
    """Return a Sequential that ends in a residual block."""
    block = Basic(3)
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), block)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "converted": lambda: convert(stock()),
    "not fused": lambda: convert(stock(), fuse=False),
    "by hand": ByHand,
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_traced_graph_computes_the_same(name: str, *, training: bool) -> None:
    """torch.fx keeps each layer as one call, and the mode is that of the call."""
    model = built(MODELS[name])
    graph = fx.symbolic_trace(model)
    called = [graph.get_submodule(n.target) for n in graph.graph.nodes if n.op == "call_module"]
    norms = [layer for layer in called if type(layer).__module__.startswith("backnorm")]
    assert len(norms) >= 3
    for one in (model, graph):
        one.train(training)
    x = drawn(SHAPE, 0)
    assert_close({"y": deepcopy(graph)(x)}, {"y": deepcopy(model)(x)})


def test_a_layer_by_itself_cannot_be_traced() -> None:
    """Its call would have no name."""
    with pytest.raises(NotSupportedError, match=r"^torch\.fx cannot trace BatchNorm2d of backnorm"):
        fx.symbolic_trace(ours.BatchNorm2d(3))


@pytest.mark.parametrize("name", MODELS)
def test_scripts_are_refused_with_the_way_out(name: str) -> None:
    """The message names revert, and after that PyTorch takes a converted model."""
    model = built(MODELS[name])
    with pytest.raises(NotSupportedError, match=r"backnorm\.torch\.revert\(model\)"):
        torch.jit.script(model)
    if name != "by hand":
        revert(model)
        torch.jit.script(model)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_program_needs_no_backnorm(name: str, *, training: bool, strict: bool) -> None:
    """Before and after its decompositions it has PyTorch's operators alone."""
    model = built(MODELS[name]).train(training)
    x = drawn(SHAPE, 0)
    program = torch.export.export(deepcopy(model), (x,), strict=strict)
    for one in (program, program.run_decompositions()):
        assert [n for n in one.graph.nodes if "backnorm" in str(n.target)] == []
    assert_close({"y": program.module()(x)}, {"y": deepcopy(model)(x)})


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["converted", "not fused"])
def test_an_exported_program_names_the_modules_of_stock(name: str, *, training: bool) -> None:
    """torchao finds convolutions, normalizations and activations by the classes it names."""
    model = built(MODELS[name])
    kinds = [type(module) for module in model.modules()]
    programs = [
        torch.export.export(one.train(training), (drawn(SHAPE, 0),))
        for one in (model, built(stock))
    ]
    assert kinds == [type(module) for module in model.modules()]
    got, want = (
        [(node.name, node.meta.get("nn_module_stack")) for node in program.graph.nodes]
        for program in programs
    )
    assert got == want


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_onnx_models_compute_the_same(name: str, *, dynamo: bool) -> None:
    """Both exporters write a model that onnxruntime runs."""
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed; make test-architectures has it"
    )
    pytest.importorskip(
        "onnxscript", reason="onnxscript is not installed; make test-architectures has it"
    )
    model = built(MODELS[name]).float().eval()
    x = drawn(SHAPE, 0).float()
    file = io.BytesIO()
    if dynamo:
        torch.onnx.export(model, (x,), dynamo=True, verbose=False).save(file)
    else:
        torch.onnx.export(model, (x,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue())
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layers", ["converted", "by hand"])
def test_fuse_modules_folds_our_layers(layers: str, *, training: bool) -> None:
    """As it does PyTorch's, for quantization after training and while training."""
    want = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    got = deepcopy(want)
    if layers == "converted":
        convert(got)
    else:
        got[1] = ours.BatchNorm2d(4).double()
        got[1].load_state_dict(want[1].state_dict())
    names, x = ["0", "1", "2"], drawn(SHAPE, 0)
    fuse = quantization.fuse_modules_qat if training else quantization.fuse_modules
    pair = [fuse(model.train(training), names) for model in (got, want)]
    assert [type(part) for part in pair[0]] == [type(part) for part in pair[1]]
    assert_close(*({"y": model(x)} for model in pair))


@pytest.mark.parametrize("training", [False, True])
def test_quantization_by_fx_is_that_of_the_stock_model(*, training: bool) -> None:
    """The same observers in the same places, the same integers, the same output."""
    want = built(stock).float()
    got, x = convert(deepcopy(want)), drawn(SHAPE, 0).float()
    results = []
    for model in (got, want):
        mapping = quantization.get_default_qconfig_mapping("x86")
        prepare: Any = quantize_fx.prepare_fx
        if training:
            mapping = quantization.get_default_qat_qconfig_mapping("x86")
            prepare = quantize_fx.prepare_qat_fx
        prepared = prepare(model.train(training), mapping, (x,))
        prepared(x)
        results.append(quantize_fx.convert_fx(prepared.eval())(x))
    assert torch.equal(*results)


def test_a_layer_that_quantization_met_is_wholly_stock() -> None:
    """Nothing of the conversion stays in it, so a pickle of it needs no backnorm."""
    sequence = convert(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))).eval()
    mapping = quantization.get_default_qconfig_mapping("x86")
    norm = sequence[1]
    quantize_fx.prepare_fx(sequence, mapping, (drawn(SHAPE, 0).float(),))
    assert type(norm) is nn.BatchNorm2d
    assert "_backnorm_converted" not in vars(norm)


def test_an_unfused_layer_computes_the_same() -> None:
    """It shares parameters and buffers, and PyTorch's tools know its parts."""
    for activation in ("identity", "relu", "relu6", "leaky_relu"):
        layer = built(lambda act=activation: ours.BatchNormAct2d(3, activation=act))
        parts = unfused(layer)
        assert parts[0].weight is layer.weight
        assert parts[0].running_mean is layer.running_mean
        assert layer.eval() is layer
        assert not unfused(layer).training
        layer.train()
        assert_same(nn.Sequential(*parts), nn.Sequential(layer), SHAPE)
        assert type(nn.SyncBatchNorm.convert_sync_batchnorm(parts)[0]) is nn.SyncBatchNorm


def test_no_tool_takes_a_layer_with_an_activation_for_another() -> None:
    """It is not a subclass of what PyTorch's converters replace."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), ours.BatchNormAct2d(3))
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(synchronized[1]) is ours.BatchNormAct2d
    assert not isinstance(model[1], nn.BatchNorm2d)
    assert conversion_report(convert(model)).entries[0].why == "it is backnorm's own"
