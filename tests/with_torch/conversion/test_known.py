"""Known relatives of PyTorch's layers are converted; anything else of their names is not."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import conversion_report, convert, revert  # noqa: E402
from backnorm.torch.conversion import known  # noqa: E402
from with_torch.conversion.models import assert_same, built  # noqa: E402

SHAPE = (2, 3, 4, 5)


class BatchNormAct2d(nn.BatchNorm2d):
    """A normalization with parts as timm has them."""

    def __init__(self, act: nn.Module, drop: nn.Module | None = None) -> None:
        super().__init__(3)
        self.drop, self.act = drop or nn.Identity(), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return]


class Shifted(BatchNormAct2d):
    """Has the name and computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x) + 1.0


class FrozenBatchNorm2d(nn.Module):
    """Constants, in the arithmetic of torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-5
        for name, value in {"weight": 2.0, "bias": 1.0, "running_mean": 0.5}.items():
            self.register_buffer(name, torch.full((3,), value))
        self.register_buffer("running_var", torch.tensor([0.5, 1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the classes above for those of the libraries."""
    table = {
        BatchNormAct2d: "timm.layers.norm_act.BatchNormAct2d",
        Shifted: "timm.layers.norm_act.BatchNormAct2d",
        FrozenBatchNorm2d: "torchvision.ops.misc.FrozenBatchNorm2d",
    }
    others = {
        f"{cls.__module__}.{cls.__qualname__}": known.KNOWN[name]._replace(
            forwards=(known._digest(cls),)
        )
        for cls, name in table.items()
    }
    monkeypatch.setattr(known, "KNOWN", {**known.KNOWN, **others})


ACTS: dict[str, tuple[nn.Module, nn.Module | None, str]] = {
    "relu": (nn.ReLU(inplace=True), None, "relu"),
    "leaky_relu": (nn.LeakyReLU(0.2), None, "leaky_relu"),
    "another": (nn.SiLU(), None, ""),
    "nothing": (nn.Identity(), None, ""),
    "dropout between": (nn.ReLU(), nn.Dropout(0.0), ""),
}


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", ACTS)
def test_it_computes_the_same(name: str) -> None:
    """With its activation in the same pass where the engine has it; copies and pickles too."""
    act, drop, fused = ACTS[name]
    want = built(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), BatchNormAct2d(act, drop)))
    got = convert(deepcopy(want))
    (entry,) = conversion_report(got).entries
    assert (entry.converted, entry.fused) == (True, fused)
    assert isinstance(got[1], BatchNormAct2d)
    assert_same(got, want, SHAPE)
    assert_same(pickle.loads(pickle.dumps(got)), want, SHAPE)  # noqa: S301 - ours
    got[1].act, want[1].act = nn.Tanh(), nn.Tanh()
    assert_same(got, want, SHAPE)
    assert revert(got) == 1
    assert type(got[1]) is BatchNormAct2d


@pytest.mark.usefixtures("names")
def test_constants_are_computed_by_the_engine() -> None:
    """The result has rounding in other places, and the same gradient."""
    want = nn.Sequential(nn.Conv2d(3, 3, 1), FrozenBatchNorm2d()).double()
    got = convert(deepcopy(want))
    assert conversion_report(got).converted == 1
    assert_same(got, want, SHAPE)


@pytest.mark.usefixtures("names")
def test_hooks_of_the_layer_are_not_called_by_the_comparison() -> None:
    """They belong to the user."""
    calls: list[Any] = []
    model = nn.Sequential(BatchNormAct2d(nn.ReLU()))
    model[0].register_forward_hook(lambda *_: calls.append(1))
    model[0].act.register_forward_pre_hook(lambda *_: calls.append(2))
    state = deepcopy(model.state_dict())
    random = torch.get_rng_state()
    convert(model)
    assert calls == []
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.usefixtures("names")
def test_the_right_name_with_another_result_is_left_alone() -> None:
    """The code was read, and yet the layer does not compute what its class does."""
    (entry,) = conversion_report(convert(nn.Sequential(Shifted(nn.ReLU())))).entries
    assert (entry.converted, entry.why) == (False, "it does not compute what its class does")


@pytest.mark.usefixtures("names")
def test_another_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forward has other code."""
    monkeypatch.setattr(BatchNormAct2d, "forward", lambda self, x: self.act(x))
    known._digest.cache_clear()
    (entry,) = conversion_report(convert(nn.Sequential(BatchNormAct2d(nn.ReLU())))).entries
    known._digest.cache_clear()
    assert entry.why == "this version of its class may compute something else"


@pytest.mark.usefixtures("names")
def test_a_layer_without_values_is_left_alone() -> None:
    """There is nothing to compare."""
    model = nn.Sequential(BatchNormAct2d(nn.ReLU())).to("meta")
    (entry,) = conversion_report(convert(model)).entries
    assert entry.why == "it has no values yet, so that it cannot be compared with the engine"
