"""Layers of a model are found under every name and in every layout, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.cli import main  # noqa: E402
from backnorm.errors import SubjectError  # noqa: E402
from backnorm.torch import audit_model  # noqa: E402
from with_torch import recognized  # noqa: E402
from with_torch.recognized import LAYOUTS, NAMES, Over, made, three  # noqa: E402

CUTS = {"": "both", "mean": "variance", "variance": "mean", "mean and variance": "none"}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_judged_under_every_name_and_in_every_layout(
    name: str, layout: str, cut: str
) -> None:
    """Sound if nothing is detached, and otherwise not, by the paths that are left."""
    (record,) = audit_model(*made(name, layout, cut))
    assert (record.kind, record.mode, record.through) == (LAYOUTS[layout][0], "batch", CUTS[cut])
    assert record.sound is (cut == "")


class Scale(nn.Module):
    """gamma*x + beta: no statistics."""

    def __init__(self) -> None:
        """Make gamma and beta."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x * self.weight + self.bias


class Reversed(nn.Module):
    """Not element by element, without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x.flip(1)


class Strange(Scale):
    """Has gamma and beta, and a law that nobody knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x.sort(1).values ** 2)


class StrangeNorm(Strange):
    """The same, and is called a normalization."""


class Counting(nn.Module):
    """Keeps running statistics, and normalizes by the largest value."""

    def __init__(self) -> None:
        """Make the statistics."""
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x / x.abs().max(1, keepdim=True).values ** 2


@pytest.mark.parametrize("other", [Scale, Reversed], ids=lambda cls: cls.__name__)
def test_what_does_not_normalize_has_no_record(other: type[nn.Module]) -> None:
    """The layers around it have theirs."""
    records = audit_model(*three(other()))
    assert [r.target for r in records] == ["model 0", "model 4"]


@pytest.mark.parametrize("other", [Strange, StrangeNorm, Counting], ids=lambda cls: cls.__name__)
def test_what_looks_like_a_normalization_is_never_left_out(other: type[nn.Module]) -> None:
    """It has a row that says that it was not judged."""
    records = {r.target: r for r in audit_model(*three(other()))}
    assert records["model 2"].sound is None
    assert records["model 2"].not_judged


class PreNorm(nn.Module):
    """A container, named as a normalization."""

    def __init__(self, inner: nn.Module) -> None:
        """Keep the layer."""
        super().__init__()
        self.norm, self.step = inner, nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.step(self.norm(x))


def test_a_container_is_not_audited_twice() -> None:
    """Only the layer inside has a record, whatever the container is called."""
    model, x = three(PreNorm(nn.LayerNorm(4)))
    assert [r.target for r in audit_model(model, x)] == ["model 0", "model 2.norm", "model 4"]


class Bypassed(nn.Module):
    """A normalization that is named so, and does not call the layer that it holds."""

    def __init__(self) -> None:
        """Keep a layer."""
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True).detach() + 1e-5).sqrt()


class BypassedNorm(Bypassed):
    """The same under a name that says what it does."""


def test_a_container_that_calls_no_layer_inside_is_audited() -> None:
    """It normalizes itself, and wrongly here; the layer inside is not called."""
    records = {r.target: r for r in audit_model(*three(BypassedNorm()))}
    assert (records["model 2"].sound, records["model 2"].through) == (False, "mean")
    assert len(records) == 3


