"""Forward and backward passes in NumPy, as courses and small libraries have them."""

import numpy as np

EPS = 1e-5


class CourseBatchNorm:
    """Batch normalization of rows, backward in stages."""

    def forward(self, x, gamma, beta):
        mu = x.mean(axis=0)
        xmu = x - mu
        var = np.mean(xmu**2, axis=0)
        std = np.sqrt(var + EPS)
        x_hat = xmu / std
        return gamma * x_hat + beta, (x_hat, xmu, std, gamma)

    def backward(self, dout, cache):
        x_hat, xmu, std, gamma = cache
        n = dout.shape[0]
        dx_hat = dout * gamma
        dvar = np.sum(dx_hat * xmu, axis=0) * -0.5 / std**3
        dmu = -np.sum(dx_hat, axis=0) / std - 2 * dvar * np.mean(xmu, axis=0)
        dx = dx_hat / std + dvar * 2 * xmu / n + dmu / n
        return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


class CourseShort(CourseBatchNorm):
    """The part of the mean that goes through the variance is dropped: it is 0."""

    def backward(self, dout, cache):
        x_hat, xmu, std, gamma = cache
        n = dout.shape[0]
        dx_hat = dout * gamma
        dvar = np.sum(dx_hat * xmu, axis=0) * -0.5 / std**3
        dx = (dx_hat - np.mean(dx_hat, axis=0)) / std + 2 * dvar * xmu / n
        return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


class CourseMeanLost(CourseBatchNorm):
    """dmu is computed from the variance's part only, which is 0."""

    def backward(self, dout, cache):
        x_hat, xmu, std, gamma = cache
        n = dout.shape[0]
        dx_hat = dout * gamma
        dvar = np.sum(dx_hat * xmu, axis=0) * -0.5 / std**3
        dmu = -2 * dvar * np.mean(xmu, axis=0)
        dx = dx_hat / std + dvar * 2 * xmu / n + dmu / n
        return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


class CourseSignFlipped(CourseBatchNorm):
    """The part of the variance has the wrong sign."""

    def backward(self, dout, cache):
        x_hat, _, std, gamma = cache
        d = dout * gamma
        dx = (d - d.mean(0) + x_hat * (d * x_hat).mean(0)) / std
        return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


class SpatialBatchNorm:
    """Images are turned into rows, and back."""

    sample_shape = (3, 2, 2)
    rows = CourseBatchNorm()

    def forward(self, x, gamma, beta):
        n, c, h, w = x.shape
        flat = x.transpose(0, 2, 3, 1).reshape(-1, c)
        out, cache = self.rows.forward(flat, gamma, beta)
        return out.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache

    def backward(self, dout, cache):
        n, c, h, w = dout.shape
        flat = dout.transpose(0, 2, 3, 1).reshape(-1, c)
        dx, dgamma, dbeta = self.rows.backward(flat, cache)
        return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta


class SpatialShuffled(SpatialBatchNorm):
    """The backward pass turns rows into images without turning the axes back."""

    def backward(self, dout, cache):
        n, c, h, w = dout.shape
        flat = dout.transpose(0, 2, 3, 1).reshape(-1, c)
        dx, dgamma, dbeta = self.rows.backward(flat, cache)
        return dx.reshape(n, c, h, w), dgamma, dbeta


class LayerPair:
    """Layer normalization of rows."""

    kind = "layer"

    def forward(self, x, gamma, beta):
        mu = x.mean(-1, keepdims=True)
        rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + EPS)
        x_hat = (x - mu) * rstd
        return gamma * x_hat + beta, (x_hat, rstd, gamma)

    def backward(self, dout, cache):
        x_hat, rstd, gamma = cache
        d = dout * gamma
        along = (d * x_hat).mean(-1, keepdims=True)
        dx = rstd * (d - d.mean(-1, keepdims=True) - x_hat * along)
        axes = tuple(range(dout.ndim - 1))
        return dx, (dout * x_hat).sum(axes), dout.sum(axes)


class LayerPairBatchAxis(LayerPair):
    """The means of the backward pass are those of batch normalization, over axis 0."""

    def backward(self, dout, cache):
        x_hat, rstd, gamma = cache
        d = dout * gamma
        dx = rstd * (d - d.mean(0) - x_hat * (d * x_hat).mean(0))
        axes = tuple(range(dout.ndim - 1))
        return dx, (dout * x_hat).sum(axes), dout.sum(axes)


