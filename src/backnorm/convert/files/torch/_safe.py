"""What a checkpoint may name: the classes and functions that `torch.load` calls without being told.

Nothing is called here, so this is not what makes reading safe. It decides what is converted: a file
that names anything else runs code wherever it is loaded with ``weights_only=False``, as files were
before PyTorch 2.6, and is refused by ``weights_only=True``. So is what was made of it.
"""

from __future__ import annotations

import re
from typing import Final

from backnorm.convert.files.torch._tensors import NOT_PLAIN, PARAMETERS, TENSORS, WITH_ATTRIBUTES

__all__ = ["is_safe"]

NAMES: Final = frozenset(
    (
        *("collections.OrderedDict", "collections.Counter", "_codecs.encode"),
        *("builtins.set", "builtins.bytearray", "builtins.complex"),
        *("__builtin__.set", "__builtin__.bytearray", "__builtin__.complex"),  # of Python 2
        *("torch.Size", "torch.device", "torch.Tensor", "torch.serialization._get_layout"),
        *(*TENSORS, *PARAMETERS, *NOT_PLAIN, WITH_ATTRIBUTES),
    )
)

PATTERNS: Final = re.compile(
    r"torch\.(cuda\.|sparse\.|cuda\.sparse\.|storage\.)?[A-Z][A-Za-z0-9]*(Storage|Tensor)"
    r"|torch\.(bool|u?int\d+|q?u?int\d+(x\d)?|bits\d+(x\d)?|b?float\d+\w*|complex\d+)"
    r"|torch\.per_(tensor|channel)_(affine|symmetric|affine_float_qparams)"
)
"""The classes of storages and tensors, the dtypes, and the schemes of quantization."""


def is_safe(name: str) -> bool:
    """Return whether `torch.load` with ``weights_only=True`` takes a class or function."""
    return name in NAMES or PATTERNS.fullmatch(name) is not None
