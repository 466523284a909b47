"""What needs PaddlePaddle: importing this makes its layers known to the audit."""

from __future__ import annotations

from backnorm.audit.hosted import hosted_adapter
from backnorm.audit.registry import register
from backnorm.paddle import _calls

__all__ = ["ADAPTER"]

ADAPTER = hosted_adapter(_calls)

register(ADAPTER)
