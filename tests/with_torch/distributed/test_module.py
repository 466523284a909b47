"""SyncBatchNorm in one process, and the conversion to it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from backnorm import torch as bt  # noqa: E402
from backnorm.errors import NotSupportedError, UnknownNameError  # noqa: E402
from backnorm.torch import SyncBatchNorm, batch_norm  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402


class Own(nn.BatchNorm2d):
    """A layer that does something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x).relu()


def model() -> nn.Sequential:
    """Return layers of all kinds."""
    return nn.Sequential(
        nn.BatchNorm1d(4, eps=1e-3),
        nn.BatchNorm2d(4, affine=False),
        bt.BatchNorm3d(4, through="mean"),
        bt.BatchNormAct2d(4, activation="leaky_relu", negative_slope=0.2),
        nn.SyncBatchNorm(4, momentum=None),
        nn.InstanceNorm1d(4),
        nn.GroupNorm(2, 4),
    )


def test_it_is_as_the_layer_of_pytorch() -> None:
    """Arguments and state; it derives from the class that tools look for."""
    ours, stock = SyncBatchNorm(4, 1e-3, None), nn.SyncBatchNorm(4, 1e-3, None)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    ours.load_state_dict(stock.state_dict())
    assert isinstance(ours, nn.modules.batchnorm._BatchNorm)
    assert not isinstance(ours, nn.SyncBatchNorm)
    assert (ours.eps, ours.momentum, ours.process_group) == (1e-3, None, None)


def test_it_says_what_it_is() -> None:
    """What is not the default is shown."""
    assert repr(SyncBatchNorm(2)) == repr(nn.SyncBatchNorm(2))
    layer = SyncBatchNorm(2, activation="leaky_relu", reduce_parameters=True)
    layer.through = "mean"
    assert repr(layer).endswith(
        ", activation=leaky_relu, negative_slope=0.01, through=mean, reduce_parameters=True)"
    )
    with pytest.raises(UnknownNameError, match="activation must be one of"):
        SyncBatchNorm(2, activation="gelu")  # type: ignore[arg-type]


@needs_engine
def test_one_process_takes_exact_sums() -> None:
    """Without a group it computes as the function does."""
    x = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0)) + 100.0
    layer = SyncBatchNorm(3, activation="relu")
    mean, var = torch.zeros(3), torch.ones(3)
    want = batch_norm(
        x,
        mean,
        var,
        layer.weight,
        layer.bias,
        training=True,
        activation="relu",
        residual=x,
        sums="exact",
    )
    assert torch.equal(layer(x, x), want)
    assert torch.equal(layer.running_var, var)
    assert layer.num_batches_tracked == 1
    evaluated = layer.eval()(x)
    assert torch.equal(
        evaluated,
        batch_norm(x, mean, var, layer.weight, layer.bias, activation="relu", sums="exact"),
    )


def test_conversion_keeps_objects() -> None:
    """Layers, parameters, hooks, activations and cut gradients stay; other layers too."""
    before = model()
    layers, parameters = list(before), list(before.parameters())
    state = copy.deepcopy(before.state_dict())
    called: list[Any] = []
    before[0].register_forward_hook(lambda *_: called.append(1))
    after = SyncBatchNorm.convert_sync_batchnorm(before)
    assert after is before
    assert all(a is b for a, b in zip(after, layers, strict=True))
    assert all(a is b for a, b in zip(after.parameters(), parameters, strict=True))
    assert [type(layer) for layer in after] == [SyncBatchNorm] * 5 + [
        nn.InstanceNorm1d,
        nn.GroupNorm,
    ]
    assert (after[3].activation, after[3].negative_slope) == ("leaky_relu", 0.2)
    assert [layer.through for layer in after[:5]] == ["both", "both", "mean", "both", "both"]
    assert (after[0].eps, after[1].affine, after[4].momentum) == (1e-3, False, None)
    assert all(torch.equal(v, state[k]) for k, v in after.state_dict().items())
    after[0](torch.ones(2, 4))
    assert called == [1]


def test_conversion_of_a_layer_and_again() -> None:
    """A layer alone is converted; a second conversion changes the group."""
    layer = SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2))
    assert type(layer) is SyncBatchNorm
    group: Any = object()
    assert SyncBatchNorm.convert_sync_batchnorm(layer, group) is layer
    assert layer.process_group is group


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Own(2), "Own cannot become a SyncBatchNorm: its class defines its forward"),
        (
            lambda: bt.GhostBatchNorm2d(2),
            "GhostBatchNorm2d cannot become a SyncBatchNorm: its class defines its forward",
        ),
        (lambda: bt.BatchRenorm2d(2), "BatchRenorm2d cannot become a SyncBatchNorm"),
        (nn.LazyBatchNorm2d, "it has no parameters yet"),
        (lambda: parametrizations.weight_norm(nn.BatchNorm2d(2), dim=None), "are parametrized"),
    ],
    ids=["own forward", "ghost", "renorm", "lazy", "parametrized"],
)
def test_what_cannot_be_converted(layer: Any, message: str) -> None:
    """The model stays as it was."""
    before = nn.Sequential(nn.BatchNorm2d(2), layer())
    with pytest.raises(NotSupportedError, match=message):
        SyncBatchNorm.convert_sync_batchnorm(before)
    assert type(before[0]) is nn.BatchNorm2d


def test_copies_and_pickles() -> None:
    """A copy is a layer as it was built."""
    layer = SyncBatchNorm(2, activation="relu")
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301 - our own
        assert repr(made) == repr(layer)


def test_backnorms_conversion_leaves_it_alone() -> None:
    """It is the engine's already."""
    layer = SyncBatchNorm(2)
    (entry,) = bt.conversion_report(bt.convert(nn.Sequential(layer))).entries
    assert (type(layer), entry.why) == (SyncBatchNorm, "it is backnorm's own")
