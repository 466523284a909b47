"""A whole model: each fault is found in its place, a sound model has none, and none is changed."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402


class Block(nn.Module):
    """A residual block, with relu in place and one layer used twice."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.first, self.second = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.bn, self.relu = nn.BatchNorm2d(6), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.relu(self.bn(self.first(x)))
        return self.relu(self.bn(self.second(y)) + x)


class Net(nn.Module):
    """A small residual network, with a layer that is never called."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.block, self.norm = Block(), nn.GroupNorm(2, 6)
        self.never, self.head = nn.BatchNorm2d(6), nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(torch.relu(self.bn(self.stem(x))))
        return self.head(self.norm(y).mean((2, 3)) * 3)


class Wrapper(nn.Module):
    """Computes a layer's statistics without gradients."""

    def __init__(self, bn: nn.BatchNorm2d) -> None:
        """Make its parts."""
        super().__init__()
        self.bn = bn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        with torch.no_grad():
            mean, var = (
                x.mean((0, 2, 3), keepdim=True),
                x.var((0, 2, 3), correction=0, keepdim=True),
            )
            self.bn(x)
        weight, bias = (p.reshape(1, -1, 1, 1) for p in (self.bn.weight, self.bn.bias))
        return (x - mean) / (var + self.bn.eps).sqrt() * weight + bias


def net() -> Net:
    """A network whose gamma and beta have been trained a little."""
    torch.manual_seed(0)
    made = Net()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bn" in name or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def x() -> torch.Tensor:
    """Eight images."""
    return torch.randn(8, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def cut_by_hook(model: Net) -> None:
    """Add to the gradient that leaves."""
    model.bn.register_full_backward_hook(lambda _, dx, __: (dx[0] + dx[0].mean(0) + 0.01,))


def detached_by_hook(model: Net) -> None:
    """Detach the input."""
    model.bn.register_forward_pre_hook(lambda _, given: (given[0].detach(),))


def tiny(model: Net) -> None:
    """Make eps larger than every variance."""
    model.bn.eps = 10.0


def far(model: Net) -> None:
    """Move the running means."""
    with torch.no_grad():
        model.bn.running_mean.fill_(30.0)


def replaced(model: Net, layer: nn.Module) -> None:
    """Put another layer in place."""
    model.bn = layer


FAULTS = {
    "left in eval": (lambda m: m.bn.eval(), "bn", "M01"),
    "only affine frozen": (lambda m: m.bn.requires_grad_(requires_grad=False), "bn", "M02"),
    "no running statistics": (
        lambda m: replaced(m, nn.BatchNorm2d(6, track_running_stats=False)),
        "bn",
        "M03",
    ),
    "statistics that stay": (lambda m: replaced(m, nn.BatchNorm2d(6, momentum=0.0)), "bn", "M03"),
    "gradient changed by a hook": (cut_by_hook, "bn", "M04"),
    "statistics cut by a wrapper": (lambda m: replaced(m, Wrapper(m.bn)), "bn.bn", "M05"),
    "input detached by a hook": (detached_by_hook, "bn", "M05"),
    "variance below eps": (tiny, "bn", "M07"),
    "running statistics far off": (far, "bn", "M08"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_in_its_place(name: str) -> None:
    """The layer has the finding, and no other layer has any."""
    break_it, layer, code = FAULTS[name]
    model = net()
    break_it(model)
    found = {r.target.split()[1]: [f.code for f in r.findings] for r in audit_model(model, x())}
    assert found.pop(layer) == [code]
    assert not any(found.values()), found


def test_one_value_per_channel_is_found_and_the_rest_audited() -> None:
    """Where PyTorch refuses to go on, the audit does, and says what PyTorch raised."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 5), nn.LayerNorm(5))
    first, second = audit_model(model, torch.ones(1, 4))
    assert [f.code for f in first.findings] == ["G20", "M06"]
    assert first.findings[0].got.startswith("ValueError: Expected more than 1 value per channel")
    assert second.clean
    assert second.through == "both"


@pytest.mark.parametrize("train", [True, False])
def test_a_sound_model_has_no_findings(*, train: bool) -> None:
    """With relu in place, a layer used twice, one never called; training and evaluation."""
    model = net()
    for _ in range(60):
        model(x())
    records = {r.target: r for r in audit_model(model.train(train), x())}
    assert set(records) == {f"model {n}" for n in ("bn", "block.bn", "norm", "head.1")}
    for record in records.values():
        assert record.clean, record
    assert records["model bn"].through == ("both" if train else "none")
    assert records["model block.bn"].notes == ("Called 2 times in one pass.",)


def test_a_frozen_layer_is_no_accident_if_all_of_it_is() -> None:
    """Evaluation and no parameter that trains: a note, no finding."""
    model = net()
    model.bn.eval().requires_grad_(requires_grad=False)
    first = audit_model(model, x())[0]
    assert first.clean
    assert first.notes == ("It is frozen: in evaluation mode, with no parameter that trains.",)


def test_nothing_is_changed() -> None:
    """State, gradients, modes, hooks, classes, attributes and random numbers are as before."""
    model = net()
    cut_by_hook(model)
    model.block.bn.eval()
    model(x()).sum().backward()
    model.seen = [1, 2]
    before = copy.deepcopy(model.state_dict())
    gradients = {
        n: (p.grad, None if p.grad is None else p.grad.clone()) for n, p in model.named_parameters()
    }
    modules = {n: (type(m), m.training, dict(vars(m))) for n, m in model.named_modules()}
    hooks = {n: list(m._backward_hooks) for n, m in model.named_modules()}
    numbers = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    audit_model(model, x())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, parameter in model.named_parameters():
        same, values = gradients[name]
        assert parameter.grad is same
        assert values is None or torch.equal(parameter.grad, values)
    for name, module in model.named_modules():
        cls, training, attributes = modules[name]
        assert (type(module), module.training) == (cls, training)
        assert vars(module).keys() == attributes.keys()
        assert all(vars(module)[key] is value for key, value in attributes.items())
        assert list(module._backward_hooks) == hooks[name]
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert (np.random.get_state()[1] == numbers[1]).all()  # noqa: NPY002
    assert random.getstate() == numbers[2]
