"""The cheat sheet as PDF: the page of the built site, printed by Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["print_page"]

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER: Final = "Chromium is not installed. Install it: apt-get install chromium"
NO_FONT: Final = "No font has Chinese characters. Install one: apt-get install fonts-noto-cjk"
LONG: Final = "The cheat sheet has {} pages. Shorten it, or set it smaller in docs/assets/site.css."


def print_page(page: Path, pdf: Path) -> None:
    """Print a page of the site, which must fit on one sheet."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(NO_BROWSER)
    if 'lang="zh' in page.read_text(encoding="utf-8") and not _has_chinese():
        raise SystemExit(NO_FONT)
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer")
    subprocess.run(
        [browser, *options, f"--print-to-pdf={pdf}", page.as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    count = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
    if count != 1:
        raise SystemExit(LONG.format(count))


def _has_chinese() -> bool:
    """Whether a font has Chinese characters, where fontconfig can tell."""
    lister = shutil.which("fc-list")
    if lister is None:
        return True
    done = subprocess.run([lister, ":lang=zh"], check=True, capture_output=True)
    return bool(done.stdout.strip())
