"""Elements of a page, which escape what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from backnorm.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["element", "page"]


def element(name: str, attributes: Mapping[str, object], *children: ET.Element | str) -> ET.Element:
    """Make an element of text and elements; what is no text is written out."""
    made = ET.Element(name, {key: printable(str(value)) for key, value in attributes.items()})
    for child in children:
        if isinstance(child, ET.Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + printable(child)
        else:
            made.text = (made.text or "") + printable(child)
    return made


def page(root: ET.Element) -> str:
    """Return the text of a whole page."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"
