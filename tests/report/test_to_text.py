"""The table and the findings as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backnorm.audit.record import Expected
from backnorm.report import to_text
from report.records import CUT, HOSTILE, LOST, OPEN, RMS, SOUND


def cells(text: str, target: str) -> list[str]:
    """Return the words in the line of a target."""
    return next(line for line in text.splitlines() if line.startswith(target)).split()


def test_a_line_has_the_verdict_and_the_shares() -> None:
    """Target, kind, mode, path, three coefficients, residual, sound."""
    text = to_text([SOUND, CUT])
    assert cells(text, "torch.nn") == [
        *("torch.nn.BatchNorm2d", "batch", "batch", "both"),
        *("1.000", "1.000", "1.000", "2e-07", "yes"),
    ]
    assert cells(text, "mine.py:Cut")[3:] == [
        *("variance", "1.000", "0.000", "1.000", "3e-08", "NO", "G01", "G14"),
    ]


def test_a_share_that_there_is_not_is_a_dash() -> None:
    """RMS normalization has no mean; names with brackets are left as they are."""
    text = to_text([RMS], verbose=True)
    assert cells(text, "E[x]^2 [red]rms")[-5:] == ["1.000", "-", "1.000", "2e-07", "yes"]
    assert "E[x]^2 [red]rms: This kind has no mean." in text


def test_what_could_not_be_audited_has_question_marks() -> None:
    """No number is shown for it, and the summary counts it apart."""
    text = to_text([SOUND, LOST])
    assert cells(text, "mine.py:Lost") == ["mine.py:Lost", "batch", "?", "?", "?", "G22"]
    assert text.endswith("1 layer audited: 1 sound. 1 layer could not be audited.\n")


def test_what_was_not_judged_says_so_and_why() -> None:
    """Neither yes nor NO; a count of its own, and the reason below the table and in full."""
    text = to_text([SOUND, OPEN, OPEN])
    assert cells(text, "mine.py:Open")[-2:] == ["not", "judged"]
    why = "y is not a linear function of x in each row"
    assert text.endswith(f"3 layers audited: 1 sound, 2 not judged.\nNot judged: {why} (2).\n")
    assert f"  not judged: {why}" in to_text([OPEN], verbose=True)


def test_findings_stand_below_with_causes_and_remedy() -> None:
    """The target once, then each finding with all its parts."""
    assert "remedy" not in to_text([CUT])
    below = to_text([CUT], verbose=True).split("\n\n", 1)[1]
    assert below.count("mine.py:Cut") == 1
    for part in ("  G01  The", "expected  coef", "got       mean 0.0", "causes    (a)", "(c)"):
        assert part in below
    assert "remedy    Let the mean" in below
    assert "  G14  dbeta" in below


def test_a_note_stands_once_for_all_its_targets() -> None:
    """Two layers of one kind share the line."""
    text = to_text([RMS, replace(RMS, target="b")], verbose=True)
    assert "E[x]^2 [red]rms, b: This kind has no mean." in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    """Nothing is cut: what does not fit goes on in the next line."""
    long = replace(CUT, target="a_package.with_long_names.and_modules:AndALongClassName")
    text = to_text([SOUND, long, LOST], width=width, verbose=True)
    assert max(map(len, text.splitlines())) <= width
    assert "unexplained" not in text
    assert "…" not in text
    assert "\x1b" not in text
    assert "\x1b" in to_text([SOUND], color=True)


def test_specimens_are_compared_with_their_verdict() -> None:
    """A column says whether each got the expected verdict, and the summary counts."""
    met = replace(SOUND, expected=Expected("batch", "both", sound=True))
    missed = replace(CUT, expected=Expected("batch", "both", sound=True))
    text = to_text([met, missed])
    assert cells(text, "torch.nn")[-1] == "yes"
    assert cells(text, "mine.py:Cut")[-1] == "NO"
    assert text.endswith("1 of 2 got the expected verdict.\n")


def test_what_is_no_text_does_not_reach_the_terminal() -> None:
    """Control characters from a target's words are written out."""
    text = to_text([HOSTILE], verbose=True)
    assert not [letter for letter in text if ord(letter) < 32 and letter != "\n"]
    assert "\u202e" not in text
    assert r"\x1b[31m" in text


def test_probes_and_state_are_told_on_request() -> None:
    """With what each saw, and how long it took."""
    text = to_text([SOUND], verbose=True)
    assert "state     Running statistics keep 0.9" in text
    assert "  G01  pass, paths of the gradient: direct 1, mean 1, variance 1 [0.50 s]" in text
    assert "  G15  skipped, kinks: y has none" in text
    assert "kinks" not in to_text([SOUND])
