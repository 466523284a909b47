"""backnorm lab experiment: what training does without terms of the gradient."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from backnorm.cli._output import ended_by_signals, say, show
from backnorm.lab.grid import NETWORKS, Grid

if TYPE_CHECKING:
    from backnorm.lab.recording import Recording

__all__ = ["experiment"]

USUAL: Final = Grid()
BESIDE_RECORDED: Final = {"recorded", "plot_file", "networks", "rates"}
OUTPUT = click.Path(dir_okay=False, path_type=Path)


@click.command(name="experiment")
@click.option(
    "--network",
    "networks",
    type=click.Choice(NETWORKS),
    multiple=True,
    default=USUAL.networks,
    show_default=True,
    help="Which network to train.",
)
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=USUAL.rates,
    show_default=True,
    help="Learning rate.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=len(USUAL.seeds),
    show_default=True,
    help="Number of seeds.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=USUAL.epochs,
    show_default=True,
    help="Epochs of a training.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="Trainings at the same time.  [default: number of cores]",
)
@click.option(
    "--json",
    "json_file",
    type=OUTPUT,
    metavar="FILE",
    default="lab-experiment.json",
    show_default=True,
    help="Where the outcomes are kept; a file that is there is continued.",
)
@click.option("--plot", "plot_file", type=OUTPUT, metavar="FILE", help="Draw the outcomes too.")
@click.option(
    "--recorded",
    is_flag=True,
    help="Show the recorded run of this package, all or with --network and --rate; train nothing.",
)
@click.pass_context
def experiment(
    context: click.Context,
    *,
    networks: tuple[str, ...],
    rates: tuple[float, ...],
    seeds: int,
    epochs: int,
    processes: int | None,
    json_file: Path,
    plot_file: Path | None,
    recorded: bool,
) -> None:
    """Train small networks on handwritten digits, without terms of the gradient.

    Each network is trained with the gradient through mean and variance (both), through one of
    them, and through none. An interrupted run continues where it was.
    """
    from backnorm.cli._files import refuse_unwritable
    from backnorm.errors import BacknormError
    from backnorm.lab.figures import draw, require_matplotlib
    from backnorm.lab.recording import recorded as recorded_run
    from backnorm.lab.summary import summary

    try:
        if plot_file is not None:
            require_matplotlib()
            refuse_unwritable(plot_file)
        if recorded:
            _refuse_beside_recorded(context)
            recording = recorded_run().only(networks, rates)
        else:
            grid = Grid(networks, rates, tuple(range(seeds)), epochs)
            recording = _train(grid, json_file, processes or os.cpu_count() or 1)
        show(summary(recording))
        if plot_file is not None:
            draw(recording, plot_file)
    except BacknormError as error:
        say(f"Error: {error.in_command()}")
        raise click.exceptions.Exit(2) from error


def _refuse_beside_recorded(context: click.Context) -> None:
    """Raise UsageError if an option was given that would have no effect."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name not in BESIDE_RECORDED:
            message = f"{parameter.opts[0]} cannot be used with --recorded"
            raise click.UsageError(message)


def _train(grid: Grid, path: Path, processes: int) -> Recording:
    from backnorm._meter import metered
    from backnorm.lab.experiment import run

    with ended_by_signals(), metered("lab experiment", len(grid.trainings())) as meter:
        return run(grid, path, processes, meter.advance)
