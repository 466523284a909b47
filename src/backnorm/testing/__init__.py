"""What tests of an engine are made of: the error budget, named cases, Hypothesis strategies.

Import the modules by name: `strategies` needs hypothesis, bfloat16 cases need ml_dtypes, and
neither is loaded before it is used.
"""

from __future__ import annotations

__all__: list[str] = []
