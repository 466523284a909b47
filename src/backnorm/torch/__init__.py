"""What needs PyTorch.

Importing this makes modules and functions of PyTorch known to the audit, and its files to
`backnorm.convert.files`.
"""

from __future__ import annotations

from backnorm.torch._require import require_torch

require_torch()

from backnorm.torch._adapter import ADAPTER  # noqa: E402 - only when torch is there
from backnorm.torch._files import FORMAT  # noqa: E402

__all__ = ["ADAPTER", "FORMAT"]
