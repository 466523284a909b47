"""Ghost batches, groups, root mean squares, weights: variants of the usual normalizations."""

import torch
import torch.nn.functional as F
from torch import nn


class GhostBatchNorm(nn.Module):
    """A batch is cut into virtual batches of 4 samples, each with its statistics."""

    def __init__(self, input_dim, virtual_batch_size=4):
        super().__init__()
        self.size = virtual_batch_size
        self.bn = nn.BatchNorm1d(input_dim, track_running_stats=False)

    def forward(self, x):
        parts = max(len(x) // self.size, 1)
        return torch.cat([self.bn(part) for part in x.chunk(parts, 0)], 0)


class GhostBatchNormCut(nn.Module):
    """Virtual batches by way of a view; the variance is detached."""

    def __init__(self, input_dim, virtual_batch_size=4):
        super().__init__()
        self.size = virtual_batch_size
        self.weight = nn.Parameter(torch.ones(input_dim))
        self.bias = nn.Parameter(torch.zeros(input_dim))

    def normalize(self, x):
        centered = x - x.mean(0)
        return centered * torch.rsqrt(centered.detach().pow(2).mean(0) + 1e-5)

    def forward(self, x):
        parts = max(len(x) // self.size, 1)
        y = torch.cat([self.normalize(part) for part in x.chunk(parts, 0)], 0)
        return y * self.weight + self.bias


class HandGroupNorm(nn.Module):
    """Group normalization by way of a view."""

    def __init__(self, num_groups, num_channels, eps=1e-5):
        super().__init__()
        self.num_groups, self.eps = num_groups, eps
        self.weight = nn.Parameter(torch.ones(1, num_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, num_channels, 1, 1))

    def moments(self, x):
        return x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)

    def forward(self, x):
        shape = x.shape
        x = x.reshape(shape[0], self.num_groups, -1)
        mean, var = self.moments(x)
        x = ((x - mean) / (var + self.eps).sqrt()).view(shape)
        return x * self.weight + self.bias


class HandGroupNormCut(HandGroupNorm):
    """Both statistics of the groups are detached."""

    def moments(self, x):
        return super().moments(x.detach())


class PerGroupAffine(nn.Module):
    """Group normalization with one gamma and one beta for each group."""

    def __init__(self, num_groups, num_channels):
        super().__init__()
        self.num_groups, self.num_channels = num_groups, num_channels
        self.weight = nn.Parameter(torch.ones(num_groups))
        self.bias = nn.Parameter(torch.zeros(num_groups))

    def normalize(self, t):
        return F.layer_norm(t, t.shape[-1:])

    def forward(self, x):
        if x.shape[1] != self.num_channels:
            raise ValueError(f"expected {self.num_channels} channels, got {x.shape[1]}")
        t = self.normalize(x.reshape(x.shape[0], self.num_groups, -1))
        return (t * self.weight[:, None] + self.bias[:, None]).view_as(x)


class PerGroupAffineCut(PerGroupAffine):
    """The deviation of the groups is detached."""

    def normalize(self, t):
        std, mean = torch.std_mean(t, -1, keepdim=True, unbiased=False)
        return (t - mean) / (std.detach() + 1e-5)


class LlamaNorm(nn.Module):
    """Root mean square normalization in float32 at least."""

    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        wide = hidden_states if hidden_states.dtype == torch.float64 else hidden_states.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * wide.to(hidden_states.dtype)


class LlamaNormCut(LlamaNorm):
    """The factor is computed under no_grad."""

    def forward(self, hidden_states):
        with torch.no_grad():
            square = hidden_states.pow(2).mean(-1, keepdim=True)
            factor = torch.rsqrt(square + self.variance_epsilon)
        return self.weight * (hidden_states * factor)


class T5LayerNorm(nn.Module):
    """Its name says layer normalization; it divides by the root mean square."""

    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class PartialRMSNorm(nn.Module):
    """The root mean square of the first half of the features is used for all."""

    def __init__(self, d, p=0.5):
        super().__init__()
        self.part = int(d * p)
        self.scale = nn.Parameter(torch.ones(d))

    def size(self, x):
        return x[..., : self.part].norm(2, dim=-1, keepdim=True) * self.part**-0.5

    def forward(self, x):
        return self.scale * x / (self.size(x) + 1e-8)


class PartialRMSNormCut(PartialRMSNorm):
    """The root mean square is detached."""

    def size(self, x):
        return super().size(x).detach()


class ScaleNorm(nn.Module):
    """One learned length for all vectors, as queries and keys get it."""

    def __init__(self, scale=3.0):
        super().__init__()
        self.g = nn.Parameter(torch.tensor(scale), requires_grad=False)

    def forward(self, x):
        return self.g * F.normalize(x, dim=-1, eps=1e-6)


class ScaleNormCut(ScaleNorm):
    """The length of the vector is a constant."""

    def forward(self, x):
        return self.g * x / x.detach().norm(dim=-1, keepdim=True).clamp(min=1e-6)


class WSConv2d(nn.Conv2d):
    """A convolution with standardized weights: x itself is not normalized."""

    def __init__(self, channels=4):
        super().__init__(channels, channels, 1, bias=False)

    def forward(self, x):
        var, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True, unbiased=False)
        return F.conv2d(x, (self.weight - mean) * torch.rsqrt(var * 4 + 1e-4))


class CosineConv2d(nn.Conv2d):
    """Weights and pixels are scaled to unit length: the pixels' length is a constant by mistake."""

    def __init__(self, channels=4):
        super().__init__(channels, channels, 1, bias=False)

    def forward(self, x):
        with torch.no_grad():
            length = x.norm(dim=1, keepdim=True) + 1e-6
        return F.conv2d(x / length, F.normalize(self.weight, dim=1))


class SwappedMomentum(nn.Module):
    """The new statistics have the weight that the old ones should have; the gradient is right."""

    def __init__(self, num_features, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def keep(self, mean, var):
        m = self.momentum
        self.running_mean.copy_(m * self.running_mean + (1 - m) * mean.detach())
        self.running_var.copy_(m * self.running_var + (1 - m) * var.detach())

    def forward(self, x):
        axes = (0, *range(2, x.dim()))
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, axes, unbiased=False)
            self.keep(mean, var)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5)


class LeakyRunning(SwappedMomentum):
    """The running statistics are blended without detach, and hold the graph of the batch."""

    def keep(self, mean, var):
        m = self.momentum
        self.running_mean = (1 - m) * self.running_mean + m * mean
        self.running_var = (1 - m) * self.running_var + m * var


class FrozenAffine(nn.Module):
    """Batch normalization with constants, folded into a factor and a shift."""

    def __init__(self, num_features):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            self.register_buffer(name, torch.full((num_features,), value))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        shape = (1, -1) + (1,) * (x.dim() - 2)
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.view(shape) + shift.view(shape)


class ScaledStdConv2d(nn.Conv2d):
    """The convolution of a network without normalization: its weight is, with a gain."""

    def __init__(self, channels=4):
        super().__init__(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def moments(self):
        return torch.var_mean(self.weight, (1, 2, 3), keepdim=True, unbiased=False)

    def forward(self, x):
        var, mean = self.moments()
        scale = torch.rsqrt(var * self.weight[0].numel() + 1e-4) * self.gain
        return F.conv2d(x, (self.weight - mean) * scale, self.bias, padding=1)


class ScaledStdConv2dCut(ScaledStdConv2d):
    """The statistics of the weight are constants: the weight gets a wrong gradient."""

    def moments(self):
        return [moment.detach() for moment in super().moments()]