class LayerPairGammaMean(LayerPair):
    """dgamma is a mean over the batch."""

    def backward(self, dout, cache):
        dx, _, dbeta = super().backward(dout, cache)
        return dx, (dout * cache[0]).mean(tuple(range(dout.ndim - 1))), dbeta


class GroupPair:
    """Group normalization of images."""

    kind, sample_shape, groups = "group", (4, 2, 2), 2

    def forward(self, x, gamma, beta):
        flat = x.reshape(x.shape[0], self.groups, -1)
        mu, var = flat.mean(2, keepdims=True), flat.var(2, keepdims=True)
        x_hat = (flat - mu) / np.sqrt(var + EPS)
        y = gamma[:, None, None] * x_hat.reshape(x.shape) + beta[:, None, None]
        return y, (x_hat, var, gamma)

    def backward(self, dout, cache):
        x_hat, var, gamma = cache
        d = (dout * gamma[:, None, None]).reshape(x_hat.shape)
        means = d.mean(2, keepdims=True), (d * x_hat).mean(2, keepdims=True)
        dx = (d - means[0] - x_hat * means[1]) / np.sqrt(var + EPS)
        product = dout * x_hat.reshape(dout.shape)
        return dx.reshape(dout.shape), product.sum((0, 2, 3)), dout.sum((0, 2, 3))


class GroupPairGammaLate(GroupPair):
    """gamma is multiplied into dx at the end, though it differs within a group."""

    def backward(self, dout, cache):
        x_hat, var, gamma = cache
        d = dout.reshape(x_hat.shape)
        means = d.mean(2, keepdims=True), (d * x_hat).mean(2, keepdims=True)
        dx = (d - means[0] - x_hat * means[1]) / np.sqrt(var + EPS)
        product = dout * x_hat.reshape(dout.shape)
        dx = dx.reshape(dout.shape) * gamma[:, None, None]
        return dx, product.sum((0, 2, 3)), dout.sum((0, 2, 3))


class RMSPair:
    """Root mean square normalization of rows."""

    kind, has_beta = "rms", False

    def forward(self, x, gamma, beta):
        rms = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + EPS)
        return gamma * x / rms, (x, rms, gamma)

    def backward(self, dout, cache):
        x, rms, gamma = cache
        d = dout * gamma
        dx = d / rms - x * np.mean(d * x, axis=-1, keepdims=True) / rms**3
        return dx, (dout * x / rms).sum(tuple(range(dout.ndim - 1))), None


class RMSPairSum(RMSPair):
    """A sum in place of the mean in the second term."""

    def backward(self, dout, cache):
        x, rms, gamma = cache
        d = dout * gamma
        dx = d / rms - x * np.sum(d * x, axis=-1, keepdims=True) / rms**3
        return dx, (dout * x / rms).sum(tuple(range(dout.ndim - 1))), None


class RunningPair:
    """Running statistics; the backward pass knows which were used."""

    def __init__(self, momentum=0.9):
        self.training, self.momentum = True, momentum
        self.running_mean, self.running_var = np.zeros(3), np.ones(3)

    def forward(self, x, gamma, beta):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0), x.var(0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        std = np.sqrt(var + EPS)
        x_hat = (x - mean) / std
        return gamma * x_hat + beta, (x_hat, gamma / std, self.training)

    def backward(self, dout, cache):
        x_hat, factor, training = cache
        dx = factor * dout
        if training:
            dx = factor * (dout - dout.mean(0) - x_hat * (dout * x_hat).mean(0))
        return dx, (dout * x_hat).sum(0), dout.sum(0)


class RunningPairOneGradient(RunningPair):
    """Evaluation takes the gradient of training."""

    def backward(self, dout, cache):
        x_hat, factor, _ = cache
        return super().backward(dout, (x_hat, factor, True))


class RunningPairEverywhere(RunningPair):
    """The new running values normalize in training, and the gradient is that of the batch's."""

    def forward(self, x, gamma, beta):
        if self.training:
            m = self.momentum
            self.running_mean = m * self.running_mean + (1 - m) * x.mean(0)
            self.running_var = m * self.running_var + (1 - m) * x.var(0)
        std = np.sqrt(self.running_var + EPS)
        x_hat = (x - self.running_mean) / std
        return gamma * x_hat + beta, (x_hat, gamma / std, self.training)
