"""backnorm bench: the engine beside a copy of the same bytes and beside other frameworks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from backnorm.bench import BenchOptions
    from backnorm.bench.summary import BenchRow

__all__ = ["bench"]

SUITES = ("resnet50", "mobilenetv2", "small", "dense", "all")
LAYOUTS = ("nchw", "nhwc")
DTYPES = ("float32", "float64", "float16", "bfloat16")
OPERATIONS = ("forward", "backward", "forward_relu", "forward_residual_relu", "autograd")
LEAST_WIDTH = 110  # of the table; a narrower terminal wraps it, which loses nothing
PEERS = ("torch", "jax", "tensorflow", "mxnet", "caffe")
# The images of a step, where --batch does not say: the step of each takes a second or two.
MODELS = {"resnet18": 16, "resnet50": 8, "mobilenetv2": 16}
OF_SHAPES = ("suite", "dtype", "operations", "peers", "interpreters", "rounds", "plot_file")
OF_PEERS = ("peers", "interpreters")
OF_MODELS = ("batch", "size", "steps", "inplace")


def _peers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read --peers; without it, every framework that is installed."""
    if text is None:
        return tuple(name for name in PEERS if importlib.util.find_spec(name))
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in PEERS:
            message = f"must be some of {', '.join(PEERS)}, got {name}"
            raise click.BadParameter(message)
        if not importlib.util.find_spec(name):
            message = f"{name} must be installed here; for another environment see --peer-python"
            raise click.BadParameter(message)
    return names


def _interpreters(
    _: click.Context, __: click.Parameter, pairs: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read each --peer-python NAME=INTERPRETER."""
    result = []
    for pair in pairs:
        name, _equals, interpreter = pair.partition("=")
        if name not in PEERS or not interpreter:
            message = f"must be NAME=INTERPRETER with NAME one of {', '.join(PEERS)}, got {pair}"
            raise click.BadParameter(message)
        result.append((name, interpreter))
    return tuple(result)


@click.command()
@click.option("--suite", type=click.Choice(SUITES), default="resnet50", show_default=True)
@click.option("--layout", "layouts", type=click.Choice(LAYOUTS), multiple=True, default=LAYOUTS)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option(
    "--op",
    "operations",
    type=click.Choice(OPERATIONS),
    multiple=True,
    default=("forward", "backward"),
    show_default=True,
)
@click.option("--peers", metavar="LIST", callback=_peers, help="Such as torch,jax; default: all.")
@click.option(
    "--peer-python",
    "interpreters",
    metavar="NAME=INTERPRETER",
    multiple=True,
    callback=_interpreters,
    help="Time a framework of another environment.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option("--model", type=click.Choice(tuple(MODELS)), help="Time training steps instead.")
@click.option("--batch", type=click.IntRange(min=1), help="Images of a step of --model.")
@click.option("--size", type=click.IntRange(min=32), default=224, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--inplace", is_flag=True, help="Normalize in place; activations are leaky_relu.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path))
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
    batch: int | None,
    size: int,
    steps: int,
    inplace: bool,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Time the engine beside a copy of the same bytes and beside other frameworks.

    With --op autograd, forward and backward of PyTorch modules: this package's beside torch.nn's.

    With --model, time training steps of a network with PyTorch's layers, with backnorm's, and with
    none.
    """
    from backnorm.bench import BenchOptions
    from backnorm.errors import BacknormError

    if model is not None:
        _refuse(context, OF_SHAPES, "does not go with --model")
    else:
        _refuse(context, OF_MODELS, "goes only with --model")
    if set(operations) == {"autograd"}:
        _refuse(context, OF_PEERS, "does not go with --op autograd, whose peer is torch.nn")
    try:
        if model is None:
            options = BenchOptions(suite, layouts, dtype, operations, peers, interpreters, rounds)
            _write(_measure(options), json_file, plot_file)
        else:
            images = MODELS[model] if batch is None else batch
            _train(model, layouts, (images, size, steps), json_file, inplace=inplace)
    except BacknormError as error:
        raise click.ClickException(str(error)) from error


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Refuse options that would have no effect."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in names:
            message = f"{parameter.opts[0]} {why}"
            raise click.UsageError(message)


def _train(
    model: str,
    layouts: tuple[str, ...],
    amounts: tuple[int, int, int],
    json_file: Path | None,
    *,
    inplace: bool,
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from backnorm.bench.table import training_table
    from backnorm.bench.training import Setup, result, run, total
    from backnorm.cli._files import write_atomically

    setups = [Setup(model, layout, *amounts, inplace) for layout in layouts]
    rows: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=sum(map(total, setups)))
        rows += [run(setup, lambda: progress.advance(task)) for setup in setups]
    console = Console()
    for row in rows:
        console.print(training_table(row))
    if json_file is not None:
        write_atomically(json_file, json.dumps(result(rows), indent=1) + "\n")


def _measure(options: BenchOptions) -> list[BenchRow]:
    from rich.console import Console
    from rich.progress import track

    from backnorm.bench import run
    from backnorm.bench.suites import cases
    from backnorm.bench.summary import summary
    from backnorm.bench.table import rows_table, summary_table

    total = len(cases(options.suite)) * len(options.layouts) * len(options.operations)
    talk = Console(stderr=True)
    rows = list(track(run(options), "timing", total=total, console=talk, transient=True))
    console = Console()
    console = Console(width=max(console.width, LEAST_WIDTH))
    console.print(rows_table(rows))
    console.print(summary_table(summary(rows)))
    return rows


def _write(rows: list[BenchRow], json_file: Path | None, plot_file: Path | None) -> None:
    from backnorm.bench.plot import plot
    from backnorm.bench.run import result
    from backnorm.cli._files import write_atomically

    if json_file is not None:
        write_atomically(json_file, json.dumps(result(rows), indent=1) + "\n")
    if plot_file is not None:
        plot(rows, plot_file)
