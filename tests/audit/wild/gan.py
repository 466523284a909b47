"""Generative models: normalizations with a condition, a reference batch, a style, or noise."""

import torch
import torch.nn.functional as F
from torch import nn


class ConditionalBatchNorm(nn.Module):
    """gamma and beta of each sample come from its class."""

    def __init__(self, num_features, num_classes=3):
        super().__init__()
        self.num_classes = num_classes
        self.bn = nn.BatchNorm2d(num_features, affine=False)
        self.gain = nn.Embedding(num_classes, num_features)
        self.shift = nn.Embedding(num_classes, num_features)
        nn.init.normal_(self.gain.weight, 1.0, 0.02)
        nn.init.zeros_(self.shift.weight)

    def normalize(self, x):
        return self.bn(x)

    def forward(self, x, label=None):
        if label is None:
            label = torch.arange(len(x)) % self.num_classes
        gain, shift = self.gain(label)[:, :, None, None], self.shift(label)[:, :, None, None]
        return self.normalize(x) * gain + shift


class ConditionalBatchNormCut(ConditionalBatchNorm):
    """The moments come from a helper under no_grad, which also keeps the running values."""

    @torch.no_grad()
    def moments(self, x):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        self.bn.running_mean.lerp_(mean, 0.1)
        self.bn.running_var.lerp_(var, 0.1)
        return mean[:, None, None], var[:, None, None]

    def normalize(self, x):
        if not self.training:
            return self.bn(x)
        mean, var = self.moments(x)
        return (x - mean) / torch.sqrt(var + 1e-5)


class VirtualBatchNorm(nn.Module):
    """Statistics of a fixed reference batch, blended with those of the sample."""

    reference_size = 4

    def __init__(self, num_features):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, num_features, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, num_features, 1, 1))
        ramp = torch.linspace(-1.0, 1.0, num_features).view(1, -1, 1, 1)
        self.register_buffer("ref_mean", ramp)
        self.register_buffer("ref_square", ramp**2 + 2.0)

    def blend(self, reference, own):
        new = 1.0 / (self.reference_size + 1.0)
        return new * own + (1.0 - new) * reference

    def forward(self, x):
        mean = self.blend(self.ref_mean, x.mean((2, 3), keepdim=True))
        square = self.blend(self.ref_square, (x**2).mean((2, 3), keepdim=True))
        std = torch.sqrt(square - mean**2 + 1e-5)
        return self.gamma * (x - mean) / std + self.beta


class VirtualBatchNormCut(VirtualBatchNorm):
    """The part of the sample is taken for a constant like the reference."""

    def blend(self, reference, own):
        return super().blend(reference, own.detach())


class AdaIN(nn.Module):
    """Statistics of a style take the place of those of the content."""

    def __init__(self, channels=4):
        super().__init__()
        self.register_buffer("style_mean", torch.linspace(-1.0, 1.0, channels).view(1, -1, 1, 1))
        self.register_buffer("style_std", torch.linspace(0.5, 2.0, channels).view(1, -1, 1, 1))

    def calc_mean_std(self, feat, eps=1e-5):
        n, c = feat.shape[:2]
        flat = feat.reshape(n, c, -1)
        std = (flat.var(dim=2) + eps).sqrt().view(n, c, 1, 1)
        return flat.mean(dim=2).view(n, c, 1, 1), std

    def forward(self, content):
        mean, std = self.calc_mean_std(content)
        return (content - mean) / std * self.style_std + self.style_mean


class AdaINCut(AdaIN):
    """The statistics of the content are detached like those of the style."""

    def calc_mean_std(self, feat, eps=1e-5):
        return super().calc_mean_std(feat.detach(), eps)


class PixelNorm(nn.Module):
    """Each pixel's vector of channels is divided by its root mean square."""

    def forward(self, x):
        return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class PixelNormCut(nn.Module):
    """The root mean square is computed from the data only."""

    def forward(self, x):
        return x / torch.sqrt(torch.mean(x.data**2, dim=1, keepdim=True) + 1e-8)


class MinibatchStd(nn.Module):
    """The mean deviation over the batch becomes one more channel: y has another shape than x."""

    def forward(self, x):
        std = torch.sqrt(x.var(0, unbiased=False) + 1e-8).mean()
        return torch.cat([x, std.expand(x.shape[0], 1, *x.shape[2:])], 1)


class NoisyBatchNorm(nn.Module):
    """Batch normalization, and noise with a learned strength that torch's generator draws."""

    def __init__(self, num_features):
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features)
        self.strength = nn.Parameter(torch.full((1, num_features, 1, 1), 0.1), requires_grad=False)

    def forward(self, x):
        noise = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)
        return self.norm(x) + self.strength * noise


GENERATOR = torch.Generator().manual_seed(1)


class OwnNoiseNorm(nn.Module):
    """Instance normalization with noise from a generator that the audit cannot rewind."""

    def forward(self, x):
        noise = torch.randn(x.shape, generator=GENERATOR, dtype=x.dtype)
        return F.instance_norm(x) + 0.1 * noise


class SpadeLike(nn.Module):
    """Instance normalization modulated by maps: gamma and beta of every position."""

    def forward(self, x):
        h, w = x.shape[2:]
        ramp = torch.linspace(0.0, 1.0, h * w, dtype=x.dtype).view(1, 1, h, w)
        return F.instance_norm(x) * (1 + ramp) + ramp


class SpadeLikeCut(nn.Module):
    """The normalized map is built from detached statistics before it is modulated."""

    def forward(self, x):
        h, w = x.shape[2:]
        std, mean = torch.std_mean(x, (2, 3), keepdim=True, unbiased=False)
        ramp = torch.linspace(0.0, 1.0, h * w, dtype=x.dtype).view(1, 1, h, w)
        return (x - mean) / (std.detach() + 1e-5) * (1 + ramp) + ramp
