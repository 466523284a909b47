"""Layers of a model that no gradient passes, and running statistics that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.record import Record


class Residual(nn.Module):
    """A block whose last gamma starts at 0, or whose factor does."""

    def __init__(self, *, factor: bool = False) -> None:
        """Make its parts."""
        super().__init__()
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.factor = nn.Parameter(torch.tensor(0.0 if factor else 1.0))
        if not factor:
            nn.init.zeros_(self.bn2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = torch.relu(self.bn1(self.first(x)))
        return torch.relu(x + self.factor * self.bn2(self.second(y)))


def net(middle: nn.Module | None = None) -> nn.Sequential:
    """A small network; something may stand in its middle."""
    torch.manual_seed(0)
    between = nn.ReLU() if middle is None else middle
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), between, nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
    )


def x() -> torch.Tensor:
    """Eight images."""
    return torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def audited(model: nn.Module, **options: Any) -> dict[str, Record]:
    """Records by the names of the layers."""
    return {r.target.partition(" ")[2]: r for r in audit_model(model, x(), **options)}


def codes(records: dict[str, Record]) -> dict[str, list[str]]:
    """Codes of the findings of those layers that have any."""
    found = {name: [f.code for f in record.findings] for name, record in records.items()}
    return {name: of_layer for name, of_layer in found.items() if of_layer}


ZEROS = {
    "the last gamma of a block": (False, {"2.bn1": ["Z02"], "2.bn2": ["Z01"]}),
    "a factor behind a block": (True, {"2.bn1": ["Z02"], "2.bn2": ["Z02"]}),
}


@pytest.mark.parametrize("name", ZEROS)
def test_zeros_that_training_changes_are_notes(name: str) -> None:
    """All layers are judged, those that no gradient passes in a second call."""
    factor, want = ZEROS[name]
    records = audited(net(Residual(factor=factor)))
    assert codes(records) == want
    for record in records.values():
        assert (record.clean, record.mode, record.through) == (True, "batch", "both"), record
    for layer in want:
        assert records[layer].notes[0].startswith("Judged in a second call, with ")


@pytest.mark.parametrize("layer", ["bn1", "bn2"])
def test_statistics_that_are_cut_are_found_where_gamma_is_0(layer: str) -> None:
    """In the layer whose gamma is 0, and in the layer before it."""
    block = Residual()

    class Cut(nn.BatchNorm2d):
        """Normalizes with constants that are the batch's statistics."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            mean, var = x.mean((0, 2, 3)).detach(), x.var((0, 2, 3), correction=0).detach()
            return nn.functional.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)

    block.get_submodule(layer).__class__ = Cut
    records = audited(net(block))
    assert [name for name, record in records.items() if record.sound is False] == [f"2.{layer}"]


def clipped(model: nn.Sequential) -> None:
    """Let the activation clip everything."""
    nn.init.constant_(model[1].bias, -100.0)


def masked(model: nn.Sequential) -> None:
    """Let no gradient arrive."""
    model.insert(2, Mask())


class Mask(nn.Module):
    """Multiplies by 0, which is no parameter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x * 0.0


def zero_for_ever(model: nn.Sequential) -> None:
    """Set gamma to 0, and do not train it."""
    nn.init.zeros_(model[1].weight)
    model[1].weight.requires_grad_(requires_grad=False)


DEAD = {"clipped": clipped, "masked": masked, "a gamma that does not train": zero_for_ever}


@pytest.mark.parametrize("name", DEAD)
def test_a_dead_layer_is_a_finding(name: str) -> None:
    """Its gradient is judged all the same."""
    model = net()
    DEAD[name](model)
    records = audited(model)
    first = records["1"]
    assert [f.code for f in first.findings] == ["M09"]
    assert (first.sound, first.clean, first.mode, first.through) == (True, False, "batch", "both")


def test_a_layer_that_its_own_activation_clips_is_dead() -> None:
    """The output is the same for every input."""

    class Fused(nn.BatchNorm2d):
        """With a relu."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(super().forward(x))

    model = net()
    model[1] = Fused(4)
    clipped(model)
    first = audited(model)["1"]
    assert [f.code for f in first.findings] == ["M09"]
    assert (first.sound, first.through) == (True, "both")


def test_an_output_that_is_not_used_is_judged_with_a_note() -> None:
    """The loss does not depend on it, and no finding says that the layer is dead."""

    class Unused(nn.Module):
        """Calls a layer, and does not use the result."""

        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.bn(x)
            return x

    record = audited(net(Unused()))["2.bn"]
    assert record.clean
    (note,) = record.notes
    assert note.endswith(
        " with a random gradient: in the model, no gradient arrived at its output."
    )


class Checkpointed(nn.Module):
    """Runs a layer again in the backward pass."""

    def __init__(self, layer: nn.Module, *, reentrant: bool) -> None:
        """Make its parts."""
        super().__init__()
        self.layer, self.reentrant = layer, reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return checkpoint(self.layer, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_updates_statistics_twice(*, reentrant: bool) -> None:
    """The gradient is right, and a layer without running statistics has no finding."""
    inner = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 1))
    records = audited(net(Checkpointed(inner, reentrant=reentrant)))
    assert codes(records) == {"2.layer.0": ["S03"]}
    assert all(r.sound and r.through == "both" for r in records.values())
    assert not any(r.notes for name, r in records.items() if name.startswith("2"))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_that_does_not_update_has_no_finding(*, reentrant: bool) -> None:
    """In evaluation, after some steps."""
    model = net(Checkpointed(nn.BatchNorm2d(4), reentrant=reentrant))
    for _ in range(40):
        model(x())
    assert codes(audited(model.eval())) == {}


