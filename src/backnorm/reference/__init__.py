"""The formal definition of batch normalization and its derivatives: short, exact, slow.

Everything is computed in float64 (complex128 where an argument is complex), with plain NumPy, as
``docs/mathematics.md`` defines it. Arguments are not checked. The rest of backnorm is judged
against these functions. They are judged against exact arithmetic (``tests/oracles/exact.py``) and
the complex step ``x + 1e-30j``: for that they use neither absolute values nor conjugates, and
compare real parts only.
"""

from __future__ import annotations

from backnorm.reference._activation import activate, activation_gradient
from backnorm.reference._backward import (
    GradientParts,
    backward,
    backward_from_output,
    backward_parts,
)
from backnorm.reference._exact import exact_backward, exact_forward, exact_statistics
from backnorm.reference._forward import Normalized, forward
from backnorm.reference._forward_mode import jvp
from backnorm.reference._second import double_backward
from backnorm.reference._weighted import weighted_backward, weighted_forward

__all__ = [
    "GradientParts",
    "Normalized",
    "activate",
    "activation_gradient",
    "backward",
    "backward_from_output",
    "backward_parts",
    "double_backward",
    "exact_backward",
    "exact_forward",
    "exact_statistics",
    "forward",
    "jvp",
    "weighted_backward",
    "weighted_forward",
]
