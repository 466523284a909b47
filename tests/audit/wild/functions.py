"""Gradients written by hand in PyTorch, with the mistakes that such functions usually have."""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

EPS = 1e-5


class FusedBatchNorm(Function):
    """Batch normalization of rows, with the whole gradient."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        mean = x.mean(0)
        rstd = 1.0 / torch.sqrt(((x - mean) ** 2).mean(0) + EPS)
        x_hat = (x - mean) * rstd
        ctx.save_for_backward(x_hat, rstd, gamma)
        return gamma * x_hat + beta

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        n = dy.shape[0]
        dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
        return gamma * rstd / n * (n * dy - dbeta - x_hat * dgamma), dgamma, dbeta


class MeanForgotten(FusedBatchNorm):
    """The path through the mean is missing."""

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        n = dy.shape[0]
        dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
        return gamma * rstd / n * (n * dy - x_hat * dgamma), dgamma, dbeta


class VarianceForgotten(FusedBatchNorm):
    """The path through the variance is missing."""

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        dx_hat = dy * gamma
        return rstd * (dx_hat - dx_hat.mean(0)), (dy * x_hat).sum(0), dy.sum(0)


class SumForMean(FusedBatchNorm):
    """1/N is missing before both sums."""

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
        return gamma * rstd * (dy - dbeta - x_hat * dgamma), dgamma, dbeta


class GammaForgotten(FusedBatchNorm):
    """dx starts from dy in place of gamma*dy."""

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, _ = ctx.saved_tensors
        dgamma, dbeta = (dy * x_hat).sum(0), dy.sum(0)
        return rstd * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)), dgamma, dbeta


class InputForDgamma(FusedBatchNorm):
    """dgamma is summed without x_hat."""

    @staticmethod
    def backward(ctx, dy):
        dx, _, dbeta = FusedBatchNorm.backward(ctx, dy)
        return dx, dy.sum(0), dbeta


class MeanForDbeta(FusedBatchNorm):
    """dbeta is the mean of dy, not its sum."""

    @staticmethod
    def backward(ctx, dy):
        dx, dgamma, _ = FusedBatchNorm.backward(ctx, dy)
        return dx, dgamma, dy.mean(0)


class EpsMoved(FusedBatchNorm):
    """eps is added to the deviation in the forward pass, to the variance in the backward pass."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        rstd = torch.rsqrt(var + EPS)
        ctx.save_for_backward((x - mean) * rstd, rstd, gamma)
        return gamma * (x - mean) / (torch.sqrt(var) + EPS) + beta


class UnbiasedForward(FusedBatchNorm):
    """The forward pass divides by n - 1, the backward pass by n."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        var, mean = torch.var_mean(x, 0)
        rstd = torch.rsqrt(var + EPS)
        x_hat = (x - mean) * rstd
        ctx.save_for_backward(x_hat, rstd, gamma)
        return gamma * x_hat + beta


class UnbiasedBoth(UnbiasedForward):
    """Both passes divide by n - 1."""

    @staticmethod
    def backward(ctx, dy):
        x_hat, rstd, gamma = ctx.saved_tensors
        n, d = dy.shape[0], dy * gamma
        dx = rstd * (d - d.mean(0) - x_hat * (d * x_hat).sum(0) / (n - 1))
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class TextbookStages(Function):
    """The chain rule in stages over (N, C, H, W), as in the paper; a sum that is 0 stands in it."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        g, b = gamma.view(1, -1, 1, 1), beta.view(1, -1, 1, 1)
        mean = x.mean((0, 2, 3), keepdim=True)
        var = x.var((0, 2, 3), keepdim=True, unbiased=False)
        ctx.save_for_backward(x, g, mean, var)
        return g * (x - mean) / torch.sqrt(var + EPS) + b

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, g, mean, var = ctx.saved_tensors
        axes, n = (0, 2, 3), x.numel() // x.shape[1]
        centered, std = x - mean, torch.sqrt(var + EPS)
        d_hat = dy * g
        d_var = (d_hat * centered).sum(axes, keepdim=True) * -0.5 * std**-3
        d_mean = -d_hat.sum(axes, keepdim=True) / std
        d_mean = d_mean - 2 * d_var * centered.sum(axes, keepdim=True) / n
        dx = d_hat / std + d_var * 2 * centered / n + d_mean / n
        return dx, (dy * centered / std).sum(axes), dy.sum(axes)


class HalfForgotten(TextbookStages):
    """-1/2 of the derivative of the root is missing from d_var."""

    @staticmethod
    def backward(ctx, dy):
        x, g, mean, var = ctx.saved_tensors
        axes, n = (0, 2, 3), x.numel() // x.shape[1]
        centered, std = x - mean, torch.sqrt(var + EPS)
        d_hat = dy * g
        d_var = -(d_hat * centered).sum(axes, keepdim=True) * std**-3
        d_mean = -d_hat.sum(axes, keepdim=True) / std
        dx = d_hat / std + d_var * 2 * centered / n + d_mean / n
        return dx, (dy * centered / std).sum(axes), dy.sum(axes)


class ChannelSum(TextbookStages):
    """n is the number of samples, the sums are over samples and positions."""

    @staticmethod
    def backward(ctx, dy):
        x, g, mean, var = ctx.saved_tensors
        axes, n = (0, 2, 3), x.shape[0]
        rstd = torch.rsqrt(var + EPS)
        x_hat, d = (x - mean) * rstd, dy * g
        sums = d.sum(axes, keepdim=True), (d * x_hat).sum(axes, keepdim=True)
        dx = rstd * (d - sums[0] / n - x_hat * sums[1] / n)
        return dx, (dy * x_hat).sum(axes), dy.sum(axes)


class FusedRMSNorm(Function):
    """Root mean square normalization of tokens, with the whole gradient."""

    kind = "rms"

    @staticmethod
    def forward(ctx, x, weight):
        rstd = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
        ctx.save_for_backward(x, weight, rstd)
        return x * rstd * weight

    @staticmethod
    def backward(ctx, dy):
        x, weight, rstd = ctx.saved_tensors
        x_hat, d = x * rstd, dy * weight
        dx = rstd * (d - x_hat * (d * x_hat).mean(-1, keepdim=True))
        return dx, (dy * x_hat).flatten(0, -2).sum(0)


class FusedRMSNormCut(FusedRMSNorm):
    """The second term of dx is missing."""

    @staticmethod
    def backward(ctx, dy):
        x, weight, rstd = ctx.saved_tensors
        return dy * weight * rstd, (dy * x * rstd).flatten(0, -2).sum(0)


class TrainingGradient(Function):
    """Evaluation normalizes with the running values, and takes the gradient of training."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, training):
        mean, var = running_mean, running_var
        if training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
        rstd = torch.rsqrt(var + EPS)
        x_hat = (x - mean) * rstd
        ctx.save_for_backward(x_hat, rstd, weight)
        return weight * x_hat + bias

    @staticmethod
    def backward(ctx, dy):
        dx, dgamma, dbeta = FusedBatchNorm.backward(ctx, dy)
        return dx, dgamma, dbeta, None, None, None


class ModeGradient(TrainingGradient):
    """The backward pass asks which statistics were used."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, training):
        ctx.training = training
        arguments = (x, weight, bias, running_mean, running_var, training)
        return TrainingGradient.forward(ctx, *arguments)

    @staticmethod
    def backward(ctx, dy):
        if ctx.training:
            return TrainingGradient.backward(ctx, dy)
        x_hat, rstd, weight = ctx.saved_tensors
        return dy * weight * rstd, (dy * x_hat).sum(0), dy.sum(0), None, None, None
