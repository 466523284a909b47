"""What the site takes from the project itself: version, repository, and the pages beside the code.

CONTRIBUTING.md, SECURITY.md and the change log are read where they are: a copy would grow old.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""Files of the top folder that are pages, and where the site has them."""

CHANGES = "changes.md"
CHINESE = "zh/"
MARK = "<!-- towncrier release notes start -->"
HEADING = re.compile(r"^#+ .*\n+")


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def on_config(config: Any) -> Any:
    """Name the version, and the repository if the project names one."""
    facts = project()["project"]
    config.site_name = f"{facts['name']} {facts['version']}"
    config.copyright = f"{facts['name']} {facts['version']}, {facts['license']}"
    config.repo_url = facts.get("urls", {}).get("Repository")
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for source, target in PAGES.items():
        text = as_page((ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, target, content=text))
    files.append(File.generated(config, CHANGES, content=changes()))
    return files


def as_page(text: str) -> str:
    """Turn links of a file in the top folder into links of the site."""
    text = text.replace("](docs/", "](")
    for source, target in PAGES.items():
        text = text.replace(f"]({source}", f"]({target}")
    return text


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Say which language a page is in: a screen reader and the choice of a font depend on it."""
    if not page.file.src_uri.startswith(CHINESE):
        return output
    return output.replace('<html lang="en"', '<html lang="zh-Hans"', 1)


def changes() -> str:
    """Return the change log: the next version's changes, then those of released versions."""
    towncrier = project()["tool"]["towncrier"]
    released = (ROOT / towncrier["filename"]).read_text(encoding="utf-8").partition(MARK)[2]
    lines = ["# Changes", "", "## Not yet released", ""]
    for kind in towncrier["type"]:
        lines += [f"### {kind['name']}", "", *fragments(kind["directory"]), ""]
    return as_page("\n".join([*lines, released]))


def fragments(kind: str) -> list[str]:
    """Return an item for each file of changes/ of one type, the newest issue first."""
    paths = [path for path in (ROOT / "changes").glob("*.md") if path.name.split(".")[1] == kind]
    paths.sort(key=lambda path: (-int(path.name.split(".")[0]), path.name))
    texts = [HEADING.sub("", path.read_text(encoding="utf-8")).strip() for path in paths]
    return ["- " + text.replace("\n", "\n    ") for text in texts]
