"""The gradients of gamma, beta and other parameters of layers in a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.functional import batch_norm, layer_norm, silu  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402

if TYPE_CHECKING:
    from backnorm.audit.record import Record


class OwnNorm(nn.Module):
    """A layer normalization whose gamma and beta a subclass may treat wrongly."""

    def __init__(self) -> None:
        """Make its parameters."""
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 8))
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return layer_norm(x, (8,)) * self.weight + self.bias


class DoubledGamma(OwnNorm):
    """dgamma is twice the derivative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return layer_norm(x, (8,)) * (2 * self.weight - self.weight.detach()) + self.bias


class Detached(OwnNorm):
    """Neither gets a gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return layer_norm(x, (8,)) * self.weight.detach() + self.bias.data


class HookedBeta(OwnNorm):
    """A hook lessens dbeta."""

    def __init__(self) -> None:
        """Add the hook."""
        super().__init__()
        self.bias.register_hook(lambda gradient: 0.1 * gradient)


class Activated(OwnNorm):
    """y is bent in gamma and beta, which have their derivative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return silu(super().forward(x))


class Clipped(OwnNorm):
    """y has a kink in gamma and beta, which have their derivative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return torch.relu(super().forward(x))


class OneWrong(torch.autograd.Function):
    """The gradient at one position is a tenth too small."""

    @staticmethod
    def forward(_: Any, parameter: torch.Tensor) -> torch.Tensor:
        """Return the parameter."""
        return parameter.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Return a wrong gradient."""
        lessened = gradient.clone()
        lessened[3] *= 0.9
        return lessened


class OneChannel(nn.BatchNorm2d):
    """dgamma and dbeta are wrong in one channel of 256."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        gamma, beta = OneWrong.apply(self.weight), OneWrong.apply(self.bias)
        return batch_norm(x, self.running_mean, self.running_var, gamma, beta, training=True)


class Shared(OwnNorm):
    """Each value of gamma moves all channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return layer_norm(x, (8,)) * self.weight * self.weight.mean() + self.bias


class Sloped(OwnNorm):
    """A slope for negative values, which has its derivative."""

    def __init__(self) -> None:
        """Make the slope."""
        super().__init__()
        self.slope = nn.Parameter(torch.full((8,), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = super().forward(x)
        return torch.where(y > 0, y, self.slope * y)


class HalfSloped(Sloped):
    """A hook halves the gradient of the slope."""

    def __init__(self) -> None:
        """Add the hook."""
        super().__init__()
        self.slope.register_hook(lambda gradient: 0.5 * gradient)


class AfterLinear(OwnNorm):
    """y does not depend on a bias before the normalization, but for rounding."""

    def __init__(self) -> None:
        """Make the bias."""
        super().__init__()
        self.before = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x + self.before)


LAYERS = {
    OwnNorm: [],
    DoubledGamma: ["G13"],
    Detached: ["G13", "G14"],
    HookedBeta: ["G14"],
    Activated: [],
    Clipped: [],
    Shared: [],
    Sloped: [],
    HalfSloped: ["G19"],
    AfterLinear: [],
}


def audited(norm: nn.Module) -> Record:
    """Return the record of a layer between two others."""
    torch.manual_seed(0)
    (record,) = audit_model(
        nn.Sequential(nn.Linear(5, 8), norm, nn.Linear(8, 2)), torch.randn(16, 5)
    )
    return record


@pytest.mark.parametrize("made", LAYERS)
def test_a_wrong_gradient_of_gamma_or_beta_is_found(made: type[OwnNorm]) -> None:
    """The layer is not sound, though its dx is right."""
    record = audited(made())
    assert [finding.code for finding in record.findings] == LAYERS[made]
    assert (record.sound, record.through) == (not LAYERS[made], "both")


def test_the_finding_says_how_much_of_the_derivative_arrives() -> None:
    """As a number."""
    (found,) = audited(DoubledGamma()).findings
    assert found.got == "2.0000 of the derivative in a second call"


def test_an_error_in_one_channel_of_many_is_found() -> None:
    """It is a tenth of one channel of 256, and a 2000th of the whole."""
    torch.manual_seed(0)
    (record,) = audit_model(
        nn.Sequential(nn.Conv2d(3, 256, 1), OneChannel(256)), torch.randn(8, 3, 5, 5)
    )
    assert [finding.code for finding in record.findings] == ["G13", "G14"]
    for found in record.findings:
        assert found.got.startswith("0.900")
        assert found.got.endswith(" of the derivative at position 3 (wrong positions: 1 of 256)")


@pytest.mark.parametrize("channels", [3, 512])
@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm])
def test_rounding_in_one_channel_is_not_an_error(make: Any, channels: int) -> None:
    """With few values for each channel, and a beta that hides the changes of y."""
    torch.manual_seed(0)
    norm = make(channels)
    if make is not nn.RMSNorm:
        nn.init.constant_(norm.bias, 100.0)
    (record,) = audit_model(nn.Sequential(nn.Linear(5, channels), norm), torch.randn(3, 5))
    assert record.findings == ()


