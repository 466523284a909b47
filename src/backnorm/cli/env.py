"""backnorm env: versions, the kernel in use, threads, and the processor."""

from __future__ import annotations

import platform
from pathlib import Path

import click

__all__ = ["env"]


@click.command()
def env() -> None:
    """Show versions, the kernel in use, threads and the processor."""
    from backnorm import __version__, get_num_threads
    from backnorm.kernels import describe
    from backnorm.report.environment import environment

    facts = {
        "backnorm": __version__,
        **environment(),
        **describe(),
        "threads": str(get_num_threads()),
        "processor": _processor(),
    }
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        click.echo(f"{name + ':':<{width}}{value}")


def _processor() -> str:
    """Return the processor's name as the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
