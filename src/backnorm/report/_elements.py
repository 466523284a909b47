"""Elements of a page. They escape the text that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from backnorm.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["element", "page"]


def element(name: str, attributes: Mapping[str, object], *children: ET.Element | str) -> ET.Element:
    """Return an element of text and elements; unprintable characters are written out."""
    parent = ET.Element(name, {key: printable(str(value)) for key, value in attributes.items()})
    for child in children:
        if isinstance(child, ET.Element):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + printable(child)
        else:
            parent.text = (parent.text or "") + printable(child)
    return parent


def page(root: ET.Element) -> str:
    """Return the text of a whole page."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"