class Recurrent(nn.Module):
    """Normalizes a state that is 0 in the first call, with a detached deviation."""

    def __init__(self) -> None:
        """Make its parts."""
        super().__init__()
        self.norm = BypassedNorm()
        self.norm.norm, self.norm.mix = nn.Identity(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the state after two steps."""
        state = torch.zeros_like(x)
        for _ in range(2):
            state = torch.tanh(x + self.norm(state))
        return state


def test_a_wrong_call_is_shown_before_one_that_cannot_be_judged() -> None:
    """The first call normalizes zeros, and says nothing."""
    records = {r.target: r for r in audit_model(*three(Recurrent()))}
    assert records["model 2.norm"].sound is False


def test_a_layer_without_parameters_and_name_is_found() -> None:
    """By its output, and a note says so."""

    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x.mean(0).detach()) / (x.var(0, correction=0) + 1e-5).sqrt()

    records = {r.target: r for r in audit_model(*three(Odd()))}
    assert (records["model 2"].sound, records["model 2"].through) == (False, "variance")
    assert records["model 2"].notes[0] == "No name tells that it normalizes: its output does."


def test_a_layer_may_hold_tensors_from_its_first_call_on() -> None:
    """What it holds is as it was in each call: both ways of a reversible normalization."""

    class RevIN(Over):
        axes, shape = (1,), (1, 1, 4)

        def forward(self, x: torch.Tensor, mode: str = "norm") -> torch.Tensor:
            if mode == "norm":
                self.mean = x.mean(1, keepdim=True).detach()
                self.std = x.std(1, keepdim=True).detach()
                return (x - self.mean) / self.std * self.weight + self.bias
            return (x - self.bias) / self.weight * self.std + self.mean

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rev, self.step = RevIN(), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rev(self.step(self.rev(x)), "denorm")

    x = torch.randn(5, 9, 4, generator=torch.Generator().manual_seed(0)) + 2
    (record,) = audit_model(Both(), x)
    assert (record.sound, record.through) == (False, "none")


FILE = Path(recognized.__file__)


def rows(name: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status, and verdicts and codes by the names of layers."""
    command = ["audit", f"{FILE}:{name}", "--model", "--json", "-", *arguments]
    result = CliRunner().invoke(main, command)
    found = {}
    for target in json.loads(result.stdout)["targets"]:
        codes = [finding["code"] for finding in target["findings"]]
        found[target["target"].partition(f":{name}")[2].strip()] = (target["sound"], codes)
    return result.exit_code, found


SOUND = (True, [])

LOST = {
    "hangs_as_it_is_measured": {"0": SOUND, "2": (None, ["G21"]), "4": SOUND},
    "exits_as_it_is_measured": {"0": SOUND, "2": (None, ["G25"]), "4": SOUND},
    "hangs_in_the_pass": {"2": (None, ["G21"]), "0": SOUND},
    "exits_in_the_pass": {"2": (None, ["G25"]), "0": SOUND},
    "raises_in_backward": {"0": SOUND, "4": SOUND, "": (None, ["G20"])},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOST)
def test_a_layer_that_is_lost_costs_its_own_row(name: str) -> None:
    """The rows of the other layers are kept, as far as the model came; status 2."""
    status, found = rows(name, *(("--limit", "15") if "hangs" in name else ()))
    assert found == LOST[name]
    assert status == 2


def test_an_error_of_the_audit_is_not_shown_as_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """C03, and the other layers are judged."""
    from backnorm.torch.model import audit  # noqa: PLC0415 - to break it

    measured = audit.measure_call

    def broken(call: Any) -> Any:
        if call.layer.name == "0":
            raise ValueError
        return measured(call)

    monkeypatch.setattr(audit, "measure_call", broken)
    first, second = audit_model(*three(nn.Identity()))
    assert ([f.code for f in first.findings], first.audited) == (["C03"], False)
    assert second.clean


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_model_of_torchscript_is_refused() -> None:
    """Its layers are not called in Python."""
    model = torch.jit.script(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)))
    with pytest.raises(SubjectError, match="is compiled by TorchScript") as caught:
        audit_model(model, torch.randn(16, 5))
    assert caught.value.code == "G26"


def test_a_lazy_model_that_was_never_called_is_refused() -> None:
    """After its first call it is audited."""
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d())
    with pytest.raises(SubjectError, match=r"lazy module that was never called: 0\.weight"):
        audit_model(model, torch.randn(16, 5))
    model(torch.randn(16, 5))
    (record,) = audit_model(model, torch.randn(16, 5))
    assert record.sound


class Scale2d(nn.Module):
    """Has the parameters of a normalization."""

    def __init__(self) -> None:
        """Make its parameters."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x * self.weight + self.bias


SCRIPTS = {
    "a layer": (lambda: nn.LayerNorm(8), ["2"]),
    "a layer with statistics": (lambda: nn.BatchNorm1d(8), ["2"]),
    "in a block": (lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), ["2.1"]),
    "gamma and beta": (Scale2d, ["2"]),
    "no normalization": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU()), []),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_part_that_torchscript_compiled_is_named(name: str, *, traced: bool) -> None:
    """As the reason why its layers are not judged; the other layers are."""
    make, want = SCRIPTS[name]
    part = make().eval()  # its trace is the same in two calls
    part = torch.jit.trace(part, torch.randn(4, 8)) if traced else torch.jit.script(part)
    model = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), part, nn.Linear(8, 2))
    first, *others = audit_model(model, torch.randn(16, 5))
    assert first.clean
    assert [record.target for record in others] == [f"model {layer}" for layer in want]
    for record in others:
        assert (record.sound, record.audited, record.findings) == (None, True, ())
        assert record.not_judged.startswith("it is compiled by TorchScript")
