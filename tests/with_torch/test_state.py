"""The state of torch layers over calls: its law, and faults that only a framework can have."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm as bn  # noqa: E402
import backnorm.torch  # noqa: E402
from dialects.layers import same_law  # noqa: E402


def codes(module: Any) -> list[str]:
    """Return the codes of the findings about its state."""
    return of_state(bn.audit(module))


def of_state(record: Any) -> list[str]:
    """Return the codes of a record's findings about state; torch's own layers have others too."""
    return [found.code for found in record.findings if found.code.startswith("S")]


class Graph(nn.Module):
    """Running statistics that hold a graph, or are cut off from it."""

    def __init__(self, *, detached: bool) -> None:
        super().__init__()
        self.detached = detached
        self.last_mean: Any = None
        self.register_buffer("running_mean", torch.zeros(3))
        self.register_buffer("running_var", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        mean = x.mean(0)
        var = (x - mean).square().mean(0)
        # For those who look on, with its graph: no statistic that runs.
        self.last_mean = mean
        if self.training:
            with torch.set_grad_enabled(not self.detached):
                self.running_mean = 0.9 * self.running_mean + 0.1 * mean
                self.running_var = 0.9 * self.running_var + 0.1 * var
        return (x - mean) / torch.sqrt(var + 1e-5)


class Checkpointed(nn.Module):
    """A layer whose forward pass is made again for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> Any:
        """Return y."""
        return torch.utils.checkpoint.checkpoint(self.norm, x, use_reentrant=False)


@pytest.mark.parametrize("module", [nn.BatchNorm2d, bn.torch.BatchNorm2d])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_the_running_law_is_that_of_torch(module: Any, momentum: float, train: bool) -> None:  # noqa: FBT001
    """Weights, and the unbiased variance, in training and evaluation."""
    record = bn.audit(module(3, momentum=momentum).train(train))
    assert (record.sound, of_state(record)) == (True, [])
    assert record.state == (
        f"running_mean = {1 - momentum:g}*running_mean + {momentum:g}*mean; "
        f"running_var = {1 - momentum:g}*running_var + {momentum:g}*unbiased variance; "
        f"num_batches_tracked grows by 1. Dialects with this law: {same_law('torch')}."
    )


@pytest.mark.parametrize("module", [nn.BatchNorm2d, bn.torch.BatchNorm2d])
def test_the_cumulative_average_is_that_of_torch(module: Any) -> None:
    """momentum=None, in the dialects that have it."""
    record = bn.audit(module(3, momentum=None))
    assert (record.sound, of_state(record)) == (True, [])
    assert record.state == (
        "running_mean = the average over all batches of the mean; "
        "running_var = the average over all batches of the unbiased variance; "
        "num_batches_tracked grows by 1. Dialects with this law: torch."
    )


def test_instance_normalization_averages_over_samples() -> None:
    """The estimator is told though n is the same in each step; the table has batch norm only."""
    record = bn.audit(nn.InstanceNorm1d(3, affine=True, track_running_stats=True))
    assert (record.sound, of_state(record)) == (True, [])
    assert record.state == (
        "running_mean = 0.9*running_mean + 0.1*mean; "
        "running_var = 0.9*running_var + 0.1*unbiased variance."
    )


def test_statistics_that_hold_a_graph_are_found() -> None:
    """Blended without detach they keep all steps; another attribute with a graph is no fault."""
    assert codes(Graph(detached=False)) == ["S01"]
    assert codes(Graph(detached=True)) == []


def test_a_second_update_by_checkpointing_is_found() -> None:
    """The forward pass is made again in the backward pass, and updates again."""
    record = bn.audit(Checkpointed())
    assert record.sound
    assert of_state(record) == ["S03"]
    assert "norm.running_mean changes in the forward pass, and again in" in record.findings[0].got


def test_tracking_switched_off_afterwards_is_found() -> None:
    """Training takes the batch's statistics, and the buffers, which evaluation uses, stay."""
    module = nn.BatchNorm1d(3)
    module.track_running_stats = False
    assert codes(module) == ["S02"]
    assert codes(nn.BatchNorm1d(3, track_running_stats=False)) == []


@pytest.mark.parametrize("train", [True, False])
def test_the_parts_of_a_module_are_followed(train: bool) -> None:  # noqa: FBT001
    """Set to evaluate, a part trains in a training call; a relu behind it hides no law."""
    record = bn.audit(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).train(train))
    assert (record.sound, of_state(record)) == (True, [])
    assert record.state == (
        "0.running_mean = 0.9*0.running_mean + 0.1*mean; "
        "0.running_var = 0.9*0.running_var + 0.1*unbiased variance; "
        f"0.num_batches_tracked grows by 1. Dialects with this law: {same_law('torch')}."
    )
