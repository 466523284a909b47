"""The negative control: a dx that is known to be cut is recognized around any subject."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from audit.pairs import Law, Relu
from backnorm.audit.control import controls_of
from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.other_kinds import *  # noqa: F403
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.specimens.running import RunningStatistics
from backnorm.audit.subjects.registry import as_subject
from backnorm.cli import main

HOSTED = Path(__file__).parents[1] / "cli" / "hosted.py"
