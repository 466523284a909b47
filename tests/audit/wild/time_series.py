"""Forecasting: x is (batch, time, channel), and each series has its statistics over time."""

import torch
import torch.nn.functional as F
from torch import nn


class RevIN(nn.Module):
    """Reversible instance normalization: both statistics are constants, by design."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.affine_weight = nn.Parameter(torch.ones(num_features))
        self.affine_bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x, mode="norm"):
        if mode == "denorm":
            x = (x - self.affine_bias) / (self.affine_weight + self.eps**2)
            return x * self.stdev + self.mean
        self.mean = x.mean(dim=1, keepdim=True).detach()
        self.stdev = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + self.eps).detach()
        return (x - self.mean) / self.stdev * self.affine_weight + self.affine_bias


class LiveRevIN(nn.Module):
    """The same layer with statistics that take part in the gradient."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.affine_weight = nn.Parameter(torch.ones(num_features))
        self.affine_bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x, mode="norm"):
        if mode == "denorm":
            x = (x - self.affine_bias) / (self.affine_weight + self.eps**2)
            return x * self.stdev + self.mean
        self.mean = x.mean(1, keepdim=True)
        self.stdev = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + self.eps)
        return (x - self.mean) / self.stdev * self.affine_weight + self.affine_bias


class LastValueNorm(nn.Module):
    """The last value of a series stands in for its mean; all of it is differentiated."""

    eps = 1e-5

    def forward(self, x):
        last = x[:, -1:, :]
        stdev = torch.sqrt(torch.var(x, dim=1, keepdim=True, unbiased=False) + self.eps)
        return (x - last) / stdev


class LastValueNormCut(nn.Module):
    """The last value and the deviation are detached."""

    eps = 1e-5

    def forward(self, x):
        last = x[:, -1:, :].detach()
        stdev = torch.sqrt(torch.var(x, dim=1, keepdim=True, unbiased=False) + self.eps).detach()
        return (x - last) / stdev


def stationarize(x):
    """Make a series stationary: the mean is live, the deviation is detached."""
    x = x - x.mean(1, keepdim=True)
    stdev = torch.sqrt(torch.var(x, dim=1, keepdim=True, unbiased=False) + 1e-5).detach()
    return x / stdev


def center_and_scale(x):
    """Make a series stationary: the mean is detached, the deviation is live."""
    mu = x.mean(1, keepdim=True).detach()
    centered = x - mu
    return centered / torch.sqrt(centered.pow(2).mean(1, keepdim=True) + 1e-5)


class Transpose(nn.Module):
    """Swap two axes."""

    def __init__(self, *dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.transpose(*self.dims)


class TokenBatchNorm(nn.Sequential):
    """Batch normalization over (batch, time) between two transpositions."""

    def __init__(self, d_model):
        super().__init__(Transpose(1, 2), nn.BatchNorm1d(d_model), Transpose(1, 2))


class SeriesBatchNorm(nn.Module):
    """Batch normalization over (batch, time), written out; the variance is computed outside."""

    def __init__(self, channels, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean = x.mean((0, 1))
            var = torch.tensor(x.detach().numpy().var((0, 1)), dtype=x.dtype)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        return self.gamma * (x - mean) * torch.rsqrt(var + 1e-5) + self.beta


class MeanScaler(nn.Module):
    """Divide each series by its mean absolute value."""

    def __init__(self, minimum=1e-10):
        super().__init__()
        self.minimum = minimum

    def forward(self, x):
        scale = x.abs().mean(dim=1, keepdim=True)
        return x / torch.clamp(scale, min=self.minimum)


class MeanScalerCut(MeanScaler):
    """Divide each series by its mean absolute value, computed under no_grad."""

    @torch.no_grad()
    def scale(self, x):
        return torch.clamp(x.abs().mean(dim=1, keepdim=True), min=self.minimum)

    def forward(self, x):
        return x / self.scale(x)


class SeriesLayerNorm(nn.Module):
    """Layer normalization of each step, then the mean over time is taken away from it."""

    def __init__(self, channels):
        super().__init__()
        self.layernorm = nn.LayerNorm(channels)

    def forward(self, x):
        x_hat = self.layernorm(x)
        bias = torch.mean(x_hat, dim=1).unsqueeze(1).repeat(1, x.shape[1], 1)
        return x_hat - bias


class SeriesLayerNormCut(SeriesLayerNorm):
    """The mean over time is detached."""

    def forward(self, x):
        x_hat = F.layer_norm(x, x.shape[-1:], self.layernorm.weight, self.layernorm.bias)
        return x_hat - x_hat.mean(1, keepdim=True).detach()


def cmvn(x):
    """Normalize each utterance of (batch, time, feature) over time."""
    centered = x - x.mean(1, keepdim=True)
    return F.normalize(centered, dim=1) * x.shape[1] ** 0.5


@torch.no_grad()
def cmvn_features(x):
    """Normalize features, which no gradient passes: there is nothing to judge."""
    return cmvn(x)


def standardize(x):
    """Each series gets mean 0 and deviation 1, as torch computes them."""
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
