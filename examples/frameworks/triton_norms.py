"""Layer, group and RMS norms of two packages of Triton kernels, on the CPU by Triton's interpreter.

    pip install torch==2.13.0 triton==3.9.0
    pip install --no-deps liger-kernel==0.8.5 flash-linear-attention==0.6.0 fla-core==0.6.0 einops
    backnorm audit --limit 600 examples/frameworks/triton_norms.py:NORMS

What the packages want of a GPU is answered here in a few lines; the kernels are run as they are.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

import numpy as np
import torch
import triton.language as tl
from triton.runtime import Autotuner, interpreter

CHANNELS, GROUPS = 6, 2


def _with_floats(convert):
    """Give kernels numbers as tensors, as a compiled kernel has them: they call eps.to(...)."""

    def converted(arg):
        if isinstance(arg, float):
            handle = interpreter.TensorHandle(np.array([arg], np.float32), tl.float32)
            return tl.tensor(handle, tl.float32)
        return convert(arg)

    return converted


def _first_config(tuner, *args, **given):
    """Run a kernel as the first of its configurations says: there is nothing to be timed."""
    return tuner.fn.run(*args, **given, **tuner.configs[0].all_kwargs())


def _rsqrt(x):
    """Return 1/sqrt(x), as the interpreter has it: that of libdevice runs on a GPU alone."""
    return tl.rsqrt(x)


interpreter._implicit_cvt = _with_floats(interpreter._implicit_cvt)
Autotuner.run = _first_config

from fla.modules import GroupNorm, LayerNorm, RMSNorm
from liger_kernel.ops import group_norm, layer_norm, rms_norm
from liger_kernel.ops.group_norm import LigerGroupNormFunction
from liger_kernel.transformers.group_norm import LigerGroupNorm
from liger_kernel.transformers.layer_norm import LigerLayerNorm
from liger_kernel.transformers.rms_norm import LigerRMSNorm

for module in (group_norm, layer_norm, rms_norm):
    module.rsqrt = _rsqrt


class GroupNormInFloat32:
    """LigerGroupNorm as a pair in float32 alone: in float64 its dgamma is NaN here."""

    kind, sample_shape, parameter_shape = "group", (CHANNELS, 2, 2), (CHANNELS,)
    groups, dtypes = GROUPS, ("float32",)

    @staticmethod
    def forward(x, gamma, beta):
        """Return y, and what leads back to x, gamma and beta."""
        leaves = [torch.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
        y = LigerGroupNormFunction.apply(*leaves, CHANNELS, GROUPS, 1e-6)
        return y.detach().numpy().copy(), (y, leaves)

    @staticmethod
    def backward(dy, cache):
        """Return dx, dgamma and dbeta."""
        y, leaves = cache
        return tuple(one.numpy() for one in torch.autograd.grad(y, leaves, torch.tensor(dy)))


NORMS = {
    "liger_kernel.LigerLayerNorm": LigerLayerNorm(CHANNELS),
    "liger_kernel.LigerGroupNorm": LigerGroupNorm(CHANNELS, GROUPS),
    "liger_kernel.LigerGroupNorm in float32": GroupNormInFloat32,
    "liger_kernel.LigerRMSNorm": LigerRMSNorm(CHANNELS),
    "fla.LayerNorm": LayerNorm(CHANNELS),
    "fla.GroupNorm": GroupNorm(GROUPS, CHANNELS),
    "fla.RMSNorm": RMSNorm(CHANNELS),
}
