"""Write docs/frameworks.md: what the audit says of the frameworks' own layers.

    python tools/frameworks_page.py FRAMEWORK[=INTERPRETER] ...

Each framework is audited by one command, under its interpreter where one is given. The sections of
other frameworks stay as they were, and so does the part behind the mark, which is written by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
MARK = "<!-- written by hand from here -->"
HEAD = """# Frameworks

What `backnorm audit FRAMEWORK` says of the normalization layers that each framework has, with the
versions it was run with.
This part is written by `python tools/frameworks_page.py` (`make frameworks`) from the audits' JSON.
What is not sound, and what looks odd, is explained [below](#looked-into-by-hand).
"""
SECTION = "\n## "
NOT_SHOWN = {"platform"}
FAILED = 2


def audited(framework: str, interpreter: str) -> dict[str, Any]:
    """Audit all layers of a framework, in another interpreter if one is given."""
    command = [
        sys.executable,
        "-m",
        "backnorm",
        "audit",
        framework,
        "--json",
        "-",
        "--limit",
        "300",
    ]
    if interpreter:
        command += ["--python", interpreter]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode > FAILED:
        raise SystemExit(done.returncode)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def versions(framework: str, document: dict[str, Any], *, elsewhere: bool) -> str:
    """Return the versions that count for a framework."""
    told = document["environment"]
    hidden = NOT_SHOWN | ({"torch"} if framework not in ("torch", "keras") or elsewhere else set())
    return ", ".join(f"{name} {version}" for name, version in told.items() if name not in hidden)


def row(target: dict[str, Any]) -> str:
    """Return the line of the table for one layer."""
    shares = [target["coefficients"][name] for name in ("direct", "mean", "variance")]
    shown = ["" if one is None else f"{abs(one):.3f}" for one in shares]
    sound = "yes" if target["sound"] else "no"
    codes = ", ".join(finding["code"] for finding in target["findings"])
    if not target["audited"]:
        return f"| {target['target']} | {target['kind']} | | | | | | not audited: {codes} |"
    cells = [target["target"], target["kind"], target["mode"], target["through"], *shown]
    return f"| {' | '.join(cells)} | {sound}{': ' if codes else ''}{codes} |"


def section(argument: str) -> str:
    """Return the section of one framework."""
    framework, _, interpreter = argument.partition("=")
    document = audited(framework, interpreter)
    python = " --python INTERPRETER" if interpreter else ""
    lines = [
        f"## {framework}",
        "",
        f"Command: `backnorm audit {framework}{python}`.",
        f"Versions: {versions(framework, document, elsewhere=bool(interpreter))}.",
        "",
        "| layer | kind | statistics | through | direct | mean | variance | sound |",
        "|---|---|---|---|---|---|---|---|",
        *map(row, document["targets"]),
    ]
    return "\n".join(lines) + "\n"


def renewed(old: str, new: dict[str, str]) -> str:
    """Return the page with new sections, by framework, in place of the old ones or behind them."""
    made, _, by_hand = old.partition(MARK)
    _, *kept = made.split(SECTION)
    sections = {text.split("\n", 1)[0]: f"## {text.rstrip()}\n" for text in kept} | new
    return "\n".join([HEAD, *sections.values(), MARK]) + (by_hand or "\n")


def main(arguments: list[str]) -> None:
    """Audit what is asked for, and write the page."""
    new = {argument.partition("=")[0]: section(argument) for argument in arguments}
    # Read after the audits: in the minutes that they take the page may be edited.
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    PAGE.write_text(renewed(old, new), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
