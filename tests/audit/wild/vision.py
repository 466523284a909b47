"""Vision: normalizations over the channels of images, and beside activations and scales."""

import torch
import torch.nn.functional as F
from torch import nn


class ChannelsFirstNorm(nn.Module):
    """Layer normalization over axis 1 of (N, C, H, W)."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ChannelsFirstNormCut(ChannelsFirstNorm):
    """The variance is computed under no_grad, "to save memory"."""

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        with torch.no_grad():
            s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of (N, C, H, W), by way of (N, H, W, C)."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ChannelsLastBatchNorm(nn.Module):
    """Batch normalization of (N, H, W, C)."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        axes = tuple(range(x.dim() - 1))
        mean = x.mean(axes)
        var = x.var(axes, unbiased=False)
        return (x - mean) * torch.rsqrt(var + 1e-3) * self.scale + self.offset


class ChannelsLastBatchNormCut(ChannelsLastBatchNorm):
    """The mean is detached before it is subtracted."""

    def forward(self, x):
        axes = tuple(range(x.dim() - 1))
        mean = x.mean(axes).detach()
        var = ((x - mean) ** 2).mean(axes)
        return (x - mean) * torch.rsqrt(var + 1e-3) * self.scale + self.offset


class NormScale(nn.Module):
    """Layer normalization of tokens, times a small factor for each channel."""

    def __init__(self, dim, init_value=1e-2):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.ls = nn.Parameter(init_value * torch.ones(dim), requires_grad=False)

    def forward(self, x):
        return self.ls * self.norm(x)


class NormScaleCut(NormScale):
    """The same, where the normalization is written out and both statistics are constants."""

    def forward(self, x):
        std, mean = torch.std_mean(x.detach(), dim=-1, keepdim=True, unbiased=False)
        return self.ls * ((x - mean) / (std + 1e-5) * self.norm.weight + self.norm.bias)


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch normalization and an activation in one layer."""

    def __init__(self, num_features, act=F.relu):
        super().__init__(num_features)
        self.act = act

    def forward(self, x):
        return self.act(super().forward(x))


class BatchNormSiLU(BatchNormAct2d):
    """Batch normalization and SiLU in one layer."""

    def __init__(self, num_features):
        super().__init__(num_features, F.silu)


class BatchNormHardtanh(BatchNormAct2d):
    """Batch normalization and a clamp in one layer."""

    def __init__(self, num_features):
        super().__init__(num_features, F.hardtanh)


class BatchNormReLU6(BatchNormAct2d):
    """Batch normalization and relu6 in one layer."""

    def __init__(self, num_features):
        super().__init__(num_features, F.relu6)


class BatchNormActCut(BatchNormAct2d):
    """Statistics are computed by a helper under no_grad; the activation hides it."""

    @torch.no_grad()
    def moments(self, x):
        var, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)
        return mean, var

    def forward(self, x):
        mean, var = self.moments(x) if self.training else (self.running_mean, self.running_var)
        y = (x - mean[:, None, None]) * torch.rsqrt(var[:, None, None] + self.eps)
        return self.act(y * self.weight[:, None, None] + self.bias[:, None, None])


class BatchNormHardtanhCut(BatchNormActCut):
    """As it, behind a clamp."""

    def __init__(self, num_features):
        super().__init__(num_features, F.hardtanh)


class BatchNormSwishCut(nn.BatchNorm2d):
    """Batch normalization and SiLU; the variance is detached."""

    def forward(self, x):
        if not self.training:
            return F.silu(super().forward(x))
        mean = x.mean((0, 2, 3), keepdim=True)
        var = x.var((0, 2, 3), keepdim=True, unbiased=False).detach()
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(var.flatten(), self.momentum)
        y = (x - mean) / torch.sqrt(var + self.eps)
        return F.silu(y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1))


class GRN(nn.Module):
    """Global response normalization of (N, H, W, C)."""

    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def norms(self, x):
        gx = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        return gx / (gx.mean(dim=-1, keepdim=True) + 1e-6)

    def forward(self, x):
        return self.gamma * (x * self.norms(x)) + self.beta + x


class GRNCut(GRN):
    """Global response normalization whose norms are detached."""

    def norms(self, x):
        return super().norms(x.detach())


class DyT(nn.Module):
    """A tanh in place of a normalization: there are no statistics."""

    def __init__(self, dim, alpha_init_value=0.5):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1) * alpha_init_value)
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


class EvoNormS0(nn.Module):
    """A gate and the deviation of groups, without a mean."""

    def __init__(self, channels, groups=2):
        super().__init__()
        self.groups = groups
        self.v = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        grouped = x.view(n, self.groups, c // self.groups, h, w)
        var = grouped.var((2, 3, 4), keepdim=True, unbiased=False)
        std = torch.sqrt(var + 1e-5).expand_as(grouped).reshape(n, c, h, w)
        return x * torch.sigmoid(self.v * x) / std * self.gamma + self.beta


class FilterResponseNorm(nn.Module):
    """The mean square over positions, and a learned threshold behind it."""

    def __init__(self, num_features):
        super().__init__()
        shape = (1, num_features, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.tau = nn.Parameter(torch.full(shape, -0.5))

    def forward(self, x):
        nu2 = x.pow(2).mean((2, 3), keepdim=True)
        y = self.gamma * x * torch.rsqrt(nu2 + 1e-6) + self.beta
        return torch.max(y, self.tau)


class FilterResponseNormCut(FilterResponseNorm):
    """The mean square is detached."""

    def forward(self, x):
        nu2 = x.pow(2).mean((2, 3), keepdim=True).detach()
        y = self.gamma * x * torch.rsqrt(nu2 + 1e-6) + self.beta
        return torch.max(y, self.tau)


class QuantNorm(nn.Module):
    """Layer normalization with 8-bit outputs and a straight-through gradient."""

    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        y = self.norm(x)
        rounded = torch.round(y * 16).clamp(-128, 127) / 16
        return y + (rounded - y).detach()


class BatchNormPReLU(nn.BatchNorm2d):
    """Batch normalization and a leaky relu whose slopes train."""

    def __init__(self, num_features):
        super().__init__(num_features)
        self.slope = nn.Parameter(torch.full((num_features,), 0.25))

    def slopes(self):
        return self.slope[:, None, None]

    def forward(self, x):
        y = super().forward(x)
        return torch.where(y > 0, y, self.slopes() * y)


class BatchNormPReLUCut(BatchNormPReLU):
    """The slopes get no gradient."""

    def slopes(self):
        return super().slopes().detach()
