"""Paths that vanish in a model: the layer is called again, or is not judged."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402

CUTS = {"": "both", "mean": "variance", "variance": "mean", "mean variance": "none"}


class CutNorm(nn.BatchNorm2d):
    """A batch normalization that detaches some of its statistics."""

    cut = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        axes = (0, 2, 3)
        mean, var = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), 0.1)  # type: ignore[union-attr]
            self.running_var.lerp_(var.flatten(), 0.1)  # type: ignore[union-attr]
        mean = mean.detach() if "mean" in self.cut else mean
        var = var.detach() if "variance" in self.cut else var
        x_hat = (x - mean) * torch.rsqrt(var + self.eps)
        return x_hat * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def before_another(cut: str, *, linear: bool) -> nn.Sequential:
    """A batch normalization, whose y another normalizes: alone, or after a convolution."""
    torch.manual_seed(0)
    first = CutNorm(4)
    first.cut = cut
    between = [nn.Conv2d(4, 5, 1)] if linear else []
    return nn.Sequential(nn.Conv2d(3, 4, 3), first, *between, nn.BatchNorm2d(5 if linear else 4))


def images() -> torch.Tensor:
    """Eight images."""
    return torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("cut", CUTS)
def test_a_path_that_vanishes_in_the_model_is_judged_in_a_second_call(
    cut: str, *, linear: bool
) -> None:
    """The normalization behind passes on gradients that add up to 0 in each channel."""
    record, _ = audit_model(before_another(cut, linear=linear), images())
    assert (record.through, record.sound) == (CUTS[cut], not cut)
    assert [finding.code for finding in record.findings] == (["M04"] if cut else [])


@pytest.mark.parametrize("linear", [True, False])
def test_the_note_names_the_paths(linear: bool) -> None:  # noqa: FBT001 - a parameter
    """Which the first call did not show."""
    record, last = audit_model(before_another("", linear=linear), images())
    words = "mean path is" if linear else "mean and variance paths are"
    (note,) = record.notes
    assert note.startswith("Judged in a second call, with a random gradient: in the model, the ")
    assert note.endswith(f"the {words} too small to be measured.")
    assert last.notes == ()


@pytest.mark.parametrize("cut", CUTS)
def test_half_precision_is_judged_where_a_random_gradient_shows_the_paths(cut: str) -> None:
    """The relu's gradient hides them beside the rounding of float16."""
    torch.manual_seed(0)
    layer = CutNorm(4)
    layer.cut = cut
    model = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.ReLU(), nn.Conv2d(4, 5, 1)).half()
    (record,) = audit_model(model, images().half())
    assert (record.through, record.sound) == (CUTS[cut], not cut)


LAYERS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "layer": lambda: nn.LayerNorm(9),
    "group": lambda: nn.GroupNorm(2, 4),
    "rms": lambda: nn.RMSNorm(9),
}


@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5, 3.0, 3.6])
@pytest.mark.parametrize("kind", LAYERS)
def test_no_right_layer_is_accused_in_half_precision(kind: str, offset: float) -> None:
    """Paths below the rounding are left out of the fit, or the layer is not judged."""
    x = torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(0)) + offset
    (record,) = audit_model(nn.Sequential(LAYERS[kind]().half()), x.half())
    assert record.sound is not False
    assert (record.sound is None) == bool(record.not_judged)


def test_paths_that_rounding_hides_in_both_calls_are_not_judged() -> None:
    """A mean of three standard deviations, in float16; float32 shows the same paths."""
    x = torch.randn(8, 7, 32, generator=torch.Generator().manual_seed(0)) + 3
    (record,) = audit_model(nn.Sequential(nn.LayerNorm(32).half()), x.half())
    assert (record.sound, record.through, record.findings) == (None, "unexplained", ())
    assert record.not_judged == "the mean and variance paths are too small to be measured"
    (record,) = audit_model(nn.Sequential(nn.LayerNorm(32)), x)
    assert (record.sound, record.through) == (True, "both")


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e3])
@pytest.mark.parametrize("kind", LAYERS)
def test_x_may_be_the_random_numbers_that_users_draw(kind: str, offset: float) -> None:
    """Those of seed 0: dy is another noise, or all paths would cancel in dx."""
    torch.manual_seed(0)
    x = torch.randn(8, 4, 9, 9) + offset
    (record,) = audit_model(nn.Sequential(LAYERS[kind]()), x)
    assert (record.sound, record.through) == (True, "both")


class Doubled(torch.autograd.Function):
    """Passes x on, and x in place of dy: so dy is a multiple of x."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        ctx.save_for_backward(x)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Return x."""
        return ctx.saved_tensors[0].clone(), None


class FollowsX(nn.Module):
    """A layer whose dy is x."""

    def __init__(self, cut: str) -> None:
        """Make the layer."""
        super().__init__()
        self.norm = CutNorm(3)
        self.norm.cut = cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y: torch.Tensor = Doubled.apply(self.norm(x), x)  # type: ignore[no-untyped-call]
        return y


@pytest.mark.parametrize("cut", CUTS)
def test_paths_that_cancel_are_judged_by_their_sum(cut: str) -> None:
    """Where dy is a multiple of x, dx nearly vanishes, and no share follows from it."""
    record, *_ = audit_model(FollowsX(cut), images() + 3)
    assert record.sound is (not cut)
    assert record.coefficients.direct is None
