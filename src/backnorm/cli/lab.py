"""backnorm lab: the gradient of a few values on a screen, or as a page to touch."""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path
from typing import Any, Final

import click

from backnorm.cli._output import say, show
from backnorm.cli.lab_experiment import experiment

__all__ = ["lab"]

OUTPUT = click.Path(dir_okay=False, path_type=Path)
RANDOM_VALUES = 4

NEEDS: Final = {
    "float": "a number",
    "integer range": "a whole number",
    "file": "a file name",
    "numbers": "numbers",
}
"""What an option needs, by the name of its type."""


class _Lab(click.Command):
    """A command with lists of numbers and one subcommand.

    click has no options that take any number of values, and reads -1 as an option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] != [experiment.name]:
            return super().parse_args(ctx, self._arranged(ctx, args))
        ctx.obj = experiment.make_context(f"{ctx.info_name} {args[0]}", args[1:], ctx.parent)
        return []

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.obj is None:
            return super().invoke(ctx)
        with ctx.obj as of_experiment:
            return experiment.invoke(of_experiment)

    def _arranged(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return every option as one word with its value, and after them the numbers of x."""
        types = {
            name: option.type
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        options: list[str] = []
        x: list[str] = []
        words = args[::-1]
        while words:
            word = words.pop()
            name, equals, value = word.partition("=")
            if name in types:
                several = isinstance(types[name], _Numbers)
                values = [value] if equals else _taken(words, several=several)
                options.append(f"{name}={_required(name, types[name], values)}")
            elif _is_option(word):
                options += [word] * (word != "--")  # after -- values follow in any case
            else:
                _Numbers().convert(word, None, ctx)  # a misspelt subcommand, before its options
                x.append(word)
        return [*options, "--", *x]


def _taken(words: list[str], *, several: bool) -> list[str]:
    """Take the value of an option, or all numbers up to the next option, from the end."""
    values: list[str] = []
    while words and not _is_option(words[-1]) and (several or not values):
        values.append(words.pop())
    return values


def _required(name: str, kind: click.ParamType[Any], values: list[str]) -> str:
    value = " ".join(values)
    if not value.strip():
        message = f"{name} needs {NEEDS[kind.name]}"
        raise click.UsageError(message)
    return value


def _is_option(word: str) -> bool:
    """Say whether a word begins as an option does, and is not a negative number."""
    return word.startswith("-") and not all(map(_is_number, _split(word)))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _split(text: str) -> list[str]:
    """Return what stands between spaces and commas."""
    return text.replace(",", " ").split()


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers, with spaces or commas between them."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        words = _split(value) if isinstance(value, str) else value
        if not words:
            self.fail(f"{value!r} holds no number.", param, ctx)
        wrong = [word for word in words if not _is_number(word)]
        if wrong:
            meant = difflib.get_close_matches(wrong[0], [str(experiment.name)])
            hint = f" Do you mean `backnorm lab {meant[0]}`?" if meant else ""
            self.fail(f"{wrong[0]!r} is not a number.{hint}", param, ctx)
        return tuple(map(float, words))


EXAMPLES: Final = """\b
backnorm lab                        random values
backnorm lab 1 2 4 8 --dy 1 0 0 0   values, and the gradient that comes from the loss
backnorm lab --html lab.html        a page to touch, in a browser
backnorm lab experiment             what training does without terms of the gradient
backnorm lab experiment --help      its options"""


@click.command(cls=_Lab, options_metavar="[--dy NUMBERS] [OPTIONS]", epilog=EXAMPLES)
@click.argument("x", nargs=-1, type=_Numbers(), metavar="[NUMBERS]")
@click.option(
    "--dy",
    type=_Numbers(),
    metavar="NUMBERS",
    help="Gradient that comes from the loss, a number for each value.  [default: 1 0 0 ...]",
)
@click.option("--eps", default=1e-5, show_default=True, help="Added to the variance.")
@click.option("--seed", type=click.IntRange(0), help="Of random values.  [default: 0]")
@click.option(
    "--html", type=OUTPUT, metavar="FILE", help="Write a page to touch, and print nothing else."
)
def lab(
    *,
    x: tuple[tuple[float, ...], ...],
    dy: tuple[float, ...] | None,
    eps: float,
    seed: int | None,
    html: Path | None,
) -> None:
    """Show each term of the gradient of a few values, eight at most.

    Beside the terms: the slope measured by finite differences, the error if the mean or the
    variance is held constant, and the same gradient as Caffe and MXNet compute it.
    """
    from backnorm.errors import BacknormError

    try:
        if html is not None:
            if x or dy is not None or seed is not None:
                message = "--html takes no values: they are chosen in the page"
                raise click.UsageError(message)
            _write_page(html)
        else:
            show(_screen(tuple(itertools.chain(*x)), dy, eps, seed))
    except BacknormError as error:
        say(f"Error: {error.in_command()}")
        raise click.exceptions.Exit(2) from error


def _write_page(path: Path) -> None:
    from backnorm.cli._files import write_atomically
    from backnorm.lab.page import page_html

    write_atomically(path, page_html())
    say(f"wrote {path}: open it in a browser")


def _screen(
    x: tuple[float, ...], dy: tuple[float, ...] | None, eps: float, seed: int | None
) -> str:
    """Return the text for the values; those that are not given are random, or 1 0 0 for dy."""
    import numpy as np

    from backnorm.lab.arithmetic import terms
    from backnorm.lab.screen import MOST_VALUES, screen

    if x and dy is not None and len(x) != len(dy):
        message = f"--dy takes one number for each value: {len(x)}, got {len(dy)}"
        raise click.UsageError(message)
    if x and dy is not None and seed is not None:
        message = "--seed has no effect: all values are given"
        raise click.UsageError(message)
    count = len(x or dy or ()) or RANDOM_VALUES
    if count > MOST_VALUES:
        message = f"a screen shows at most {MOST_VALUES} values, got {count}"
        raise click.UsageError(message)
    drawn = np.random.default_rng(seed or 0).normal(1, 2, count).round(2)
    return screen(terms(x or drawn, dy or (1.0, *(0.0,) * (count - 1)), eps))
