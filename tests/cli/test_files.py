"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from backnorm.cli._files import write_atomically
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
    with pytest.raises(FileError, match="got OSError: no"):
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
