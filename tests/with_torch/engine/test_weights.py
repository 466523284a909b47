"""Weights of positions, and masked calls as one operator: graphs, transforms, all derivatives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.library import opcheck  # noqa: E402

from backnorm import reference  # noqa: E402
from backnorm import torch as bt  # noqa: E402
from backnorm.errors import DtypeError, RangeError  # noqa: E402
from backnorm.testing.budget import assert_within_budget  # noqa: E402
from backnorm.torch.engine import functional, masked_schema  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

C = 3
EPS = 1e-2
HIDDEN = (float("nan"), float("inf"), 1e38)
GAMMA, BETA = (1.5, -0.5, 2.0), (0.5, 0.0, -1.0)

by_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
by_format = pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
by_kind = pytest.mark.parametrize("kind", ["bool", "equal", "weights"])
by_way = pytest.mark.parametrize(
    "way", [pytest.param("engine", marks=needs_engine), "PyTorch"], indirect=True
)


@pytest.fixture
def way(request: Any, monkeypatch: Any) -> str:
    """By the engine, or by PyTorch's operations as if it had no kernels."""
    if request.param == "PyTorch":
        monkeypatch.setattr(functional.kernels, "available", lambda: False)
    return str(request.param)


def positions(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    """A mask that hides a third and one whole sample, as bool or as weights."""
    rng = torch.Generator().manual_seed(5)
    mask = torch.rand((4, 5, 6), generator=rng) < 2 / 3
    mask[1] = False
    weights = torch.rand((4, 5, 6), generator=rng, dtype=torch.float64) + 0.1
    return {"bool": mask, "equal": mask * 0.3, "weights": mask * weights}[kind].to(
        torch.bool if kind == "bool" else dtype
    )


def batch(dtype: torch.dtype, form: Any = torch.contiguous_format, hidden: float = 0.0) -> Any:
    """Seeded x, residual and dy with a value where nothing counts."""
    rng = torch.Generator().manual_seed(6)
    given = torch.randn((3, 4, C, 5, 6), generator=rng, dtype=torch.float64) + 2
    given = given.masked_fill(~positions("bool")[:, None], hidden).to(dtype)
    return [t.contiguous(memory_format=form) for t in given]


def layer_of(dtype: torch.dtype, **options: Any) -> Any:
    """A layer with parameters unlike 1 and 0."""
    layer = bt.BatchNormAct2d(C, eps=EPS, **options).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(GAMMA))
        layer.bias.copy_(torch.tensor(BETA))
    return layer


def step(layer: Any, given: Any, mask: Any) -> dict[str, Any]:
    """Every result of one step of training, by name."""
    x, residual, dy = given
    leaves = [x.clone().requires_grad_(), residual.clone().requires_grad_(), mask.clone()]
    if mask.is_floating_point():
        leaves[2].requires_grad_()
    y = layer(leaves[0], leaves[1], mask=leaves[2])
    y.backward(dy)
    found = {"y": y.detach(), "dx": leaves[0].grad, "dresidual": leaves[1].grad}
    found |= {"dweight": layer.weight.grad, "dbias": layer.bias.grad, "dmask": leaves[2].grad}
    return found | {name: value.clone() for name, value in layer.state_dict().items()}


def assert_same(got: dict[str, Any], want: dict[str, Any], names: Any = None) -> None:
    """Bitwise, each result by its name."""
    for name in names or want:
        one, other = (t[name].contiguous().reshape(-1).view(torch.uint8) for t in (got, want))
        assert one.equal(other), name


def counted(values: Any, mask: Any) -> Any:
    """The values that count, (count, C), in float64."""
    return values.movedim(1, -1)[mask > 0].double().numpy()


