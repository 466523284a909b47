"""The normalization layers of PyTorch itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.audit import audit  # noqa: E402
from backnorm.audit.subjects.registry import layers_of  # noqa: E402

if TYPE_CHECKING:
    from backnorm.audit import Record

VERDICTS = {
    # name: kind, mode, path
    "torch.nn.BatchNorm1d": ("batch", "batch", "both"),
    "torch.nn.BatchNorm1d (eval)": ("batch", "frozen", "none"),
    "torch.nn.BatchNorm2d": ("batch", "batch", "both"),
    "torch.nn.BatchNorm2d (eval)": ("batch", "frozen", "none"),
    "torch.nn.BatchNorm3d": ("batch", "batch", "both"),
    "torch.nn.BatchNorm3d (eval)": ("batch", "frozen", "none"),
    "torch.nn.LayerNorm": ("layer", "batch", "both"),
    "torch.nn.GroupNorm": ("group", "batch", "both"),
    "torch.nn.InstanceNorm1d": ("instance", "batch", "both"),
    "torch.nn.InstanceNorm1d (eval)": ("instance", "frozen", "none"),
    "torch.nn.InstanceNorm2d": ("instance", "batch", "both"),
    "torch.nn.InstanceNorm2d (eval)": ("instance", "frozen", "none"),
    "torch.nn.InstanceNorm3d": ("instance", "batch", "both"),
    "torch.nn.InstanceNorm3d (eval)": ("instance", "frozen", "none"),
    "torch.nn.RMSNorm": ("rms", "batch", "both"),
    "backnorm.torch.BatchNorm1d": ("batch", "batch", "both"),
    "backnorm.torch.BatchNorm1d (eval)": ("batch", "frozen", "none"),
    "backnorm.torch.BatchNorm2d": ("batch", "batch", "both"),
    "backnorm.torch.BatchNorm2d (eval)": ("batch", "frozen", "none"),
    "backnorm.torch.BatchNorm3d": ("batch", "batch", "both"),
    "backnorm.torch.BatchNorm3d (eval)": ("batch", "frozen", "none"),
    "backnorm.torch.BatchNormAct2d": ("batch", "batch", "both"),
    "backnorm.torch.BatchNormAct2d (eval)": ("batch", "frozen", "none"),
    "backnorm.torch.FrozenBatchNorm2d": ("batch", "frozen", "none"),
    "backnorm.torch.GhostBatchNorm2d": ("batch", "batch", "both"),
    "backnorm.torch.GhostBatchNorm2d (eval)": ("batch", "frozen", "none"),
    "backnorm.torch.BatchRenorm2d": ("batch", "batch", "both"),
    "backnorm.torch.BatchRenorm2d (eval)": ("batch", "frozen", "none"),
}


WRONG_AT_THREE = ("torch.nn.BatchNorm", "torch.nn.LayerNorm", "torch.nn.InstanceNorm")
"""PyTorch 2.13: the kernels of their second derivative take what was saved for constants."""


def test_all_layers_are_known() -> None:
    """Those that the next test audits are all that there are."""
    assert [subject.name for subject in layers_of("torch", "both")] == list(VERDICTS)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_layer_gets_its_verdict(name: str) -> None:
    """Through both statistics, or frozen; the coefficients are 0 or 1, further orders known."""
    (subject,) = (s for s in layers_of("torch", "both") if s.name == name)
    record = audit(subject)
    assert (record.kind, record.mode, record.through) == VERDICTS[name]
    assert record.sound, record
    assert record.residual is not None
    assert record.residual < 1e-4
    check_further_orders(name, record)
    if record.kind == "rms":
        told = "This kind of normalization has no mean: the mean square is its only statistic."
        assert record.notes == (told,)


def check_further_orders(name: str, record: Record) -> None:
    """Those of this package are right at orders 2 and 3 in both modes, or refuse."""
    results = {p.code: p.result for p in record.probes}
    # What works in place refuses.
    refuses = "BatchNormAct2d" in name
    assert results["P30"] == ("skipped" if refuses else "pass"), name
    wrong = name.startswith(WRONG_AT_THREE) and "eval" not in name
    assert results["P31"] == ("fail" if wrong else results["P30"]), name
    codes = {f.code for f in record.findings}
    assert codes.isdisjoint({"D02", "I01", "I02", "I03", "I04", "I05", "I06"}), name
    assert not (name.startswith("backnorm") and "D03" in codes)


def test_groups_of_a_batch_are_sound() -> None:
    """Their paths are not those of a kind that the audit knows; the gradient is the derivative."""
    import backnorm.torch  # noqa: PLC0415 - it needs PyTorch

    record = audit(backnorm.torch.GhostBatchNorm2d(4, virtual_batch_size=4))
    assert (record.mode, record.through, record.sound) == ("other", "unexplained", True)
    assert record.findings == ()


def test_batch_renormalization_after_its_warm_up_is_named() -> None:
    """Its gradient is not the derivative of y, by design: a note says so beside the finding."""
    import backnorm.torch  # noqa: PLC0415 - it needs PyTorch

    layer = backnorm.torch.BatchRenorm2d(4)
    layer.num_batches_tracked.fill_(layer.rmax_steps)
    record = audit(layer)
    assert (record.mode, record.sound) == ("other", False)
    assert [finding.code for finding in record.findings] == ["G11"]
    assert any("as batch renormalization does by design" in note for note in record.notes)


def test_a_layer_without_parameters_has_its_orders() -> None:
    """affine=False, in both packages' modules."""
    import backnorm.torch  # noqa: PLC0415 - it needs PyTorch

    for module in (torch.nn.BatchNorm2d, backnorm.torch.BatchNorm2d):
        record = audit(module(3, affine=False))
        assert record.sound
        assert next(p for p in record.probes if p.code == "P30").result == "pass"


def test_a_mode_can_be_chosen() -> None:
    """Asked for evaluation only, nothing is named after it."""
    names = [s.name for s in layers_of("torch", "eval")]
    assert len(names) == 16
    assert {s.call for s in layers_of("torch", "eval")} == {"eval"}


@pytest.mark.parametrize(("train", "mode"), [(True, "batch"), (False, "frozen")])
def test_an_instance_is_audited_as_it_is_set(mode: str, *, train: bool) -> None:
    """A module in evaluation is audited in evaluation, and is left as it was."""
    module = torch.nn.BatchNorm2d(3).train(train)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert audit(module).mode == mode
    assert module.training is train
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in module.parameters())


def test_the_callers_random_numbers_and_threads_are_left_alone() -> None:
    """An audit draws from generators of its own."""
    torch.manual_seed(3)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    audit(torch.nn.LayerNorm(6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
