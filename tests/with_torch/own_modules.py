"""Modules and functions as people write them, right and wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

AXES = (0, 2, 3)


class Norm(nn.Module):
    """Batch normalization from its definition, with statistics that may be cut."""

    cut_mean = cut_var = False

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: torch.Tensor) -> Any:
        """Return y."""
        mean = x.mean(AXES, keepdim=True)
        mean = mean.detach() if self.cut_mean else mean
        var = self.var(x, mean)
        var = var.detach() if self.cut_var else var
        x_hat = (x - mean) / torch.sqrt(var + self.eps)
        return self.weight.view(1, -1, 1, 1) * x_hat + self.bias.view(1, -1, 1, 1)

    def var(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Return the variance."""
        return ((x - mean) ** 2).mean(AXES, keepdim=True)


class MeanCut(Norm):
    """mean.detach()."""

    cut_mean = True


class VarCut(Norm):
    """var.detach()."""

    cut_var = True


class BothCut(Norm):
    """Both."""

    cut_mean = cut_var = True


class MeanCutInVariance(Norm):
    """The mean is cut inside the variance only, which changes nothing."""

    def var(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Return the variance."""
        return ((x - mean.detach()) ** 2).mean(AXES, keepdim=True)


class MeanCutInSquare(Norm):
    """E[x^2] - E[x]^2 with a constant E[x]^2: right at mean 0 only."""

    def var(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Return the variance."""
        return (x**2).mean(AXES, keepdim=True) - mean.detach() ** 2


class Unbiased(Norm):
    """torch's var() divides by n - 1."""

    def var(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the variance."""
        return x.var(AXES, keepdim=True)


class Tutorial(nn.Module):
    """As in many tutorials: parameters of (1, C, 1, 1), statistics that are no buffers, and
    gradients switched off taken for evaluation."""  # noqa: D205, D209

    def __init__(self, num_features: int) -> None:
        super().__init__()
        shape = (1, num_features, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.moving_mean = torch.zeros(shape)
        self.moving_var = torch.ones(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        if not torch.is_grad_enabled():
            return self.gamma * (x - self.moving_mean) / self.moving_var.sqrt() + self.beta
        mean = x.mean(AXES, keepdim=True)
        var = ((x - mean) ** 2).mean(AXES, keepdim=True)
        self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean
        self.moving_var = 0.9 * self.moving_var + 0.1 * var
        return self.gamma * (x - mean) / torch.sqrt(var + 1e-5) + self.beta


class RunningInTraining(nn.Module):
    """Normalizes with the running mean it has just updated, and lets the gradient through that."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        mean = self.running_mean
        if self.training:
            mean = 0.9 * mean + 0.1 * x.mean(AXES)
            self.running_mean = mean.detach()
        return x - mean.view(1, -1, 1, 1)


class EpsOutside(nn.Module):
    """Layer normalization with std() and eps outside the root, parameters of odd names."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(d_model))
        self.b_2 = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        centred = x - x.mean(-1, keepdim=True)
        return self.a_2 * centred / (x.std(-1, keepdim=True) + 1e-6) + self.b_2


class OnePlusRMSNorm(nn.Module):
    """RMS normalization in float32 whatever comes in, with gamma counted from 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        wide = x.float()
        y = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (y * (1 + self.weight.float())).type_as(x)


class ConvNorm(nn.Module):
    """A convolution and a normalization: the latter's parameters are meant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(self.conv(x))


class InPlace(Norm):
    """Works on its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return super().forward(x.mul_(2.0))


class Dropout(Norm):
    """Random zeros in training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


class Float32Only(Norm):
    """Refuses float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        if x.dtype != torch.float32:
            message = "float32 only"
            raise TypeError(message)
        return super().forward(x)


class TwoResults(Norm):
    """Returns y and its statistics."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return y and the mean."""
        return super().forward(x), x.mean(AXES)


class Raises(Norm):
    """Raises."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raise."""
        message = f"no {x.ndim}-dimensional input"
        raise RuntimeError(message)


class ReturnsNone(Norm):
    """Forgets to return."""

    def forward(self, x: torch.Tensor) -> None:
        """Compute for nothing."""
        super().forward(x)


class WrongShape(Norm):
    """Sums over the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of y."""
        return super().forward(x).sum(0)


class ReturnsNan(Norm):
    """Divides by zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return NaN."""
        return super().forward(x) * float("nan")


class Detached(Norm):
    """Nothing depends on x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y without its graph."""
        return super().forward(x).detach()


class ManyArguments(Norm):
    """Needs an argument that no one can guess."""

    def __init__(self, num_features: int, *, flavour: str) -> None:
        super().__init__(num_features)
        self.flavour = flavour


def plain(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Batch normalization of rows."""
    return gamma * (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + 1e-5) + beta


def without_affine(x: torch.Tensor, epsilon: float = 1e-3) -> torch.Tensor:
    """Batch normalization of rows without gamma and beta."""
    return (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + epsilon)


def unclear(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, flavour: str) -> Any:
    """Need an argument that no one can guess."""
    return plain(x, gamma, beta) if flavour else None


def adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Take a second image, which is not gamma."""
    mean, var = style.mean((2, 3), keepdim=True), style.var((2, 3), keepdim=True)
    return torch.nn.functional.instance_norm(content) * var.sqrt() + mean


class Hand(torch.autograd.Function):
    """A gradient written by hand, in the old style, right."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        """Return y."""
        inv_std = 1 / torch.sqrt(x.var(0, correction=0) + 1e-5)
        x_hat = (x - x.mean(0)) * inv_std
        ctx.save_for_backward(x_hat, weight * inv_std)
        return weight * x_hat + bias

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        """Return dx, dgamma, dbeta."""
        x_hat, scale = ctx.saved_tensors
        d = scale * dy
        dx = d - d.mean(0) - x_hat * (d * x_hat).mean(0)
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class HandCut(torch.autograd.Function):
    """A gradient written by hand, in the new style, without the path through the variance."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        """Return y."""
        return plain(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        """Keep what the backward pass needs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        """Return dx, dgamma, dbeta."""
        x, weight, _ = ctx.saved_tensors
        inv_std = 1 / torch.sqrt(x.var(0, correction=0) + 1e-5)
        d = weight * inv_std * dy
        return d - d.mean(0), (dy * (x - x.mean(0)) * inv_std).sum(0), dy.sum(0)


class HandOnce(Hand):
    """The same, which refuses to be differentiated again."""

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        """Return dx, dgamma, dbeta."""
        return Hand.backward(ctx, dy)


class HandAgain(Hand):
    """A backward pass that works from x itself, so that it can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        """Return y."""
        ctx.save_for_backward(x, weight)
        return plain(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        """Return dx, dgamma, dbeta."""
        x, weight = ctx.saved_tensors
        inv_std = 1 / torch.sqrt(x.var(0, correction=0) + 1e-5)
        x_hat, d = (x - x.mean(0)) * inv_std, weight * inv_std * dy
        dx = d - d.mean(0) - x_hat * (d * x_hat).mean(0)
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class HandShort(HandAgain):
    """Gives nothing at all where x needs no gradient."""

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        """Return dx, dgamma, dbeta."""
        found = HandAgain.backward(ctx, dy)
        return found if ctx.needs_input_grad[0] else (None, None, None)
