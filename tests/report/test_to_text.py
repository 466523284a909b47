"""The table and the findings as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backnorm.audit.findings import finding
from backnorm.audit.record import OTHER_FUNCTION, Coefficients, Expected
from backnorm.report import to_markdown, to_text
from report.records import CUT, HOSTILE, LOST, OPEN, RMS, SOUND, WARNED


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


def test_what_could_not_be_audited_says_so() -> None:
    """No other word and no number is shown for it, and the summary counts it apart."""
    text = to_text([SOUND, LOST])
    assert cells(text, "mine.py:Lost") == ["mine.py:Lost", "not", "audited", "G22"]
    assert text.endswith("1 layer audited: 1 sound. 1 layer could not be audited.\n")


def test_where_nothing_was_audited_there_is_the_reason_and_no_table() -> None:
    """On one line, with what to do, however narrow the page is."""
    assert to_text([LOST], width=60) == (
        "G22: mine.py:Lost returned None in place of y. Without y the gradient cannot be judged. "
        "Return it, and check that y is not detached from x.\n\n1 layer could not be audited.\n"
    )


def test_codes_stand_below_with_what_they_mean() -> None:
    """Each once, notes marked as such, and none where the findings are written in full."""
    text = to_text([CUT, CUT, WARNED])
    assert text.count("\nG01: The gradient does not go through the mean, which depends on x") == 1
    assert "\nN01 (note): More than half of the digits are lost" in text
    assert "backnorm explain CODE" in text
    assert "\nG01: " not in to_text([CUT], verbose=True)


def test_a_name_is_never_broken() -> None:
    """Where it does not fit beside its cells it stands on the line above them."""
    names = [f"package.module:Layer{'x' * length}" for length in (1, 20, 60)]
    text = to_text([replace(CUT, target=name) for name in names], width=80)
    lines = text.splitlines()
    assert [name in lines for name in names] == [True, True, True]
    assert cells(text, "  ")[0] == "kind"
    both = [replace(SOUND, target="a"), replace(SOUND, target=names[1])]
    short = to_text(both, width=80)
    assert names[1] in short.splitlines()
    assert cells(short, "a ")[:2] == ["a", "batch"]


def test_codes_wrap_between_words() -> None:
    """They stay in their column."""
    many = replace(CUT, findings=tuple(finding(f"G0{n}", "") for n in range(1, 8)))
    lines = to_text([many], width=80).splitlines()
    at = lines[1].index("findings") if "findings" in lines[1] else lines[0].index("findings")
    codes = [line[at:].split() for line in lines[2:8] if line.strip()[:1] in ("b", "G")]
    assert [code for row in codes for code in row][:7] == [f"G0{n}" for n in range(1, 8)]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("all", ["torch.nn.BatchNorm2d", "mine.py:Cut", "torch.nn.GroupNorm", "mine.py:Open"]),
        ("findings", ["mine.py:Cut", "torch.nn.GroupNorm", "mine.py:Open"]),
        ("failures", ["mine.py:Cut", "mine.py:Open"]),
    ],
)
def test_a_long_table_can_be_cut_to_what_matters(only: str, names: list[str]) -> None:
    """Those with findings, or those that fail; the summary counts all."""
    text = to_text([SOUND, CUT, WARNED, OPEN], width=120, only=only)
    rows = [line.split() for line in text.partition("\n\n")[0].splitlines()[2:]]
    assert [row[0] for row in rows] == names
    assert ("not shown" in text) is (only != "all")
    assert "4 layers audited: 2 sound, 1 not sound, 1 not judged." in text


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


def test_a_huge_share_keeps_its_column_narrow() -> None:
    """A gradient that no path explains may have any share."""
    text = to_text([replace(SOUND, coefficients=Coefficients(-1.7e33, 1.0, 12.5))], width=120)
    assert {"-2e+33", "1.000", "12.500"} <= set(cells(text, SOUND.target))


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
    assert "…" not in text
    assert "\x1b" not in text
    assert "\x1b" in to_text([SOUND], color=True)


def test_specimens_are_compared_with_their_verdict() -> None:
    """A column says whether each got the expected verdict, and the summary counts."""
    met = replace(SOUND, expected=Expected("batch", "both", sound=True))
    missed = replace(CUT, expected=Expected("batch", "both", sound=True))
    text = to_text([met, missed], width=120)
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


def test_another_function_than_a_program_says_is_told_below_the_table() -> None:
    """Once for all targets of a kind, with and without the notes."""
    note = f"{OTHER_FUNCTION}batch: check sample."
    records = [replace(SOUND, target=name, notes=(note, "Another.")) for name in ("./a", "./b")]
    for verbose in (False, True):
        text = to_text(records, verbose=verbose)
        assert text.endswith(f"2 layers audited: 2 sound.\n./a, ./b: {note}\n")
        assert text.count(note) == 1
        assert ("./a, ./b: Another." in text) == verbose
    line = to_markdown(records).splitlines()[2]
    assert (
        line == "2 layers audited: 2 sound. ./a, ./b: y is not a normalization of kind batch: "
        "check sample."
    )
