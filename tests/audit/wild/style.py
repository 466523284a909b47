"""Style transfer: instance normalization in many spellings, and blends with others."""

import torch
from torch import nn


def column(parameter):
    """Return (C,) as (1, C, 1, 1)."""
    return parameter.view(1, -1, 1, 1)


class FlatInstanceNorm(nn.Module):
    """Instance normalization of (N, C, H*W) with the default of var(), which is unbiased."""

    def __init__(self, channels, epsilon=1e-9):
        super().__init__()
        self.epsilon = epsilon
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        n, c, h, w = x.size()
        t = x.view(n, c, h * w)
        mean, var = t.mean(2)[..., None, None], t.var(2)[..., None, None]
        y = (x - mean) / torch.sqrt(var + self.epsilon)
        return y * column(self.scale) + column(self.shift)


class FlatInstanceNormCut(FlatInstanceNorm):
    """The statistics are taken from x.data, as old tutorials do."""

    def forward(self, x):
        n, c, h, w = x.size()
        t = x.data.view(n, c, h * w)
        mean, var = t.mean(2)[..., None, None], t.var(2)[..., None, None]
        y = (x - mean) / torch.sqrt(var + self.epsilon)
        return y * column(self.scale) + column(self.shift)


class StdInstanceNorm(FlatInstanceNorm):
    """The deviation plus eps, with eps outside the root."""

    def forward(self, x):
        std, mean = torch.std_mean(x, (2, 3), keepdim=True)
        return (x - mean) / (std + 1e-5) * column(self.scale) + column(self.shift)


class BatchInstanceNorm(nn.Module):
    """A learned blend of what batch and instance normalization give."""

    def __init__(self, channels):
        super().__init__()
        self.rho = nn.Parameter(torch.full((channels,), 0.5))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def normalize(self, x, axes):
        mean = x.mean(axes, keepdim=True)
        var = ((x - mean) ** 2).mean(axes, keepdim=True)
        return (x - mean) * torch.rsqrt(var + 1e-5)

    def forward(self, x):
        rho = column(self.rho)
        y = rho * self.normalize(x, (0, 2, 3)) + (1 - rho) * self.normalize(x, (2, 3))
        return y * column(self.weight) + column(self.bias)


class BatchInstanceNormCut(BatchInstanceNorm):
    """The statistics of the batch are constants, those of the instance are live."""

    def normalize(self, x, axes):
        if 0 not in axes:
            return super().normalize(x, axes)
        std, mean = torch.std_mean(x.detach(), axes, keepdim=True, unbiased=False)
        return (x - mean) / (std + 1e-5)


class SwitchNorm(nn.Module):
    """Learned weights mix the statistics of instance, layer and batch."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mean_weight = nn.Parameter(torch.ones(3), requires_grad=False)
        self.var_weight = nn.Parameter(torch.ones(3), requires_grad=False)

    def moments(self, x):
        mean_in = x.mean((2, 3), keepdim=True)
        var_in = x.var((2, 3), keepdim=True, unbiased=False)
        square = var_in + mean_in**2
        mean_ln = mean_in.mean(1, keepdim=True)
        mean_bn = mean_in.mean(0, keepdim=True)
        var_ln = square.mean(1, keepdim=True) - mean_ln**2
        var_bn = square.mean(0, keepdim=True) - mean_bn**2
        a, b = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        mean = a[0] * mean_in + a[1] * mean_ln + a[2] * mean_bn
        return mean, b[0] * var_in + b[1] * var_ln + b[2] * var_bn

    def forward(self, x):
        mean, var = self.moments(x)
        return (x - mean) / torch.sqrt(var + 1e-5) * self.weight + self.bias


class SwitchNormCut(SwitchNorm):
    """The mixed variance is detached."""

    def moments(self, x):
        mean, var = super().moments(x)
        return mean, var.detach()


class IBN(nn.Module):
    """Instance normalization for the first half of the channels, batch normalization after it."""

    def __init__(self, planes):
        super().__init__()
        self.half = planes // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(planes - self.half)

    def forward(self, x):
        first, second = torch.split(x, [self.half, x.shape[1] - self.half], 1)
        return torch.cat([self.IN(first.contiguous()), self.BN(second.contiguous())], 1)


class IBNCut(IBN):
    """The instance half does not pass the gradient of its statistics on."""

    def forward(self, x):
        first, second = torch.split(x, [self.half, x.shape[1] - self.half], 1)
        std, mean = torch.std_mean(first.detach(), (2, 3), keepdim=True, unbiased=False)
        first = (first - mean) / (std + 1e-5)
        first = first * column(self.IN.weight) + column(self.IN.bias)
        return torch.cat([first, self.BN(second.contiguous())], 1)


class FusedInstanceNorm(torch.autograd.Function):
    """Divides by n - 1 in the forward pass, and by n in the backward pass."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        mean = x.mean((2, 3), keepdim=True)
        rstd = torch.rsqrt(x.var((2, 3), keepdim=True) + 1e-5)
        x_hat = (x - mean) * rstd
        ctx.save_for_backward(x_hat, rstd, gamma)
        return x_hat * column(gamma) + column(beta)

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        g = dy * column(gamma)
        mean_g = g.mean((2, 3), keepdim=True)
        mean_gx = (g * x_hat).mean((2, 3), keepdim=True)
        dx = rstd * (g - mean_g - x_hat * mean_gx)
        return dx, (dy * x_hat).sum((0, 2, 3)), dy.sum((0, 2, 3))


class SelfNorm(nn.Module):
    """Mean and deviation of each channel are scaled by gates that they compute."""

    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.ones(channels, 2))
        self.g = nn.Parameter(torch.full((channels, 2), 0.5))

    def moments(self, x):
        var, mean = torch.var_mean(x, (2, 3), unbiased=False)
        return torch.stack([mean, (var + 1e-6).sqrt()], -1)

    def forward(self, x):
        moments = self.moments(x)
        gates = [torch.sigmoid((moments * p).sum(-1))[..., None, None] for p in (self.w, self.g)]
        mean = moments[..., :1, None]
        return (x - mean) * gates[1] + mean * gates[0]


class SelfNormCut(SelfNorm):
    """The gates do not differentiate what they look at."""

    def moments(self, x):
        return super().moments(x).detach()
