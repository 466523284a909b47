"""What a layer is given where it says nothing: channels, groups, running statistics.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import numpy as np

__all__ = ["CHANNELS", "GROUPS", "PAIR_CHANNELS", "batch_of_running", "running"]

GROUPS = 2
"""Groups of channels where their number is not given."""

CHANNELS = {"batch": 4, "layer": 6, "group": 4, "instance": 4, "rms": 6}
"""Channels where their number is not given: few, so that the audit is quick."""

PAIR_CHANNELS = dict(CHANNELS, batch=3, instance=3)
"""The same for NumPy pairs, whose arrays often have 3."""


def running(role, length):
    """Return running statistics that no batch has: the probes' means are 1.5 and more."""
    return np.linspace(0.5, 1.5, length) if role == "running_var" else np.linspace(-1, 1, length)


def batch_of_running(length):
    """Return a batch, channels last, whose mean and variance are those running statistics."""
    mean, deviation = running("running_mean", length), np.sqrt(running("running_var", length))
    return np.stack([mean - deviation, mean + deviation]).reshape(2, 1, length)
