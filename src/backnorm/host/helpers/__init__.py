"""Helpers for programs that speak the program protocol: one file for each language.

`backnorm program LANGUAGE` prints one. Each is complete in itself and needs nothing beside its
language; the one for Python needs NumPy.

Plain: Python 3.6, and nothing of backnorm.
"""

import os

__all__ = ["FILES", "text_of"]

FILES = {
    "c": "backnorm.h",
    "cpp": "backnorm.hpp",
    "js": "backnorm.mjs",
    "julia": "backnorm.jl",
    "python": "backnorm_program.py",
    "rust": "backnorm.rs",
}
"""The name of the helper for each language."""


def text_of(language):
    """Return the text of the helper for a language."""
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), FILES[language])
    with open(place, encoding="utf-8") as file:
        return file.read()
