"""backnorm bench: the engine compared with a copy of the same bytes and with other frameworks."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from backnorm.cli._output import paper, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from backnorm._types import SumLaw
    from backnorm.bench import BenchOptions
    from backnorm.bench.summary import BenchRow

__all__ = ["bench"]

SUITES = ("resnet50", "mobilenetv2", "small", "dense", "all")
LAYOUTS = ("nchw", "nhwc")
DTYPES = ("float32", "float64", "float16", "bfloat16")
SUMS = ("float64", "exact")
OPERATIONS = (
    "forward",
    "backward",
    "forward_relu",
    "forward_residual_relu",
    "autograd",
    "jax",
    "idle",
)
LEAST_WIDTH = 150  # columns of the table; a narrower terminal wraps it
FRAMEWORKS = ("torch", "jax", "tensorflow", "mxnet", "caffe")
PEERS = (*FRAMEWORKS, "onednn")
# Images of a step without --batch: the step takes a second or two.
MODELS = {
    "resnet18": 16,
    "resnet50": 8,
    "mobilenetv2": 16,
    "efficientnet_b0": 8,
    "convnext_atto": 8,
}
OWN_ACTIVATION = ("efficientnet_b0", "convnext_atto")
OUTPUT = click.Path(dir_okay=False, path_type=Path)
OF_SHAPES = (
    "suite",
    "dtype",
    "operations",
    "peers",
    "interpreters",
    "rounds",
    "against",
    "plot_file",
    "sums",
)
OF_PEERS = ("peers", "interpreters")
OF_ENGINE = ("sums",)
OF_FRAMEWORKS = {
    "autograd": "whose peer is torch.nn",
    "jax": "whose peers are jax.numpy and Flax",
}
OF_MODELS = ("batches", "size", "steps", "inplace")


def _peers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Return the names of --peers; without it, every framework that is installed."""
    if text is None:
        return (*(name for name in FRAMEWORKS if importlib.util.find_spec(name)), "onednn")
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in PEERS:
            message = f"names must be among {', '.join(PEERS)}, got {name}"
            raise click.BadParameter(message)
        if name in FRAMEWORKS and not importlib.util.find_spec(name):
            message = f"{name} is not installed. Install it, or pass --peer-python"
            raise click.BadParameter(message)
    return names


