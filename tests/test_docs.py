"""Every Python example runs: the code blocks of README and docs, and those in docstrings."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "backnorm"
ENGLISH = sorted(set((ROOT / "docs").rglob("*.md")) - set((ROOT / "docs" / "zh").glob("*.md")))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ENGLISH]
"""Chinese pages have the same code, which test_chinese.py holds equal: it runs once."""
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

WORDS = {"torch": "torch", "jax": "jax", "keras": "import keras"}
"""What the examples of a framework say. Others name it too: it is a dialect."""
MISSING = [name for name in WORDS if importlib.util.find_spec(name) is None]
"""Frameworks whose examples cannot run here: tests/with_frameworks runs those of JAX and Keras."""
MISSING_BLOCKS = [
    re.compile(rf"^```python\n(?:(?!^```).)*\b{WORDS[name]}\b.*?^```", re.DOTALL | re.MULTILINE)
    for name in MISSING
]


def modules() -> list[str]:
    """Names of all modules with examples in their docstrings."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text():
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def relative(path: Path) -> str:
    """Return the path as one names it in the project."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page, one after the other, in one namespace and an empty folder."""
    monkeypatch.chdir(tmp_path)
    document = Sybil([PythonCodeBlockParser(doctest_optionflags=OPTIONS)]).parse(page)
    blocks = [m.span() for pattern in MISSING_BLOCKS for m in pattern.finditer(document.text)]
    for example in document.examples():
        if not any(start <= example.start < end for start, end in blocks):
            example.evaluate()


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a module give the values they show."""
    if name.startswith(tuple(f"backnorm.{framework}" for framework in MISSING)):
        pytest.skip("its framework is not installed here")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=OPTIONS)
    assert attempted > 0
    assert failed == 0