@by_way
@by_dtype
@by_format
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_weighted_results_are_those_of_the_reference(
    way: str, dtype: Any, form: Any, activation: Any
) -> None:
    """y, all gradients, and running statistics with the unbiased variance of numpy.cov."""
    assert way
    if dtype == torch.bfloat16:
        pytest.importorskip("ml_dtypes", reason="ml_dtypes has NumPy's bfloat16")
    weights = positions("weights")
    given = batch(dtype, form)
    layer = layer_of(dtype, activation=activation, momentum=1.0)
    got = step(layer, given, weights)
    x, residual, dy = (counted(t, weights) for t in given)
    w = weights[weights > 0].numpy()
    want = reference.weighted_forward(x, w, np.array(GAMMA), np.array(BETA), eps=EPS)
    y = counted(got["y"], weights)
    assert got["y"].is_contiguous(memory_format=form)
    budget(got["y"], weights, reference.activate(want.y + residual, activation), 6.0)
    dz = dy * reference.activation_gradient(y, activation)
    g: Any = reference.weighted_backward(dz, x, w, np.array(GAMMA), eps=EPS)
    budget(got["dx"], weights, g.dx, 8 * np.abs(dz).max())
    budget(got["dresidual"], weights, dz, 0.0)
    size = np.abs(dz).sum()
    per_channel(got["dweight"], g.dgamma, size)
    per_channel(got["dbias"], g.dbeta, size)
    per_channel(got["dmask"][weights > 0], g.dmask, 8 * np.abs(dz).sum() / w.sum())
    assert not got["dmask"][weights == 0].any()
    per_channel(got["running_mean"], want.mean, 4.0)
    cov = [np.cov(x[:, channel], aweights=w) for channel in range(C)]
    per_channel(got["running_var"], np.array(cov), 4.0)


def budget(got: Any, weights: Any, want: Any, scale: float) -> None:
    """0 where nothing counts, and within the budget where something does."""
    assert not got.movedim(1, -1)[weights == 0].any()
    per_channel(got.movedim(1, -1)[weights > 0], want, scale)


def per_channel(got: Any, want: Any, scale: float) -> None:
    """Within the budget, with the size of the terms."""
    if got.dtype == torch.bfloat16:
        bfloat16 = np.dtype("bfloat16")
        array = got.view(torch.int16).numpy().view(bfloat16)
    else:
        array = got.numpy()
    assert_within_budget(array.reshape(1, -1), want.reshape(1, -1), scale=scale)


@needs_engine
@by_dtype
@by_format
def test_equal_weights_have_the_bits_of_a_mask(dtype: Any, form: Any) -> None:
    """All results but dmask, with exact sums too."""
    for sums in ("float64", "exact"):
        got = step(layer_of(dtype, sums=sums), batch(dtype, form), positions("equal"))
        want = step(layer_of(dtype, sums=sums), batch(dtype, form), positions("bool"))
        assert_same(got, want, [name for name in want if name != "dmask"])


@by_way
@by_kind
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_what_is_hidden_changes_no_bit(way: str, kind: str, training: Any) -> None:
    """NaN, inf and 1e38 in x, the residual and dy."""
    assert way
    want = step(layer_of(torch.float32).train(training), batch(torch.float32), positions(kind))
    want = {name: value for name, value in want.items() if value is not None}
    for hidden in HIDDEN:
        layer = layer_of(torch.float32).train(training)
        got = step(layer, batch(torch.float32, hidden=hidden), positions(kind))
        assert_same(got, want)


def function(**options: Any) -> Any:
    """batch_norm of x, weights, weight, bias and residual."""

    def call(x: Any, mask: Any, weight: Any, bias: Any, residual: Any) -> Any:
        given = {"training": True, "eps": EPS, "residual": residual, **options}
        return bt.batch_norm(x, None, None, weight, bias, mask=mask, **given)

    return call


