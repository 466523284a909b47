"""Reinforcement learning: running statistics of observations, and trunks of networks."""

import torch
from torch import nn


class ObsNormalizer(nn.Module):
    """Running statistics are updated first, then used as constants: detached by design."""

    def __init__(self, size, epsilon=1e-4):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.tensor(epsilon))

    @torch.no_grad()
    def update(self, x):
        batch_mean, batch_var, n = x.mean(0), x.var(0, unbiased=False), x.shape[0]
        delta, total = batch_mean - self.mean, self.count + n
        m2 = self.var * self.count + batch_var * n + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.var.copy_(m2 / total)
        self.count.copy_(total)

    def forward(self, x):
        if self.training:
            self.update(x)
        return (x - self.mean) / torch.sqrt(self.var + 1e-8)


class LateObsNormalizer(ObsNormalizer):
    """The statistics of earlier batches are used, and updated afterwards: they are constants."""

    def forward(self, x):
        y = (x - self.mean) / torch.sqrt(self.var + 1e-8)
        if self.training:
            self.update(x)
        return y


class EmaObsNorm(nn.Module):
    """Exponential averages that are updated first; the gradient goes through the new share."""

    def __init__(self, num_features, beta=0.7):
        super().__init__()
        self.decay = beta
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def blend(self, old, new):
        return self.decay * old + (1 - self.decay) * new

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean = self.blend(mean, x.mean(0))
            var = self.blend(var, x.var(0, unbiased=False))
            self.running_mean, self.running_var = mean.detach(), var.detach()
        return (x - mean) * torch.rsqrt(var + 1e-5)


class EmaObsNormCut(EmaObsNorm):
    """The same; the batch is detached before it is blended in."""

    def blend(self, old, new):
        return super().blend(old, new.detach())


def whiten(values, shift_mean=True):
    """Normalize advantages: mean and variance of all values at once."""
    mean, var = values.mean(), values.var(unbiased=False)
    whitened = (values - mean) * torch.rsqrt(var + 1e-8)
    return whitened if shift_mean else whitened + mean


def whiten_cut(values):
    """Normalize advantages; the deviation is a Python number."""
    return (values - values.mean()) / (values.std().item() + 1e-8)


class TanhTrunk(nn.Sequential):
    """Layer normalization and tanh, behind an encoder."""

    def __init__(self, feature_dim):
        super().__init__(nn.LayerNorm(feature_dim), nn.Tanh())


class TanhTrunkCut(nn.Module):
    """The same, written out, with a detached variance."""

    def __init__(self, feature_dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(feature_dim))
        self.bias = nn.Parameter(torch.zeros(feature_dim))

    def forward(self, h):
        h = h - h.mean(-1, keepdim=True)
        h = h * torch.rsqrt(h.detach().pow(2).mean(-1, keepdim=True) + 1e-5)
        return torch.tanh(h * self.weight + self.bias)


class BatchRenorm(nn.Module):
    """Batch renormalization: r and d are constants by design, after a warm-up as before it."""

    def __init__(self, num_features, momentum=0.01):
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def correction(self, mean, std):
        with torch.no_grad():
            running_std = torch.sqrt(self.running_var + 1e-5)
            r = (std / running_std).clamp(1 / 3, 3)
            d = ((mean - self.running_mean) / running_std).clamp(-5, 5)
        return r, d

    def forward(self, x):
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            std = torch.sqrt(var + 1e-5)
            r, d = self.correction(mean, std)
            x_hat = (x - mean) / std * r + d
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        else:
            x_hat = (x - self.running_mean) / torch.sqrt(self.running_var + 1e-5)
        return self.weight * x_hat + self.bias


class MeanOnlyBatchNorm(nn.Module):
    """The mean alone is subtracted; there is no variance."""

    def __init__(self, num_features):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x):
        return x - x.mean(0) + self.bias


class ValueNorm(nn.Module):
    """Divides by running moments, which are parameters without a gradient; updated afterwards."""

    def __init__(self, input_shape, beta=0.7):
        super().__init__()
        self.beta = beta
        self.running_mean = nn.Parameter(torch.zeros(input_shape), requires_grad=False)
        self.running_mean_sq = nn.Parameter(torch.ones(input_shape), requires_grad=False)

    @torch.no_grad()
    def update(self, x):
        self.running_mean.lerp_(x.mean(0), 1 - self.beta)
        self.running_mean_sq.lerp_((x**2).mean(0), 1 - self.beta)

    def normalize(self, x):
        mean, square = self.running_mean.clone(), self.running_mean_sq.clone()
        return (x - mean) / (square - mean**2).clamp(min=1e-2).sqrt()

    def forward(self, x):
        y = self.normalize(x)
        if self.training:
            self.update(x)
        return y


class EarlyValueNorm(ValueNorm):
    """The same, updated first: the statistics hold x."""

    def forward(self, x):
        if self.training:
            self.update(x)
        return self.normalize(x)
