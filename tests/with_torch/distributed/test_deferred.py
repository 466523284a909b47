"""Layers whose running statistics move once a step, in one process."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.errors import RangeError, RankError, UnknownNameError  # noqa: E402
from backnorm.torch import (  # noqa: E402
    SyncBatchNorm,
    accumulate,
    merge_statistics,
    update_bn,
)
from with_torch.engine.tensors import needs_engine  # noqa: E402

MODES: list[dict[str, Any]] = [
    {"synchronize": "step"},
    {"synchronize": "group", "group_size": 8},
]
both = pytest.mark.parametrize("mode", MODES, ids=["step", "group"])


def images(seed: int = 0) -> torch.Tensor:
    """Return some samples."""
    return torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(seed)) + 10.0


def called(mode: dict[str, Any], **options: Any) -> SyncBatchNorm:
    """Return a layer after a pass."""
    layer = SyncBatchNorm(3, **mode, **options)
    layer(images())
    return layer


@needs_engine
@both
@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda layer: layer.eval()(images()), "evaluate"),
        (lambda layer: layer.state_dict(), "save its state"),
        (copy.deepcopy, "be copied"),
        (pickle.dumps, "be copied"),
        (SyncBatchNorm.convert_sync_batchnorm, "be converted"),
        (lambda layer: update_bn([images()], layer), "evaluate"),
    ],
    ids=["eval", "state_dict", "deepcopy", "pickle", "convert", "update_bn"],
)
def test_what_waits_for_the_merge(mode: dict[str, Any], use: Any, what: str) -> None:
    """It raises an error, also of a layer within a model, and nothing after the merge."""
    model = nn.Sequential(called(mode))
    with pytest.raises(RankError, match=f"SyncBatchNorm cannot {what}: it has sums that are not"):
        use(model)
    merge_statistics(model)
    use(model)


@needs_engine
@both
def test_a_checkpoint_drops_what_is_not_merged(mode: dict[str, Any]) -> None:
    """Its running statistics are others; a part of a checkpoint without the layer drops nothing."""
    model, other = (nn.Sequential(SyncBatchNorm(3, **mode), nn.Linear(5, 5)) for _ in range(2))
    saved = model.state_dict()
    model(images() + 100.0)
    model.load_state_dict(model[1].state_dict(prefix="1."), strict=False)
    with pytest.raises(RankError, match="SyncBatchNorm cannot evaluate"):
        model.eval()(images())
    model.load_state_dict(saved)
    assert model.eval()(images()).isfinite().all()
    for each in (model.train(), other):
        each(images())
        merge_statistics(each)
    assert torch.equal(model[0].running_mean, other[0].running_mean)


@needs_engine
@both
def test_one_process_moves_as_the_mode_layer_does(mode: dict[str, Any]) -> None:
    """With one pass a step: the same bits."""
    deferred, plain = called(mode), called({})
    assert (deferred.running_mean == 0).all()
    merge_statistics(deferred)
    for name, value in plain.state_dict().items():
        assert torch.equal(deferred.state_dict()[name], value), name


@needs_engine
def test_merging_twice_counts_once() -> None:
    """A second merge has nothing to merge."""
    layer = called(MODES[0])
    merge_statistics(layer)
    state = copy.deepcopy(layer.state_dict())
    merge_statistics(layer)
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in state.items())


@needs_engine
def test_a_layer_that_is_shared_counts_each_pass() -> None:
    """It is merged once for the places where it is called."""
    layer = SyncBatchNorm(3, momentum=1.0, synchronize="step")
    nn.Sequential(layer, nn.Identity(), layer)(images())
    merge_statistics(nn.ModuleList([layer, layer]))
    assert layer.num_batches_tracked == 1
    both_inputs = torch.cat([images(), layer.train()(images())])
    torch.testing.assert_close(layer.running_mean, both_inputs.mean((0, 2)))


@needs_engine
def test_a_failed_pass_is_dropped_with_its_step() -> None:
    """The merge says why; the next step counts alone."""
    layer = called(MODES[0], momentum=1.0)
    with pytest.raises(ValueError, match="3 channels"):
        layer(images()[:, :2])
    with pytest.raises(RankError, match=r"has failed since the last merge_statistics: ShapeError"):
        merge_statistics(layer)
    layer(images(1))
    merge_statistics(layer)
    torch.testing.assert_close(layer.running_mean, images(1).mean((0, 2)))


@needs_engine
@pytest.mark.parametrize(
    ("options", "batches"),
    [({"track_running_stats": False}, None), ({"momentum": 0.0}, 1), ({"affine": False}, 1)],
    ids=["no statistics", "frozen", "not affine"],
)
def test_other_layers(options: dict[str, Any], batches: int | None) -> None:
    """Without running statistics nothing is merged, and a momentum of 0 moves nothing."""
    layer = called(MODES[0], **options)
    merge_statistics(layer)
    layer.eval()(images())
    assert layer.num_batches_tracked == batches
    if options.get("momentum") == 0.0:
        assert (layer.running_mean == 0).all()


@needs_engine
def test_within_accumulate() -> None:
    """The context manager has its own sums: nothing is pending."""
    layer = SyncBatchNorm(3, synchronize="step")
    with accumulate(layer):
        layer(images())
    layer.eval()(images())
    assert layer.num_batches_tracked == 1


@needs_engine
def test_update_bn_within_batches_leaves_no_sums() -> None:
    """Its passes are not those of training."""
    layer = SyncBatchNorm(3, synchronize="step")
    update_bn([images()], layer, variance="within")
    merge_statistics(layer)
    assert layer.num_batches_tracked == 1


@needs_engine
def test_a_compiled_model_waits_too() -> None:
    """One graph for training and one for evaluation, which knows what is pending."""
    torch.compiler.reset()
    layer = SyncBatchNorm(3, synchronize="step")
    compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for seed in range(3):
        compiled(images(seed))
        merge_statistics(layer)
    plain = SyncBatchNorm(3)
    for seed in range(3):
        plain(images(seed))
    assert torch.equal(layer.running_var, plain.running_var)
    compiled(images())
    layer.eval()
    with pytest.raises(RuntimeError, match="cannot evaluate: it has sums that are not merged"):
        compiled(images())
    merge_statistics(layer)
    assert torch.equal(compiled(images()), layer(images()))


def test_arguments() -> None:
    """Modes and sizes belong together."""
    with pytest.raises(UnknownNameError, match="synchronize must be one of"):
        SyncBatchNorm(3, synchronize="never")  # type: ignore[arg-type]
    for size in (None, 0, 1.5):
        with pytest.raises(RangeError, match="group_size must be a whole number"):
            SyncBatchNorm(3, synchronize="group", group_size=size)  # type: ignore[arg-type]
    for mode in ("layer", "step"):
        with pytest.raises(RangeError, match="group_size must be None with"):
            SyncBatchNorm(3, synchronize=mode, group_size=8)  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="reduce_parameters must be False with"):
        SyncBatchNorm(3, synchronize="step", reduce_parameters=True)


@both
def test_conversion_takes_the_mode(mode: dict[str, Any]) -> None:
    """All layers have it; copies keep it, and it is shown."""
    model = nn.Sequential(nn.BatchNorm2d(3), SyncBatchNorm(3))
    after = SyncBatchNorm.convert_sync_batchnorm(model, **mode)
    for layer in (*after, *copy.deepcopy(after), *pickle.loads(pickle.dumps(after))):  # noqa: S301 - our own
        assert layer.synchronize == mode["synchronize"]
        assert layer.group_size == mode.get("group_size")
        shown = "".join(f", {name}={value}" for name, value in mode.items())
        assert repr(layer).endswith(f"{shown})")
    SyncBatchNorm.convert_sync_batchnorm(after)
    assert repr(after[0]) == repr(SyncBatchNorm(3))


def test_a_conversion_that_is_refused_changes_nothing() -> None:
    """A layer with gradients of all ranks has no other mode."""
    model = nn.Sequential(nn.BatchNorm2d(3), SyncBatchNorm(3, reduce_parameters=True))
    with pytest.raises(RangeError, match="reduce_parameters must be False"):
        SyncBatchNorm.convert_sync_batchnorm(model, synchronize="step")
    with pytest.raises(RangeError, match="group_size must be None"):
        SyncBatchNorm.convert_sync_batchnorm(nn.Identity(), group_size=2)
    assert type(model[0]) is nn.BatchNorm2d


def test_a_model_without_such_layers() -> None:
    """There is nothing to merge."""
    merge_statistics(nn.Sequential(nn.BatchNorm2d(3), SyncBatchNorm(3)))
