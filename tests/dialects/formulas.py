"""Caffe's and MXNet's layers in float64, by their formulas; no part of backnorm.

How far a golden is from these is what its framework lost. Numbers that a framework keeps in float32
are rounded to it here as well: they are part of what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


def single(number: float) -> float:
    """A number as float32 holds it."""
    return float(np.float32(number))


@dataclass
class Exact:
    """One layer: the statistics it normalizes with, and the gradients for them."""

    gamma: Any
    beta: Any
    eps: float
    axis: int
    saved: Any = field(default=None, init=False)

    def over(self, values: Any, ndim: int) -> Any:
        """Per-channel values, to be combined with x."""
        shape = [1] * ndim
        shape[self.axis] = -1
        return np.asarray(values, float).reshape(shape)

    def axes(self, ndim: int) -> tuple[int, ...]:
        """The axes that are reduced."""
        return tuple(a for a in range(ndim) if a != self.axis % ndim)

    def measure(self, x: Any) -> tuple[Any, Any]:
        """Mean and biased variance of a batch."""
        x = x.astype(float)
        return x.mean(self.axes(x.ndim)), x.var(self.axes(x.ndim))

    def normalize(self, x: Any, mean: Any, var: Any, *, frozen: bool) -> Any:
        """Compute y."""
        inv_std = 1 / np.sqrt(var + self.eps)
        x_hat = (x.astype(float) - self.over(mean, x.ndim)) * self.over(inv_std, x.ndim)
        self.saved = x_hat, inv_std, frozen
        return x_hat * self.over(self.gamma, x.ndim) + self.over(self.beta, x.ndim)

    def backward(self, dy: Any) -> dict[str, Any]:
        """Compute all gradients."""
        x_hat, inv_std, frozen = self.saved
        dy, axes = dy.astype(float), self.axes(dy.ndim)
        d = dy * self.over(self.gamma * inv_std, dy.ndim)
        dx = d
        if not frozen:
            dx = d - d.mean(axes, keepdims=True)
            dx = dx - x_hat * (d * x_hat).mean(axes, keepdims=True)
        return {"dx": dx, "dgamma": (dy * x_hat).sum(axes), "dbeta": dy.sum(axes)}


class ExactCaffe:
    """BatchNorm and Scale, from the three blobs on."""

    def __init__(self, case: dict[str, Any], golden: dict[str, Any]) -> None:
        c = case["shape"][1]
        gamma, beta = golden.get("gamma", np.ones(c)), golden.get("beta", np.zeros(c))
        eps = 1e-5 if case["eps"] is None else case["eps"]
        self.layer = Exact(gamma.astype(float), beta.astype(float), single(eps), 1)
        fraction = case["moving_average_fraction"]
        self.keep = single(0.999 if fraction is None else fraction)
        self.blobs = [golden[f"blob{k}"].astype(float) for k in range(3)]
        self.global_stats = case["use_global_stats"]

    def forward(self, x: Any, *, test: bool) -> Any:
        """Compute y, and change the blobs."""
        if self.global_stats or (test and self.global_stats is None):
            factor = 1 / self.blobs[2] if self.blobs[2][0] else 0.0
            mean, var = self.blobs[0] * factor, self.blobs[1] * factor
            return self.layer.normalize(x, mean, var, frozen=True)
        mean, var = self.layer.measure(x)
        n = x.size // x.shape[1]
        new = mean, var * (n / (n - 1) if n > 1 else 1.0), 1.0
        self.blobs = [self.keep * old + value for old, value in zip(self.blobs, new, strict=True)]
        return self.layer.normalize(x, mean, var, frozen=False)


class ExactMXNet:
    """BatchNorm, whose statistics change in backward."""

    def __init__(self, case: dict[str, Any], golden: dict[str, Any]) -> None:
        options = case["params"]
        self.fixed = options.get("fix_gamma", True)
        gamma = golden["gamma"].astype(float)
        self.layer = Exact(
            np.ones_like(gamma) if self.fixed else gamma,
            golden["beta"].astype(float),
            options.get("eps", single(1e-3)),
            case["axis"],
        )
        self.keep = single(options.get("momentum", 0.9))
        self.mean = golden["running_mean"].astype(float)
        self.var = golden["running_var"].astype(float)
        self.frozen = case["mode"] != "train" or options.get("use_global_stats", False)
        self.buffers = {
            name: golden[f"grad_buffer_{name}"].astype(float)
            for name in ("dx", "dgamma", "dbeta")
            if f"grad_buffer_{name}" in golden
        }
        self.requests = dict(zip(("dx", "dgamma", "dbeta"), case["grad_req"].values(), strict=True))

    def forward(self, x: Any) -> Any:
        """Compute y."""
        self.batch = (self.mean, self.var) if self.frozen else self.layer.measure(x)
        return self.layer.normalize(x, *self.batch, frozen=self.frozen)

    def outputs(self) -> dict[str, Any]:
        """The second and the third output."""
        return {"out_mean": self.batch[0], "out_var": self.layer.saved[1]}

    def backward(self, dy: Any) -> dict[str, Any]:
        """Compute the gradients into their buffers, and change the statistics."""
        found = self.layer.backward(dy)
        if self.fixed:
            found["dgamma"] = np.zeros_like(found["dgamma"])
        for name, request in self.requests.items():
            if request != "null":
                before = self.buffers[name] if request == "add" else 0.0
                self.buffers[name] = before + found[name]
        if not self.frozen:
            self.mean = self.keep * self.mean + (1 - self.keep) * self.batch[0]
            self.var = self.keep * self.var + (1 - self.keep) * self.batch[1]
        return self.buffers
