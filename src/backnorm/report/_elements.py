"""Elements of a page. They escape the text that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from backnorm.errors.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Shared", "element", "page"]


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


class Shared:
    """Parts of drawings that a page has once, however many figures show them.

    Layers that are audited on the same inputs have the same axes, the same exact curves, and often
    the same bars: a page of 88 layers is a third as large without the copies.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._groups: list[ET.Element] = []
        self._figures = 0

    def figure(self) -> str:
        """Return a short name for a figure, which its parts begin with."""
        self._figures += 1
        return f"f{self._figures}"

    def use(self, *marks: ET.Element) -> ET.Element:
        """Return a reference to some marks, which are kept once."""
        group = element("g", {}, *marks)
        text = ET.tostring(group, encoding="unicode")
        if text not in self._names:
            self._names[text] = f"p{len(self._names)}"
            group.set("id", self._names[text])
            self._groups.append(group)
        return element("use", {"href": f"#{self._names[text]}"})

    def kept(self) -> ET.Element:
        """Return the element that has all of them, and shows nothing."""
        nothing = {"width": 0, "height": 0, "class": "kept", "aria-hidden": "true"}
        return element("svg", nothing, element("defs", {}, *self._groups))


def page(root: ET.Element) -> str:
    """Return the text of a whole page."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"
