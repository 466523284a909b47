"""Batch normalization with the whole gradient: an engine, an audit, and what each framework means.

Examples
--------
>>> import numpy as np
>>> import backnorm as bn
>>> fwd = bn.batch_norm(np.array([[1.0], [3.0]]), eps=0.0)
>>> fwd.y.ravel().tolist()
[-1.0, 1.0]
"""

from __future__ import annotations

from backnorm.audit import audit
from backnorm.convert import convert_state
from backnorm.dialects import BatchNorm
from backnorm.kernels.memory import empty_cache, set_cache_limit
from backnorm.kernels.threads import get_num_threads, set_num_threads
from backnorm.moments import Moments
from backnorm.ops import (
    batch_norm,
    batch_norm_backward,
    batch_norm_double_backward,
    batch_norm_jvp,
)
from backnorm.results import Forward, Gradients, SecondGradients

__all__ = [
    "BatchNorm",
    "Forward",
    "Gradients",
    "Moments",
    "SecondGradients",
    "audit",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_double_backward",
    "batch_norm_jvp",
    "convert_state",
    "empty_cache",
    "get_num_threads",
    "set_cache_limit",
    "set_num_threads",
]

__version__ = "0.1.0"
