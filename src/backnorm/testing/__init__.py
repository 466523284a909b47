"""For tests of an engine: the error budget, named cases, Hypothesis strategies, a pytest plug-in.

Import the modules by name: `strategies` needs hypothesis, `pytest_plugin` needs pytest, and
bfloat16 cases need ml_dtypes. Each package is loaded only by the module that needs it.
"""

from __future__ import annotations

__all__: list[str] = []
