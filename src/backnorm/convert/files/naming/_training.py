"""Arrays that belong to the training, not to the network: no other file has their counterparts."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["in_training"]

NAMES: Final = re.compile(
    r"(?:.*[/.])?(?:optimizers?|optim)(?:_?(?:weights|states?|state_dict|variables|vars))?[/.].*"
    r"|(?:.*[/.])?opt_state[/.].*"
    r"|(?:.*/)?seed_generator(?:_\d+)?/.*"
    r"|.*seed_generator_state(?::\d+)?",
    re.IGNORECASE | re.DOTALL,
)
"""What Keras, PyTorch (as examples and Lightning save it) and Flax call the state of an optimizer,
and what Keras calls that of a generator of random numbers, such as Dropout's."""


def in_training(name: str) -> bool:
    """Return whether an array is the state of an optimizer or of a random generator."""
    return NAMES.fullmatch(name) is not None
