"""Feature graphs that timm and torchvision make of a model, converted before and after."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.torch import conversion_report, convert  # noqa: E402
from with_torch.architectures import catalog  # noqa: E402
from with_torch.architectures.comparison import assert_close, images, trained  # noqa: E402

if TYPE_CHECKING:
    from torch import nn

pytestmark = [
    pytest.mark.skipif(
        not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
    ),
    # The libraries warn of what PyTorch will remove.
    pytest.mark.filterwarnings("ignore::Warning"),
]


@pytest.mark.parametrize("fuse", [False, True])
def test_features_are_extracted_from_a_converted_model(*, fuse: bool) -> None:
    """torchvision traces it: the normalization before an activation gives what it gave."""
    name = "torchvision resnet18"
    stock, converted = catalog.model(name), convert(catalog.model(name), fuse=fuse)
    from torchvision.models.feature_extraction import (  # noqa: PLC0415 - where it is installed
        create_feature_extractor,
    )

    nodes, x = ["bn1", "layer1.0.bn2", "layer2.1.relu_1", "flatten"], catalog.inputs(name, stock)
    want, got = (create_feature_extractor(model, nodes).eval()(x) for model in (stock, converted))
    for node in nodes:
        assert_close(node, want[node], got[node])


def graph_of(name: str) -> nn.Module:
    """Return timm's graph of the features of a model."""
    import timm  # noqa: PLC0415 - where it is installed

    torch.manual_seed(0)
    options: dict[str, Any] = {"features_only": True, "feature_cfg": {"feature_cls": "fx"}}
    return timm.create_model(name, **options).double()


@pytest.mark.parametrize("name", ["test_resnet", "efficientnet_b0"])
@pytest.mark.parametrize("first", ["graph", "conversion"])
def test_feature_graphs_of_timm_train_as_stock(name: str, first: str) -> None:
    """A converted graph, and the graph of a converted model."""
    from timm.models import FeatureGraphNet  # noqa: PLC0415 - where it is installed

    stock = graph_of(name)
    if first == "graph":
        converted = convert(deepcopy(stock))
        report = conversion_report(converted)
        assert report.converted == len(report.entries) > 0, str(report)
    else:
        indices = tuple(stock.feature_info.out_indices)
        model = convert(catalog.model(f"timm {name}"))
        converted = FeatureGraphNet(model, indices)
        converted.load_state_dict(stock.state_dict())
    x = images(9, torch.float64)
    want, got = trained(stock, x), trained(converted, x)
    assert want.keys() == got.keys()
    for key, value in want.items():
        assert_close(key, value, got[key])
    for at, pair in enumerate(zip(stock.eval()(x), converted.eval()(x), strict=True)):
        assert_close(f"feature {at}", *pair)
