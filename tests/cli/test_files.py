"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from backnorm.cli._files import refuse_unwritable, write_atomically
from backnorm.errors import FileError


def test_the_file_is_replaced(tmp_path: Path) -> None:
    """The new text takes the place of the old, and nothing else is left."""
    file = tmp_path / "a.json"
    file.write_text("old")
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last step fails, the old text stays and the new one is cleared away."""
    file = tmp_path / "a.json"
    file.write_text("old")

    def refuse(*_: object) -> None:
        message = "no"
        raise OSError(message)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FileError, match="cannot be written: OSError: no"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    """And the link stays."""
    file, link = tmp_path / "a.json", tmp_path / "link.json"
    file.write_text("old")
    link.symlink_to(file)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    """What could be written to is as it was, and what could not is refused."""
    file = tmp_path / "a.json"
    refuse_unwritable(file)
    assert list(tmp_path.iterdir()) == []
    file.write_text("old")
    refuse_unwritable(file)
    assert file.read_text() == "old"
    file.unlink()
    file.mkdir()
    with pytest.raises(FileError, match=r"a\.json is a directory, not a regular file"):
        refuse_unwritable(file)
    with pytest.raises(FileError, match=r"b\.json cannot be written"):
        refuse_unwritable(tmp_path / "none" / "b.json")
