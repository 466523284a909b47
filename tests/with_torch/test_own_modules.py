"""Modules and functions that people write."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.audit import audit  # noqa: E402
from backnorm.audit.subjects.registry import subjects_of  # noqa: E402
from backnorm.audit.subjects.request import AuditRequest  # noqa: E402
from backnorm.cli._jobs import AuditJob, audit_jobs  # noqa: E402
from backnorm.errors import SubjectError  # noqa: E402

FILE = Path(__file__).with_name("own_modules.py")


def load() -> Any:
    """Import own_modules.py, which lies beside this file and in no package."""
    spec = importlib.util.spec_from_file_location("own_modules", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OWN = load()

CUTS = {
    # name: path, shares of the three paths, codes
    "Norm": ("both", (1, 1, 1), []),
    "MeanCut": ("variance", (1, 0, 1), ["G01"]),
    "VarCut": ("mean", (1, 1, 0), ["G02"]),
    "BothCut": ("none", (1, 0, 0), ["G03"]),
    "MeanCutInVariance": ("both", (1, 1, 1), []),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CUTS)
def test_a_cut_is_found_to_three_digits(name: str, seed: int) -> None:
    """In float32: coefficients within 1e-3 of 0 and 1, the unexplained rest below 1e-4."""
    path, shares, codes = CUTS[name]
    record = audit(getattr(OWN, name), seed=seed, quick=True)
    assert record.through == path
    assert [finding.code for finding in record.findings] == codes
    assert record.sound is not bool(codes)
    got = record.coefficients
    for share, expected in zip((got.direct, got.mean, got.variance), shares, strict=True):
        assert share is not None
        assert abs(share - expected) < 1e-3
    assert record.residual is not None
    assert record.residual < 1e-4


VERDICTS: dict[str, tuple[str | None, str, str, bool]] = {
    # name: kind that is asked for, mode, path, sound
    "MeanCutInSquare": (None, "batch", "unexplained", False),
    "Unbiased": (None, "batch", "both", True),
    "Tutorial": (None, "batch", "both", True),
    "RunningInTraining": (None, "other", "mean", True),
    "EpsOutside": ("layer", "batch", "both", True),
    "OnePlusRMSNorm": (None, "batch", "both", True),
    "ConvNorm": (None, "other", "unexplained", True),
    "InPlace": (None, "batch", "both", True),
    "Dropout": (None, "other", "unexplained", True),
    "Float32Only": (None, "batch", "both", True),
    "TwoResults": (None, "batch", "both", True),
    "plain": (None, "batch", "both", True),
    "without_affine": (None, "batch", "both", True),
    "Hand": (None, "batch", "both", True),
    "HandCut": (None, "batch", "mean", False),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_what_people_write_gets_its_verdict(name: str) -> None:
    """Odd shapes, names, state, formats, results and ways to differentiate."""
    kind, *verdict = VERDICTS[name]
    record = audit(getattr(OWN, name), kind)  # type: ignore[arg-type]
    assert record.audited, record.findings
    assert [record.mode, record.through, record.sound] == verdict


BESIDE = {
    "Norm": [],
    # The detach that changes nothing at order 1 does at order 2.
    "MeanCutInVariance": ["D02"],
    "Hand": ["D02"],
    "HandOnce": [],
    "HandAgain": [],
    "HandShort": ["I06"],
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_wrong_beside_a_right_gradient_is_found(name: str, seed: int) -> None:
    """Saved values that are constants at order 2, and dgamma where x needs no gradient."""
    record = audit(getattr(OWN, name), seed=seed)
    assert record.sound
    assert [f.code for f in record.findings if f.code[0] in "DI"] == BESIDE[name]


FAULTS = {
    "Raises": ("G20", "RuntimeError: no 4-dimensional input"),
    "ReturnsNone": ("G22", "None"),
    "Detached": ("G22", "None"),
    "WrongShape": ("G23", "(4, 2, 2)"),
    "ReturnsNan": ("G24", "32 values that are NaN or infinite"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_module_is_reported(name: str) -> None:
    """As in test_faults.py of the audit, for modules."""
    record = audit(getattr(OWN, name))
    assert not record.audited
    assert [(finding.code, finding.got) for finding in record.findings] == [FAULTS[name]]


def test_a_module_that_cannot_be_built_says_so() -> None:
    """The arguments that were tried, and what the constructor said."""
    with pytest.raises(SubjectError, match=r"constructed with \[4\], .* TypeError") as caught:
        audit(OWN.ManyArguments)
    assert caught.value.code == "G26"
    with pytest.raises(SubjectError, match="its argument flavour has no default"):
        audit(OWN.unclear)
    with pytest.raises(SubjectError, match="its argument style has no default"):
        audit(OWN.adain)


@pytest.mark.parametrize("arguments", [{"num_features": 5, "flavour": "a"}, {"num_features": 2}])
def test_arguments_are_passed_on(arguments: dict[str, Any]) -> None:
    """A dictionary by name; the number of channels follows."""
    cls = OWN.ManyArguments if "flavour" in arguments else OWN.Norm
    (subject,) = subjects_of(cls, AuditRequest(arguments=arguments, modes="both"))
    assert subject.parameter_shape == (arguments["num_features"],)
    (listed,) = subjects_of(OWN.Norm, AuditRequest(arguments=[3, 0.1], modes="both"))
    assert listed.parameter_shape == (3,)
    assert audit(listed).law == "biased variance, eps 0.1 inside the root"


def test_arguments_of_functions_are_fixed() -> None:
    """By name for a function too."""
    (subject,) = subjects_of(OWN.without_affine, AuditRequest(arguments={"epsilon": 0.1}))
    assert audit(subject).law == "biased variance, eps 0.1 inside the root"


FUNCTIONS = {
    "batch_norm": {"": ("batch", "batch"), " (eval)": ("batch", "frozen")},
    "layer_norm": {"": ("layer", "batch")},
    "group_norm": {"": ("group", "batch")},
    "instance_norm": {"": ("instance", "batch"), " (eval)": ("instance", "frozen")},
    "rms_norm": {"": ("rms", "batch")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_torch_are_called_by_their_roles(name: str) -> None:
    """Running statistics, weight, bias, shape and flag are told by the names of the arguments."""
    function = getattr(torch.nn.functional, name)
    subjects = subjects_of(function, AuditRequest(modes="both", name=name))
    records = [audit(subject) for subject in subjects]
    assert {r.target.removeprefix(name): (r.kind, r.mode) for r in records} == FUNCTIONS[name]
    assert all(record.sound for record in records)


def test_modes_are_told_apart_by_what_they_do() -> None:
    """Dropout makes two modes of a layer without running statistics; else there is one."""
    names = [
        [s.name for s in subjects_of(cls, AuditRequest(modes="both", name="n"))]
        for cls in (OWN.Norm, OWN.Dropout, OWN.ReturnsNan, torch.nn.BatchNorm2d)
    ]
    assert names == [["n"], ["n", "n (eval)"], ["n"], ["n", "n (eval)"]]


def test_modules_in_a_file_are_audited_in_a_child() -> None:
    """A cut and a right one, as the command line does it."""
    records = list(audit_jobs([AuditJob(f"{FILE}:{name}") for name in ("MeanCut", "Norm")]))
    assert [r.through for r in records] == ["variance", "both"]
    assert [[f.code for f in r.findings] for r in records] == [["G01", "N04"], ["N04"]]
