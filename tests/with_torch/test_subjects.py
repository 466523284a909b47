"""Modules of PyTorch as subjects: graphs in their state, true errors, and the negative control."""

from __future__ import annotations

import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.audit import audit  # noqa: E402
from backnorm.audit.specimens.control import controls_of  # noqa: E402
from backnorm.audit.subjects.registry import as_subject  # noqa: E402
from backnorm.audit.subjects.request import AuditRequest  # noqa: E402
from backnorm.cli._jobs import AuditJob, audit_jobs  # noqa: E402
from backnorm.cli._targets import find_subjects  # noqa: E402


class Attached(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Batch normalization whose running mean keeps the graph of each step."""

    def __init__(self, where: str = "a buffer") -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.bias = torch.nn.Parameter(torch.zeros(4))
        self.register_buffer("running_mean", torch.zeros(4))
        self.where = where
        self.seen: list[Any] = []

    def forward(self, x: Any) -> Any:
        """Normalize over all axes but the channels."""
        axes = [0, *range(2, x.ndim)]
        mean = x.mean(axes) if self.training else self.running_mean
        if self.training and self.where == "a buffer":
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        elif self.training:
            self.seen.append({"mean": mean})
        view = [1, -1] + [1] * (x.ndim - 2)
        var = x.var(axes, unbiased=False).view(view)
        y = (x - mean.view(view)) / (var + 1e-5).sqrt()
        return y * self.weight.view(view) + self.bias.view(view)


@pytest.mark.parametrize("where", ["a buffer", "a list"])
def test_a_trained_module_whose_state_holds_a_graph_is_audited(where: str) -> None:
    """It is copied without the graph; of running statistics that is a finding."""
    module = Attached(where)
    module(torch.randn(8, 4, 2, 2) * module.weight.view(1, -1, 1, 1))
    record = audit(module)
    assert record.sound
    assert ("S01" in {found.code for found in record.findings}) == (where == "a buffer")
    held = module.running_mean if where == "a buffer" else module.seen[0]["mean"]
    assert held.grad_fn is not None


class OnlySequences(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Takes (N, C, L), where it has a mistake, and refuses images in the words of PyTorch."""

    def forward(self, x: Any) -> Any:
        """Refuse, or fail."""
        if x.dim() not in (2, 3):
            message = f"expected 2D or 3D input (got {x.dim()}D input)"
            raise ValueError(message)
        return x * self.wieght


@pytest.mark.parametrize("python", ["", sys.executable], ids=["in process", "under python"])
def test_the_true_error_is_shown(python: str) -> None:
    """The mistake, and not that images are refused."""
    (record,) = audit_jobs([AuditJob(f"{__file__}:OnlySequences", python=python)])
    (found,) = record.findings
    assert found.code == "G20"
    assert "'OnlySequences' object has no attribute 'wieght'" in found.got


LAYERS = {
    "BatchNorm2d": (lambda: torch.nn.BatchNorm2d(4), ["none", "mean", "variance"]),
    "in evaluation": (lambda: torch.nn.BatchNorm2d(4).eval(), ["none", "mean", "variance"]),
    "LayerNorm": (lambda: torch.nn.LayerNorm(6), ["none", "mean", "variance"]),
    "GroupNorm": (lambda: torch.nn.GroupNorm(2, 4), ["none", "mean", "variance"]),
    "RMSNorm": (lambda: torch.nn.RMSNorm(6), ["none", "both"]),
    "a function": (lambda: torch.nn.functional.layer_norm, ["none", "mean", "variance"]),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LAYERS)
def test_controls_of_modules_and_functions_come_out(name: str) -> None:
    """Each path is recognized around PyTorch."""
    make, paths = LAYERS[name]
    records = [one.record(lambda _: None) for one in controls_of(as_subject(make()))]
    assert [record.through for record in records] == paths
    assert all(record.as_expected() for record in records)


class Guessed(torch.nn.BatchNorm2d):  # type: ignore[misc,name-defined]
    """Its constructor has arguments that the audit must guess."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(width)
        self.groups = groups


def test_what_was_guessed_for_a_constructor_is_told() -> None:
    """In a note of every mode; not for a framework's layer, nor for arguments that were given."""
    guessed = [
        audit(subject, quick=True).notes
        for subject in find_subjects(f"{__file__}:Guessed", AuditRequest(modes="both"))
    ]
    told = (
        "It was constructed with width=4, groups=2, which the audit guessed. "
        "Pass others with --args."
    )
    assert [notes[-1] for notes in guessed] == [told, told]
    given = AuditRequest(arguments={"width": 4, "groups": 1})
    assert not audit(find_subjects(f"{__file__}:Guessed", given)[0], quick=True).notes
    assert not audit(find_subjects("torch.nn.BatchNorm2d", AuditRequest())[0], quick=True).notes