def leaves() -> list[Any]:
    """x, weights, weight, bias and residual of two samples in float64."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randn((2, 2, C, 4), generator=rng, dtype=torch.float64)
    mask = torch.rand((2, 4), generator=rng, dtype=torch.float64) + 0.1
    parameters = torch.rand((2, C), generator=rng, dtype=torch.float64) + 0.5
    given = [drawn[0], mask, *parameters, drawn[1]]
    return [t.clone().requires_grad_() for t in given]


@by_way
@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_first_and_second_derivatives(way: str, activation: Any, training: Any) -> None:
    """By finite differences of x, the weights, weight, bias and residual, and forward mode."""
    if training:
        call = function(activation=activation)
    else:

        def call(x: Any, mask: Any, weight: Any, bias: Any, residual: Any) -> Any:
            running = torch.ones(2, C, dtype=torch.float64).unbind()
            given = {"eps": EPS, "residual": residual, "activation": activation, "mask": mask}
            return bt.batch_norm(x, *running, weight, bias, **given)

    fast = way == "PyTorch"  # whose derivatives of its own operations take a minute to compare
    assert gradcheck(call, leaves(), check_forward_ad=True, fast_mode=fast)
    assert gradgradcheck(call, leaves(), fast_mode=fast)


@pytest.mark.parametrize("through", ["mean", "variance", "none"])
@by_way
def test_cut_paths(way: str, through: Any) -> None:
    """dx and dmask through one statistic; a further derivative is refused by the engine."""
    x, mask, weight, bias, residual = leaves()
    y = function(through=through)(x, mask, weight, bias, residual)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    dx, dmask = torch.autograd.grad(
        y, (x, mask), dy, create_graph=way == "engine", materialize_grads=True
    )
    g: Any = reference.weighted_backward(
        dy.numpy(),
        x.detach().numpy(),
        mask.detach().numpy(),
        weight.detach().numpy(),
        eps=EPS,
        through=through,
    )
    per_channel(dx.detach(), g.dx, 8.0)
    per_channel(dmask.detach(), g.dmask, 8.0)
    if way == "engine":
        with pytest.raises(RangeError, match="through must be 'both'"):
            torch.autograd.grad(dx.sum(), x)


@by_kind
@needs_engine
def test_hessian(kind: str) -> None:
    """Forward over reverse, and reverse over reverse, of torch.func; vmap inside both."""
    x, mask, *_ = (t.detach() for t in leaves())
    x, mask = x[:, :1], {"bool": mask > 0.3, "equal": (mask > 0.3) * 1.0, "weights": mask}[kind]

    def loss(x: Any) -> Any:
        return bt.batch_norm(x, None, None, training=True, eps=EPS, mask=mask).pow(3).sum()

    want = torch.autograd.functional.hessian(loss, x)
    for found in (torch.func.hessian(loss)(x), torch.func.jacrev(torch.func.jacrev(loss))(x)):
        assert (found - want).abs().max() < 1e-12


@by_kind
@needs_engine
def test_vmap(kind: str) -> None:
    """Of the gradient, over x and over the mask: the bits of a call for each."""
    x, mask = batch(torch.float32)[0], positions(kind, torch.float32)

    def loss(x: Any, mask: Any) -> Any:
        return bt.batch_norm(x, None, None, training=True, mask=mask).pow(3).sum()

    gradient = torch.func.grad(loss)
    leaf = x.clone().requires_grad_()
    (want,) = torch.autograd.grad(loss(leaf, mask), leaf)
    assert gradient(x, mask).equal(want)
    over_x = torch.func.vmap(gradient, (0, None))(torch.stack([x, 2 * x]), mask)
    over_mask = torch.func.vmap(gradient, (None, 1))(x, torch.stack([mask, mask], 1))
    for found in (over_x[0], *over_mask):
        assert found.equal(want)
    assert over_x[1].equal(gradient(2 * x, mask))


class TwoCalls(torch.nn.Module):
    """A layer, and a call of the function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_, self.norm = torch.nn.Parameter(torch.ones(())), layer_of(torch.float32)

    def forward(self, x: Any, residual: Any, mask: Any) -> Any:
        """Return y."""
        y = self.norm(x * self.weight_, residual, mask=mask)
        return bt.batch_norm(y, None, None, training=True, mask=mask)


