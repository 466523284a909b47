"""backnorm env: versions, the kernel in use, threads, and the processor."""

from __future__ import annotations

import click

from backnorm.cli._output import show

__all__ = ["env"]


@click.command()
def env() -> None:
    """Show versions, the kernel in use, threads and the processor."""
    from backnorm import __version__, get_num_threads
    from backnorm.kernels import describe
    from backnorm.kernels.native_kernel import jax_handlers
    from backnorm.report.environment import environment, processor, version_of

    facts = {
        "backnorm": __version__,
        **environment(),
        **describe(),
        "jax": ", kernels: ".join(
            (version_of("jax") or "not installed", "C++" if jax_handlers() else "jax.numpy")
        ),
        "keras": version_of("keras") or "not installed",
        "threads": str(get_num_threads()),
        "processor": processor(),
    }
    width = max(map(len, facts)) + 2
    show("".join(f"{name + ':':<{width}}{value}\n" for name, value in facts.items()))