def _interpreters(
    _: click.Context, __: click.Parameter, pairs: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return the name and the interpreter of each --peer-python NAME=INTERPRETER."""
    result = []
    for pair in pairs:
        name, _equals, interpreter = pair.partition("=")
        if name not in FRAMEWORKS or not interpreter:
            known = ", ".join(FRAMEWORKS)
            message = f"it must be NAME=INTERPRETER, NAME one of {known}, got {pair}"
            raise click.BadParameter(message)
        result.append((name, interpreter))
    return tuple(result)


@click.command(context_settings={"show_default": True})
@click.option(
    "--suite", type=click.Choice(SUITES), default="resnet50", help="Which shapes to time."
)
@click.option(
    "--layout",
    "layouts",
    type=click.Choice(LAYOUTS),
    multiple=True,
    default=LAYOUTS,
    help="Memory order of the inputs.",
)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="Dtype of the inputs.")
@click.option(
    "--op",
    "operations",
    type=click.Choice(OPERATIONS),
    multiple=True,
    default=("forward", "backward"),
    help="Which operation to time.",
)
@click.option(
    "--peers",
    metavar="LIST",
    callback=_peers,
    help="What to compare with, such as torch,onednn.  [default: all that are installed]",
)
@click.option(
    "--peer-python",
    "interpreters",
    metavar="NAME=INTERPRETER",
    multiple=True,
    callback=_interpreters,
    help="Time a framework under another Python.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=7, help="Timings of each operation.")
@click.option(
    "--model", type=click.Choice(tuple(MODELS)), help="Time training steps of this network instead."
)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    help="With --model: images of a step; may be repeated.",
)
@click.option("--size", type=click.IntRange(min=32), default=224, help="With --model: image size.")
@click.option(
    "--steps", type=click.IntRange(min=1), default=20, help="With --model: number of steps."
)
@click.option(
    "--inplace", is_flag=True, help="With --model: normalize in place; activations are leaky_relu."
)
@click.option(
    "--sums", type=click.Choice(SUMS), default="float64", help="The engine's law of sums."
)
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write JSON too.")
@click.option(
    "--against",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Say which figures are worse than in this JSON of the same machine.",
)
@click.option("--plot", "plot_file", type=OUTPUT, metavar="FILE", help="Draw the times too.")
@click.pass_context
def bench(
    context: click.Context,
    *,
    suite: str,
    layouts: tuple[str, ...],
    dtype: str,
    operations: tuple[str, ...],
    peers: tuple[str, ...],
    interpreters: tuple[tuple[str, str], ...],
    rounds: int,
    model: str | None,
    batches: tuple[int, ...],
    size: int,
    steps: int,
    inplace: bool,
    sums: SumLaw,
    json_file: Path | None,
    against: Path | None,
    plot_file: Path | None,
) -> None:
    """Time the engine, a copy of the same bytes, and other frameworks.

    With --op autograd, time forward and backward of PyTorch modules: backnorm's and torch.nn's.
    With --op jax, time forward and backward of compiled functions of JAX: backnorm's, two passes in
    jax.numpy, Flax's formula, and Flax's layer where it is installed.
    With --op idle, time forward calls after 20 ms of rest, in which threads fall asleep.

    With --model, time training steps of a network with PyTorch's layers, with backnorm's, and
    without normalization layers.
    """
    from backnorm.bench import BenchOptions
    from backnorm.errors import BacknormError

    if model is not None:
        _refuse(context, OF_SHAPES, "cannot be used with --model")
    else:
        _refuse(context, OF_MODELS, "needs --model")
    for name in OF_FRAMEWORKS:
        if name in operations:
            _refuse(context, OF_ENGINE, f"cannot be used with --op {name}")
    alone = operations[0] if len(set(operations)) == 1 else ""
    if alone in OF_FRAMEWORKS:
        _refuse(context, OF_PEERS, f"cannot be used with --op {alone}, {OF_FRAMEWORKS[alone]}")
    try:
        if model is None:
            given = context.get_parameter_source("peers") is ParameterSource.COMMANDLINE
            found = _without_missing_onednn(peers, wanted=given)
            options = BenchOptions(
                suite, layouts, dtype, operations, found, interpreters, rounds, sums
            )
            _write(_measure(options, against), json_file, plot_file)
        else:
            _refuse_inplace(model, inplace=inplace)
            amounts = [(images, size, steps) for images in batches or (MODELS[model],)]
            _train(model, layouts, amounts, json_file, inplace=inplace)
    except BacknormError as error:
        raise click.ClickException(str(error)) from error


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Raise UsageError if an option was given that would have no effect."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in names:
            message = f"{parameter.opts[0]} {why}"
            raise click.UsageError(message)


def _refuse_inplace(model: str, *, inplace: bool) -> None:
    if inplace and model in OWN_ACTIVATION:
        message = f"--inplace cannot be used with --model {model}, which has no leaky_relu"
        raise click.UsageError(message)


def _without_missing_onednn(peers: tuple[str, ...], *, wanted: bool) -> tuple[str, ...]:
    """Return the peers; without oneDNN if it cannot be had and nobody named it, which is said."""
    from backnorm.bench import onednn
    from backnorm.errors import BenchmarkError

    if onednn.NAME not in peers:
        return peers
    try:
        onednn.library()
    except BenchmarkError as error:
        if wanted:
            raise
        say(str(error))
        return tuple(name for name in peers if name != onednn.NAME)
    return peers


def _train(
    model: str,
    layouts: tuple[str, ...],
    amounts: list[tuple[int, int, int]],
    json_file: Path | None,
    *,
    inplace: bool,
) -> None:
    from backnorm._meter import metered
    from backnorm.bench.table import losses_line, training_table
    from backnorm.bench.training import Setup, forms, result, run, total
    from backnorm.cli._files import write_atomically

    setups = [Setup(model, layout, *of, inplace) for layout in layouts for of in amounts]
    rows: list[dict[str, Any]] = []
    with metered("bench", sum(map(total, setups))) as meter:
        for setup in setups:
            images = f"{setup.steps} steps of {setup.batch} images of {setup.size}x{setup.size}"
            say(f"Timing {len(forms(model))} forms of {model} in {setup.layout}: {images}.")
            meter.begin(f"{model}, {setup.layout}")
            rows.append(run(setup, meter.advance))
    _print([part for row in rows for part in (training_table(row), losses_line(row), "")])
    if json_file is not None:
        write_atomically(json_file, json.dumps(result(rows), indent=1) + "\n")


def _measure(options: BenchOptions, against: Path | None) -> list[BenchRow]:
    from backnorm._meter import metered
    from backnorm.bench import run
    from backnorm.bench.regressions import compared
    from backnorm.bench.suites import cases
    from backnorm.bench.summary import by_suite
    from backnorm.bench.table import errors_line, idle_table, rows_table, summary_table

    total = len(cases(options.suite)) * len(options.layouts) * len(options.operations)
    with metered("bench", total) as meter:
        rows = list(meter.each(run(options)))
    summaries = by_suite(rows)
    tables = [summary_table(suite, summary) for suite, summary in summaries.items()]
    lines = [] if against is None else compared(rows, against)
    rested = idle_table(rows)
    tables += [] if rested is None else [rested]
    _print([rows_table(rows), *tables, errors_line(rows), *lines], LEAST_WIDTH)
    return rows


def _print(parts: Sequence[Table | str], least_width: int = 0) -> None:
    from rich.console import Console

    sheet, page = paper(), io.StringIO()
    width = max(sheet.width, least_width)
    console = Console(file=page, width=width, force_terminal=sheet.color)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    show(page.getvalue())


def _write(rows: list[BenchRow], json_file: Path | None, plot_file: Path | None) -> None:
    from backnorm.bench.plot import plot
    from backnorm.bench.run import result
    from backnorm.cli._files import write_atomically

    if json_file is not None:
        write_atomically(json_file, json.dumps(result(rows), indent=1) + "\n")
    if plot_file is not None:
        plot(rows, plot_file)
