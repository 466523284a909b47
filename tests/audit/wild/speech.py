"""Speech: padded sequences, causal statistics, and layers over (batch, channel, time)."""

import torch
from torch import nn


def mask_of(x):
    """Return 1 for frames and 0 for padding: sequences of (batch, channel, time) get shorter."""
    n, _, t = x.shape
    lengths = torch.clamp(t - torch.arange(n) % 3, min=1)
    return (torch.arange(t)[None] < lengths[:, None]).to(x.dtype)[:, None]


class MaskedBatchNorm(nn.Module):
    """Statistics over the frames that are not padding; padding stays 0."""

    def __init__(self, num_features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features, 1))
        self.bias = nn.Parameter(torch.zeros(num_features, 1))

    def moments(self, x, mask):
        n = mask.sum()
        mean = (x * mask).sum((0, 2), keepdim=True) / n
        var = ((x - mean) ** 2 * mask).sum((0, 2), keepdim=True) / n
        return mean, var

    def forward(self, x, mask=None):
        mask = mask_of(x) if mask is None else mask
        mean, var = self.moments(x, mask)
        return ((x - mean) / torch.sqrt(var + 1e-5) * self.weight + self.bias) * mask


class MaskedBatchNormCut(MaskedBatchNorm):
    """Both statistics are detached."""

    def moments(self, x, mask):
        return super().moments(x.detach(), mask)


class MaskedBatchNormAll(MaskedBatchNorm):
    """Divides by the number of all frames: other statistics, and their own right gradient."""

    def moments(self, x, mask):
        n = x.shape[0] * x.shape[2]
        mean = (x * mask).sum((0, 2), keepdim=True) / n
        return mean, ((x - mean) ** 2 * mask).sum((0, 2), keepdim=True) / n


class MaskedFunction(torch.autograd.Function):
    """Counts the valid frames in the forward pass, and all frames in the backward pass."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        mask = mask_of(x)
        n = mask.sum()
        mean = (x * mask).sum((0, 2), keepdim=True) / n
        var = ((x - mean) ** 2 * mask).sum((0, 2), keepdim=True) / n
        rstd = torch.rsqrt(var + 1e-5)
        x_hat = (x - mean) * rstd * mask
        ctx.save_for_backward(x_hat, rstd, gamma, mask)
        return (x_hat * gamma[:, None] + beta[:, None]) * mask

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma, mask = ctx.saved_tensors
        dy = dy * mask
        g = dy * gamma[:, None]
        mean_g = g.mean((0, 2), keepdim=True)
        mean_gx = (g * x_hat).mean((0, 2), keepdim=True)
        dx = rstd * (g - mean_g - x_hat * mean_gx) * mask
        return dx, (dy * x_hat).sum((0, 2)), dy.sum((0, 2))


class CumulativeLayerNorm(nn.Module):
    """Causal: each frame has the statistics of all frames up to it."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def moments(self, x):
        _, c, t = x.shape
        count = torch.arange(c, c * (t + 1), c, dtype=x.dtype).view(1, 1, t)
        mean = x.sum(1, keepdim=True).cumsum(-1) / count
        square = x.pow(2).sum(1, keepdim=True).cumsum(-1) / count
        return mean, square - mean.pow(2)

    def forward(self, x):
        mean, var = self.moments(x)
        return self.gain * (x - mean) / (var + 1e-5).sqrt() + self.bias


class CumulativeLayerNormCut(CumulativeLayerNorm):
    """The statistics of the past are kept as constants, as in streaming."""

    def moments(self, x):
        mean, var = super().moments(x)
        return mean.detach(), var.detach()


class GlobalLayerNorm(nn.Module):
    """Statistics over channels and time, gamma for each channel."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def spread(self, centered):
        return centered.pow(2).mean((1, 2), keepdim=True)

    def forward(self, y):
        centered = y - y.mean((1, 2), keepdim=True)
        return self.gamma * centered / (self.spread(centered) + 1e-8).sqrt() + self.beta


class GlobalLayerNormCut(GlobalLayerNorm):
    """The variance is detached."""

    def spread(self, centered):
        return super().spread(centered.detach())


class FrameNorm(nn.Module):
    """Layer normalization over the channels of (batch, channel, time)."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class FrameNormCut(nn.Module):
    """The same by hand, where the mean is detached."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        x = x - x.mean(1, keepdim=True).detach()
        x = x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5)
        return x * self.weight[:, None] + self.bias[:, None]
