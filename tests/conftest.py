"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# pytest-xdist tells its workers how wide its terminal is. Tables in tests have the width of a pipe.
os.environ.pop("COLUMNS", None)

# A busy machine must not fail a test: an example has no deadline, and drawing it may take long.
# The examples are the same in each run.
settings.register_profile(
    "backnorm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("backnorm")
