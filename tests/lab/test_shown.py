"""What docs/lab.md shows is what the commands print."""

from __future__ import annotations

from pathlib import Path

from backnorm.lab.arithmetic import terms
from backnorm.lab.recording import recorded
from backnorm.lab.screen import screen
from backnorm.lab.summary import summary

PAGE = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")


def test_the_screen_is_current() -> None:
    """As `backnorm lab 1 2 4 8 --dy 1 0 0 0` prints it."""
    assert f"```text\n{screen(terms([1, 2, 4, 8], [1, 0, 0, 0]))}```" in PAGE


def test_the_tables_are_current() -> None:
    """As `backnorm lab experiment --recorded` prints them."""
    assert f"```text\n{summary(recorded())}```" in PAGE


def test_what_the_page_says_of_stopped_seeds() -> None:
    """In the ResNet through the mean only at the learning rate 1, and nowhere else."""
    stopped = {t: o for t, o in recorded().outcomes.items() if o["gradient_norm"][-1] == 0}
    assert {training[:3] for training in stopped} == {("resnet", "mean", 1.0)}
    assert [outcome["right"] for outcome in stopped.values()] == [26, 28]
    assert {round(outcome["loss"][-1], 2) for outcome in stopped.values()} == {2.31}
    assert "two seeds of five stop: they end with 26 and 28 of 360 images" in PAGE
    assert "the loss 2.31, which is ln 10, and a gradient whose norm is 0" in PAGE
