"""What is no text is written out, and text is left alone."""

from __future__ import annotations

import sys
import unicodedata
from xml.etree import ElementTree as ET

from backnorm.errors.printable import printable


def test_text_is_left_alone() -> None:
    """Letters of all sorts, line feeds and tabs."""
    text = "a\tb\nä ß, Größe, 数, 🙂 <&>'\"\\"
    assert printable(text) == text


def test_no_character_survives_that_is_no_text() -> None:
    """All of Unicode in one string: no control characters, and XML takes it."""
    left = printable("".join(map(chr, range(sys.maxunicode + 1))))
    controls = {letter for letter in left if unicodedata.category(letter) in ("Cc", "Cs")}
    assert controls == {"\n", "\t"}
    element = ET.Element("a")
    element.text = left
    assert ET.fromstring(ET.tostring(element)).text == left  # noqa: S314 - our own