def halved(parameter: torch.Tensor) -> None:
    """Lessen the gradient."""
    parameter.grad.mul_(0.5)


def taken(parameter: torch.Tensor) -> None:
    """Take the gradient away, as an optimizer within the backward pass does."""
    parameter.grad = None


@pytest.mark.parametrize(("hook", "want"), [(halved, ["G13"]), (taken, [])])
def test_a_hook_on_an_accumulated_gradient_takes_part(hook: Any, want: list[str]) -> None:
    """A hook that changes the gradient is found; one that uses it is not."""
    norm = OwnNorm()
    norm.weight.register_post_accumulate_grad_hook(hook)
    assert [finding.code for finding in audited(norm).findings] == want


def test_a_hook_may_look_its_parameter_up() -> None:
    """The audit of a model calls the model itself, and not a copy."""
    norm = OwnNorm()
    factors = {norm.bias: 0.5}

    def scaled(parameter: torch.Tensor) -> None:
        parameter.grad.mul_(factors[parameter])

    norm.bias.register_post_accumulate_grad_hook(scaled)
    (found,) = audited(norm).findings
    assert (found.code, found.got) == ("G14", "0.5000 of the derivative in a second call")


def test_a_note_names_the_parameters_that_were_not_compared() -> None:
    """Those in half precision, whose small steps are lost in rounding."""
    norm = OwnNorm().to(torch.bfloat16)
    (record,) = audit_model(norm, torch.randn(8, 8, dtype=torch.bfloat16))
    assert "(half precision)" in record.notes[-1]


def test_a_note_names_the_parameters_where_x_varies_by_its_rounding_alone() -> None:
    """y follows gamma by the rounding of x then, and a wrong gradient would not show."""
    x = 1 + torch.randint(0, 2, (8, 8)) * 2.0**-22
    (record,) = audit_model(OwnNorm(), x)
    names = " and ".join(f"{n} (x varies by its rounding alone)" for n in ("weight", "bias"))
    assert f"The gradient of {names} was not compared." in record.notes


def test_the_finding_names_another_parameter() -> None:
    """By its name in the layer."""
    (found,) = audited(HalfSloped()).findings
    assert found.got == "slope: 0.5000 of the derivative in a second call"


def test_what_does_not_train_has_no_gradient_to_judge() -> None:
    """A gamma and beta without requires_grad."""
    assert audited(Detached().requires_grad_(requires_grad=False)).clean


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_too_coarse_for_a_small_step(dtype: torch.dtype) -> None:
    """A right layer has no finding there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), OwnNorm(), nn.Linear(8, 2)).to(dtype)
    (record,) = audit_model(model, torch.randn(64, 5, dtype=dtype))
    assert record.findings == ()
    names = "weight (half precision) and bias (half precision)"
    assert f"The gradient of {names} was not compared." in record.notes