def spoiled(name: str, value: float) -> Callable[[nn.Sequential], None]:
    """Set one running statistic."""

    def spoil(model: nn.Sequential) -> None:
        model[1].get_buffer(name)[0] = value

    return spoil


SPOILED = {
    "NaN variance": spoiled("running_var", float("nan")),
    "NaN mean": spoiled("running_mean", float("nan")),
    "infinite variance": spoiled("running_var", float("inf")),
    "negative variance": spoiled("running_var", -1.0),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", SPOILED)
def test_running_statistics_that_cannot_be_are_found(name: str, *, train: bool) -> None:
    """The other layers are audited as well; where only NaN arrives, nothing can be judged."""
    model = net()
    for _ in range(40):
        model(x())
    SPOILED[name](model)
    records = audited(model.train(train))
    assert codes(records) == {"1": ["M10"]}
    assert records["1"].sound is True
    second = records["4"]
    if train or name == "infinite variance":
        assert second.clean
    else:
        assert (second.sound, second.not_judged) == (None, "x or y is not finite")


def test_statistics_that_were_never_updated_are_found_in_evaluation() -> None:
    """In a model that evaluates; and in any model if real inputs are far from them."""
    assert codes(audited(net().eval(), drawn=True)) == {"1": ["M11"], "4": ["M11"]}
    assert codes(audited(net(), drawn=True)) == {}
    model = net()
    model[1].eval().requires_grad_(requires_grad=False)
    assert codes(audited(model)) == {}
    far = {r.target: [f.code for f in r.findings] for r in audit_model(model, 40 * x() + 9)}
    assert far == {"model 1": ["M11"], "model 4": []}


def test_one_layer_that_trains_in_a_model_that_evaluates_is_found() -> None:
    """With running statistics only: without them the flag has no effect."""
    model = net(nn.GroupNorm(2, 4))
    for _ in range(40):
        model(x())
    model.eval()[1].train()
    model[2].train()
    assert codes(audited(model)) == {"1": ["M12"]}
    assert codes(audited(model.train())) == {}


class Broken(torch.autograd.Function):
    """Has no gradient."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x.clone()

    @staticmethod
    def backward(_: Any, dy: torch.Tensor) -> torch.Tensor:
        """Raise."""
        message = f"not written yet, for {dy.dim()} axes"
        raise NotImplementedError(message)


class Raising(nn.BatchNorm2d):
    """Raises where a gradient is asked for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return Broken.apply(super().forward(x))


class Once(nn.BatchNorm2d):
    """Can be called once."""

    called = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        if self.called:
            message = "called twice"
            raise RuntimeError(message)
        self.called = True
        return super().forward(x)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Raising, "measuring it raised NotImplementedError: not written yet, for 4 axes"),
        (Once, "measuring it raised RuntimeError: called twice"),
    ],
)
def test_one_layer_that_raises_costs_its_own_record(layer: type[nn.Module], why: str) -> None:
    """In its backward pass, or when it is called again; the others are judged."""
    model = net(layer(4))
    records = audited(model)
    assert (records["2"].sound, records["2"].not_judged) == (None, why)
    assert {name for name, record in records.items() if record.clean} == {"1", "4"}


def test_a_backward_pass_that_fails_elsewhere_is_the_models() -> None:
    """Layers are judged in second calls, and a row of the model says what it raised."""

    class Middle(nn.Module):
        """Not a normalization."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Broken.apply(x)

    *layers, model = audit_model(net(Middle()), x())
    assert [record.sound for record in layers] == [True, True]
    assert (model.target, model.audited) == ("model", False)
    assert [found.code for found in model.findings] == ["G20"]
    assert "not written yet" in model.findings[0].got


class Refusing(nn.BatchNorm2d):
    """Raises as soon as it is called."""

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        """Raise."""
        message = "out of memory"
        raise RuntimeError(message)


REFUSALS = {
    "an input of another rank": (lambda: nn.BatchNorm1d(4), "ValueError: expected 2D or 3D input"),
    "a mistake in the layer": (lambda: Refusing(4), "RuntimeError: out of memory"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_layer_that_raises_in_its_own_call_has_the_error(name: str) -> None:
    """With its place; the layers around it are judged, with the x that it did not take."""
    make, words = REFUSALS[name]
    records = audited(net(make()))
    (found,) = records["2"].findings
    assert (found.code, records["2"].audited) == ("G20", False)
    assert found.got.startswith(words)
    assert ".py:" in found.what
    assert "x of shape (8, 4, 7, 7)" in found.what
    assert records["2"].notes == (
        "The layers behind it were audited with its x in place of its y.",
    )
    assert records["1"].clean
    assert records["4"].clean


def test_an_error_of_a_layer_that_the_model_catches_is_not_a_finding() -> None:
    """The model goes on as it would without the audit."""

    class Catching(nn.Module):
        """Leaves a layer out that raises."""

        def __init__(self) -> None:
            super().__init__()
            self.bn = Refusing(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.bn(x)
            except RuntimeError:
                return 2 * x

    records = audited(net(Catching()))
    assert codes(records) == {}
    want = "the model went on after it raised RuntimeError: out of memory"
    assert (records["2.bn"].sound, records["2.bn"].not_judged) == (None, want)
    assert records["4"].clean


def test_a_pass_that_cannot_go_on_says_which_layers_are_missing() -> None:
    """Where what comes next does not take x in place of y."""

    class Narrow(Refusing):
        """Should make one channel of four."""

    model = nn.Sequential(nn.BatchNorm2d(3), Narrow(3), nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    records = audited(model)
    assert list(records) == ["0", "1"]
    assert records["0"].sound is True
    assert records["1"].notes[0].endswith("layers behind it are missing.")
