"""Results as they show themselves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.audit.records import Records
from backnorm.convert.files.record import ModelFile
from backnorm.errors import SubjectError
from report.records import CUT, HOSTILE, LOST, OPEN, SOUND

X = np.arange(24.0).reshape(2, 12)
FORWARD = bn.batch_norm(X, np.ones(12), np.zeros(12))

RESULTS: dict[str, tuple[Any, str, str]] = {
    # result: its line, words of its table
    "sound record": (
        SOUND,
        "<Record: torch.nn.BatchNorm2d, sound, through both>",
        "torch.nn.BatchNorm2d",
    ),
    "wrong record": (
        CUT,
        "<Record: mine.py:Cut, not sound, through variance, G01 G14>",
        "G01: The gradient does not go through the mean",
    ),
    "lost record": (
        LOST,
        "<Record: mine.py:Lost, not audited, through unexplained, G22>",
        "G22: mine.py:Lost returned None in place of y. Without y",
    ),
    "open record": (
        OPEN,
        "<Record: mine.py:Open, not judged, through unexplained>",
        "Not judged: y is not a linear function of x in each row.",
    ),
    "records": (
        Records([SOUND, CUT]),
        "<Records: 2 layers audited: 1 sound, 1 not sound.>",
        "2 layers audited: 1 sound, 1 not sound.",
    ),
    "no records": (Records(), "<Records: 0 layers audited: 0 sound.>", "0 layers audited"),
    "forward": (
        FORWARD,
        "<Forward: y of shape (2, 12), float64; 2 values in each of 12 channels>",
        "and 4 more channels",
    ),
    "gradients": (
        bn.batch_norm_backward(np.ones((2, 12)), FORWARD),
        "<Gradients: dx (2, 12), dgamma (12,), dbeta (12,)>",
        "dbeta",
    ),
    "empty gradients": (bn.Gradients(dx=np.zeros((0, 3))), "<Gradients: dx (0, 3)>", "(0, 3)"),
    "second gradients": (
        bn.SecondGradients(X, X, None),
        "<SecondGradients: x (2, 12), dy (2, 12)>",
        "dy",
    ),
    "conversion": (
        bn.convert_state(
            {"mean": [4.0], "variance": [6.0], "scale_factor": [2.0]},
            "caffe",
            "torch",
            target_options={"affine": False},
        ),
        (
            "<Conversion: running_mean, running_var, num_batches_tracked; eps=1e-05, "
            "momentum=0.001, affine=False, bias=True>"
        ),
        "Not carried: the divisor of the sums",
    ),
    "file": (
        ModelFile(Path("some/m.npz"), "npz", (), {"w": X}, ("One was left.",), content=b"x" * 9999),
        "<ModelFile: m.npz (npz), 0 normalization layers, 1 other array>",
        "One was left.",
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_shows_itself(name: str) -> None:
    """In a line, in a short table, and in a table for a notebook."""
    result, line, words = RESULTS[name]
    assert repr(result) == line
    assert words in str(result)
    assert len(str(result)) < 2000
    html = result._repr_html_()
    assert html.startswith("<div>")
    assert ("<table>" in html) is ("──" in str(result))


def test_a_list_of_results_is_a_list_of_lines() -> None:
    """A list prints its elements by their repr."""
    assert str([SOUND]) == f"[{SOUND!r}]"


def test_words_of_a_target_stay_words() -> None:
    """No markup, no control characters, and the line is one line."""
    html = HOSTILE._repr_html_()
    assert "<script>" not in html
    for text in (str(HOSTILE), html):
        assert not [letter for letter in text if ord(letter) < 32 and letter != "\n"]
    assert "\n" not in repr(replace(HOSTILE, findings=()))


def test_a_text_names_what_to_audit() -> None:
    """As on the command line; a name that is not there is an error with the nearest names."""
    record = bn.audit("backnorm.audit.specimens.cut:MeanCut", quick=True)
    assert (record.target, record.through) == ("backnorm.audit.specimens.cut:MeanCut", "variance")
    with pytest.raises(SubjectError, match=r"no MeanCutt in .* Did you mean MeanCut"):
        bn.audit("backnorm.audit.specimens.cut.MeanCutt")


def test_what_shows_results_is_loaded_when_it_is_needed() -> None:
    """Importing backnorm loads neither rich nor the reports."""
    code = (
        "import sys, backnorm; print([m for m in sys.modules if m in ('rich', 'backnorm.report')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
