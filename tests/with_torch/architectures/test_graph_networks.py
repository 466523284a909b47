"""PyTorch Geometric wraps a normalization of torch.nn: the layer inside is converted."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.torch import conversion_report, convert  # noqa: E402
from with_torch.conversion.models import assert_same, built  # noqa: E402

# Of what PyTorch will remove.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")

NODES = 7
EDGES = [[0, 1, 2, 3, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6, 0, 3]]


class GraphNetwork(nn.Module):
    """Two convolutions on one graph, each with the normalization of PyTorch Geometric."""

    def __init__(self, geometric: Any) -> None:
        super().__init__()
        self.first, self.second = geometric.GCNConv(3, 4), geometric.GCNConv(4, 2)
        self.norm = geometric.BatchNorm(4)
        self.last = geometric.BatchNorm(2, allow_single_element=True)
        self.register_buffer("edges", torch.tensor(EDGES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y of the values at the nodes."""
        x = self.norm(self.first(x, self.edges)).relu()
        return self.last(self.second(x, self.edges))


@pytest.mark.parametrize("fuse", [False, True])
def test_normalizations_of_pytorch_geometric_train_as_stock(*, fuse: bool) -> None:
    """The layer in the wrapper is ours, and a single node is normalized as before."""
    geometric = pytest.importorskip(
        "torch_geometric.nn",
        reason="PyTorch Geometric is not installed; make test-architectures has it",
    )
    stock = built(lambda: GraphNetwork(geometric))
    model: Any = convert(deepcopy(stock), fuse=fuse)
    assert conversion_report(model).converted == 2
    assert {type(norm.module) for norm in (model.norm, model.last)} == {ours.BatchNorm1d}
    assert_same(model, stock, (NODES, 3))
    one = torch.full((1, 2), 3.0, dtype=torch.float64)
    assert torch.equal(model.train().last(one), stock.train().last(one))
