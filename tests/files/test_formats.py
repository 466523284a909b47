"""Every format has what its recipe asks for: a row in docs/files.md, and a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS, format_of
from backnorm.errors import FileError
from files import models
from files.documented import DOCUMENTED, PAGE


@pytest.mark.parametrize("format_", FORMATS)
def test_a_format_has_a_row_in_the_documentation(format_: str) -> None:
    """Its endings, and whether it needs a library."""
    assert format_ in DOCUMENTED, f"{PAGE.name} has no row for the format {format_}"
    assert DOCUMENTED[format_].endings == FORMATS[format_].suffixes
    needed = FORMATS[format_].library or FORMATS[format_].new_needs
    assert bool(DOCUMENTED[format_].library) == bool(needed)


LAYERS = PAGE.read_text(encoding="utf-8").partition("| format | which layers are found |")[2]


@pytest.mark.parametrize("format_", FORMATS)
def test_the_documentation_says_which_layers_are_found(format_: str) -> None:
    """In a row with its first ending."""
    rows = [line.split("|")[1] for line in LAYERS.split("\n\n")[0].splitlines() if line]
    assert any(f"`{FORMATS[format_].suffixes[0]}`" in row for row in rows)


def test_the_documentation_has_no_other_formats() -> None:
    """In the order of the registry or not."""
    assert set(DOCUMENTED) == set(FORMATS)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_format_has_a_sample(format_: str) -> None:
    """With the output that its framework computed."""
    recorded = {sample.format for sample in models.FILES.values() if sample.recorded}
    formats = {sample.format for sample in models.FILES.values()}
    assert format_ in formats, f"{models.SAMPLES.name} has no sample of the format {format_}"
    assert format_ in recorded or FORMATS[format_].read_only


@pytest.mark.parametrize("format_", models.READABLE)
def test_a_format_is_registered_under_its_name(format_: str) -> None:
    """And holds layers of some dialect."""
    models.need(format_)
    registered = format_of(Path(), format_)
    assert registered.name == format_
    assert registered.dialects or FORMATS[format_].read_only
    assert (registered.write is None) == FORMATS[format_].read_only


@pytest.mark.parametrize("format_", sorted(set(FORMATS) - set(models.NEW)))
def test_a_format_that_needs_the_network_is_not_made_anew(format_: str, tmp_path: Path) -> None:
    """What cannot be made is refused with what can."""
    ones = np.ones(3, np.float32)
    state = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), ones)
    path = models.new_file(tmp_path, format_)
    model = files.ModelFile(path, format_, (files.NormLayer("bn", "keras", state),))
    with pytest.raises(FileError, match=rf"^{path.name}"):
        files.write(path, model)
