"""The sections of docs/frameworks.md: what the audit finds in the frameworks' own layers.

Each framework is audited by one command, under another interpreter if one is given.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

HEAD = """# Frameworks

This page shows what `backnorm audit FRAMEWORK` finds in the normalization layers of each
framework, with the versions that were audited. `make frameworks` writes the tables from the JSON of
the audits. [A section at the end](#looked-into-by-hand) explains each layer that is not sound, and
each surprising result.
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
    environment = document["environment"]
    hidden = NOT_SHOWN | ({"torch"} if framework not in ("torch", "keras") or elsewhere else set())
    shown = {name: version for name, version in environment.items() if name not in hidden}
    return ", ".join(f"{name} {version}" for name, version in shown.items())


def row(target: dict[str, Any]) -> str:
    """Return the line of the table for one layer."""
    shares = [target["coefficients"][name] for name in ("direct", "mean", "variance")]
    shown = ["" if share is None else f"{abs(share):.3f}" for share in shares]
    sound = {True: "yes", False: "no", None: "not judged"}[target["sound"]]
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
    """Return the generated part of the page with new sections, by framework."""
    _, *kept = old.split(SECTION)
    sections = {text.split("\n", 1)[0]: f"## {text.rstrip()}\n" for text in kept} | new
    return "\n".join([HEAD, *sections.values(), ""])
