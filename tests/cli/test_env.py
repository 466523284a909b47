"""The command backnorm env, and the command as a module."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from click.testing import CliRunner

import backnorm
from backnorm.cli import main
from backnorm.kernels import native_kernel


def test_versions_kernel_threads_and_processor_are_shown() -> None:
    """A line for each, aligned."""
    result = CliRunner().invoke(main, ["env"])
    assert result.exit_code == 0
    known = dict(line.split(":", 1) for line in result.stdout.splitlines())
    assert known["backnorm"].strip() == backnorm.__version__
    assert known["numpy"].strip() == np.__version__
    assert known["threads"].strip() == str(backnorm.get_num_threads())
    assert {"python", "platform", "kernel", "processor"} <= set(known)
    built = "C++" if native_kernel.jax_handlers() else "jax.numpy"
    assert known["jax"].strip().endswith(f", kernels: {built}")
    assert all(value.strip() for value in known.values())
    starts = {
        len(line) - len(line.split(":", 1)[1].lstrip()) for line in result.stdout.splitlines()
    }
    assert len(starts) == 1


def test_the_commands_wait_for_nothing_heavy() -> None:
    """Neither the help nor env imports PyTorch or starts a child."""
    code = "import sys, backnorm.cli; print('torch' in sys.modules, 'rich' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.split() == ["False", "False"]


def test_the_version_is_told() -> None:
    """``backnorm --version`` is one line."""
    result = CliRunner().invoke(main, ["--version"], prog_name="backnorm")
    assert result.stdout == f"backnorm {backnorm.__version__}\n"