@by_kind
@needs_engine
def test_a_compiled_model_has_no_break(kind: str) -> None:
    """torch.compile(fullgraph=True): the bits of the plain call, forward, backward and state."""
    models = [TwoCalls()]
    models.append(copy.deepcopy(models[0]))
    compiled = torch.compile(models[1], backend="aot_eager", fullgraph=True)
    results = []
    for model, call in zip(models, (models[0], compiled), strict=True):
        x, residual, dy = batch(torch.float32)
        leaves = [x.clone().requires_grad_(), residual.clone().requires_grad_()]
        mask = positions(kind, torch.float32)
        mask = mask.requires_grad_() if mask.is_floating_point() else mask
        y = call(*leaves, mask)
        y.backward(dy)
        found = {"y": y.detach(), "dx": leaves[0].grad, "dresidual": leaves[1].grad}
        found |= {f"d {name}": p.grad for name, p in model.named_parameters()}
        found |= model.state_dict()
        results.append(found if mask.grad is None else {**found, "dmask": mask.grad})
    assert results[0].keys() == results[1].keys()
    assert_same(results[1], results[0])


@by_kind
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_export(kind: str, training: Any) -> None:
    """A program of PyTorch's own operations alone, for any mask of that shape."""
    x, residual, _ = batch(torch.float32)
    model = layer_of(torch.float32).train(training)
    mask = positions(kind, torch.float32)
    other = (torch.ones_like(mask), residual)
    program = torch.export.export(copy.deepcopy(model), (x, other[1], other[0]))
    assert not [n for n in program.graph.nodes if "backnorm" in str(n.target)]
    got, want = program.module()(x, residual, mask), model(x, residual, mask)
    assert_within_budget(got.detach().numpy(), want.detach().numpy(), channel_axis=1)


@needs_engine
@pytest.mark.sampled(3)
@by_kind
@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_the_operators(kind: str, activation: str, training: Any) -> None:
    """Every check of opcheck, those of AOT with shapes that may change included."""
    x, residual, dy = batch(torch.float32)
    mask = positions(kind, torch.float32)
    mask = mask.requires_grad_() if mask.is_floating_point() else mask
    scalars = (training, EPS, activation, 0.01, "both", "float64")
    parameters = [torch.ones(C, requires_grad=True), torch.zeros(C, requires_grad=True)]
    running = [None, None] if training else [torch.ones(C), torch.ones(C)]
    x, residual = x.requires_grad_(), residual.requires_grad_()
    args = (x, mask, *parameters, *running, residual, *scalars)
    opcheck(masked_schema.FORWARD, args)
    y, statistics = (t.detach() for t in masked_schema.FORWARD(*args))
    kept = None if activation == "identity" else y
    wanted = [True, True, True, True, mask.is_floating_point()]
    given = (dy.requires_grad_(), x, mask, kept, *parameters, statistics, *scalars, wanted)
    opcheck(masked_schema.BACKWARD, given)


@by_way
def test_nothing_counts(way: str) -> None:
    """As an empty batch: zeros, and running statistics stay."""
    assert way
    layer = layer_of(torch.float32)
    got = step(layer, batch(torch.float32, hidden=float("nan")), positions("weights") * 0)
    assert not got["running_mean"].any()
    assert (got["running_var"] == 1).all()
    for name in ("y", "dx", "dresidual", "dweight", "dbias", "dmask"):
        assert not got[name].any(), name


@by_way
def test_refusals(way: str) -> None:
    """Negative and NaN weights, an infinite sum, integers, exact sums; one value as PyTorch."""
    assert way
    layer, x = bt.BatchNorm1d(C, sums="exact"), torch.randn(2, C, 4)
    weights = torch.rand(2, 4) + 0.1
    for wrong in (-1e-9, float("nan"), float("inf")):
        with pytest.raises(RangeError, match="mask must hold weights of 0 or greater"):
            layer(x, mask=weights.index_fill(1, torch.tensor(1), wrong))
    with pytest.raises(RangeError, match="weights that are 0 or equal with sums='exact'"):
        layer(x, mask=weights)
    with pytest.raises(DtypeError, match=r"a float dtype for weights, got torch\.int64"):
        layer(x, mask=torch.ones(2, 4, dtype=torch.int64))
    one = torch.zeros(2, 4)
    one[1, 2] = 0.5
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(x, mask=one)
