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
    words = "the mean and variance paths are too small to be measured"
    assert record.not_judged == f"half precision (float16) may be too coarse for it: {words}"
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


class AddedNorm(nn.Module):
    """x and its normalization, with detached statistics, times gamma."""

    def __init__(self, gamma: float) -> None:
        """Make gamma."""
        super().__init__()
        self.gamma = nn.Parameter(torch.full((8,), gamma))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        mean = x.mean(-1, keepdim=True).detach()
        std = (x.var(-1, keepdim=True, correction=0).detach() + 1e-5).sqrt()
        return x + self.gamma * (x - mean) / std


class OneAddedNorm(nn.Module):
    """A batch normalization with constants and gamma + 1."""

    def __init__(self, gamma: float) -> None:
        """Make gamma, mean and variance."""
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), gamma))
        self.register_buffer("running_mean", torch.linspace(-1, 1, 8))
        self.register_buffer("running_var", torch.linspace(0.5, 2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return (x - self.running_mean) / self.running_var.sqrt() * (1 + self.weight)  # type: ignore[operator]


def between(norm: nn.Module) -> nn.Sequential:
    """A layer between two others."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), norm, nn.Linear(8, 2))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 1e-6])
def test_statistics_that_y_does_not_show_are_not_judged(gamma: float, *, train: bool) -> None:
    """The layer looks as if it used constants: its faults begin when gamma has grown."""
    model = between(AddedNorm(gamma)).train(train)
    (record,) = audit_model(model, torch.randn(16, 5))
    assert record.sound is None
    assert record.not_judged.startswith("its output does not show its statistics")


@pytest.mark.parametrize("gamma", [0.0, 0.01, 1.0])
def test_constants_are_judged_with_any_gamma(gamma: float) -> None:
    """With a larger gamma the layer uses constants too."""
    (record,) = audit_model(between(OneAddedNorm(gamma)), torch.randn(16, 5))
    assert (record.mode, record.sound) == ("frozen", True)


class Mixed(nn.Module):
    """Runs a model with automatic mixed precision."""

    def __init__(self, inner: nn.Module) -> None:
        """Keep the model."""
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x)


class Upcast(nn.Module):
    """Returns float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x.float()


class CoarseNorm(nn.LayerNorm):
    """Returns bfloat16 of a float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x).bfloat16()


class MixedNorm(nn.LayerNorm):
    """Has its statistics from a product, which mixed precision rounds; y is float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        ones = torch.ones(8, 1) / 8
        u = x.float() - (x.float() @ ones).float()
        return u / (u.pow(2) @ ones + 1e-5).sqrt().float()


COARSE = {
    "a layer in bfloat16": lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8)).bfloat16(),
    "an output in bfloat16": lambda: nn.Sequential(nn.Linear(5, 8), CoarseNorm(8), Upcast()),
    "autocast": lambda: Mixed(nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8))),
    "autocast within the layer": lambda: Mixed(nn.Sequential(nn.Linear(5, 8), MixedNorm(8))),
}


@pytest.mark.parametrize("name", COARSE)
def test_half_precision_is_named_where_it_may_hide_the_law(name: str) -> None:
    """By its dtype, before what could not be found."""
    torch.manual_seed(0)
    model = COARSE[name]()
    x = torch.randn(64, 5).to(next(model.parameters()).dtype)
    (record,) = audit_model(model, x)
    assert record.sound is None
    assert record.not_judged.startswith("half precision (bfloat16) may be too coarse for it: ")


def test_a_reason_that_has_nothing_to_do_with_half_precision_stays() -> None:
    """An x that is not finite."""
    x = torch.full((4, 8), float("nan")).half()
    (record,) = audit_model(nn.Sequential(nn.LayerNorm(8).half()), x)
    assert record.not_judged == "x or y is not finite"


def test_a_layer_called_again_has_the_mixed_precision_of_its_call() -> None:
    """Its second call returns the same dtype as the first."""
    dtypes = []

    class Watched(nn.LayerNorm):
        """Notes the dtype of what it is made of."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dtypes.append((x.float() @ torch.ones(8, 1)).dtype)
            return super().forward(x)

    audit_model(Mixed(nn.Sequential(nn.Linear(5, 8), Watched(8))), torch.randn(64, 5))
    assert len(dtypes) > 1
    assert set(dtypes) == {torch.bfloat16}
