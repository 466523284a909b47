"""What [tool.backnorm] of a project says of a layer that one of its tests audits."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backnorm.policy.acceptance import Acceptance, accepted_in, checked_code, expired, selected
from backnorm.policy.baseline import read_baseline
from backnorm.policy.settings import ProjectSettings, read_settings

if TYPE_CHECKING:
    from datetime import date

    from backnorm.audit.record import Record

__all__ = ["Project"]


@dataclass(frozen=True)
class Project:
    """The settings of a project.

    Attributes
    ----------
    folder
        Its top folder.
    today
        The day on which accepted findings must hold.
    settings
        What its pyproject.toml says.
    """

    folder: Path
    today: date
    settings: ProjectSettings

    @classmethod
    def in_folder(cls, folder: Path, today: date) -> Project:
        """Read the settings, if there are any."""
        file = folder / "pyproject.toml"
        settings = read_settings(file) if file.is_file() else ProjectSettings()
        return cls(folder, today, settings)

    def options(self, layer: object) -> dict[str, Any]:
        """Return `kind`, `axes` and `quick` for a layer, as far as they are set."""
        names = self._names(layer)
        said = self.settings.options
        found = {name: said[name] for name in ("quick",) if name in said}
        for target in self.settings.targets:
            if target.target in names:
                options = target.options
                found |= {name: options[name] for name in ("kind", "axes") if name in options}
        return found

    def judged(self, record: Record, layer: object) -> tuple[Record, list[str]]:
        """Mark findings that do not count; return also a sentence for each that has expired."""
        options = self.settings.options
        ignored = [
            Acceptance(checked_code(code, "ignore"), "ignore of [tool.backnorm]")
            for code in options.get("ignore", ())
        ]
        known = self._baseline(options.get("baseline", ""))
        said: list[str] = []
        marked = record
        for name in (record.target, *self._names(layer)):
            one = replace(marked, target=name)
            (one,) = accepted_in([one], (*self.settings.accepted, *ignored, *known), self.today)
            over = [
                a for a in self.settings.accepted if any(a.covers(name, f) for f in one.findings)
            ]
            said += expired([one], over, self.today)
            marked = replace(one, target=record.target)
        codes = [checked_code(code, "select") for code in options.get("select", ())]
        (marked,) = selected([marked], codes)
        return marked, list(dict.fromkeys(said))

    def _baseline(self, name: str) -> tuple[Acceptance, ...]:
        return read_baseline(str(self.folder / name)) if name else ()

    def _names(self, layer: object) -> list[str]:
        """Return how the command line may call a layer: by its file, or by its module."""
        made = layer if hasattr(layer, "__qualname__") else type(layer)
        module, name = getattr(made, "__module__", ""), getattr(made, "__qualname__", "")
        try:
            file = Path(inspect.getsourcefile(made) or "")  # type: ignore[arg-type]
        except TypeError:
            file = Path()
        inside = file.is_relative_to(self.folder) and file.is_absolute()
        paths = [file.relative_to(self.folder).as_posix()] if inside else []
        return [*(f"{path}:{name}" for path in paths), f"{module}:{name}", f"{module}.{name}"]
