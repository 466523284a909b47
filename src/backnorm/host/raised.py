"""What is told of an error that a subject raised: its words, and the place in the subject's code.

A place is a file, a line, and the text of that line: "net.py:7: `return x.meen(0)`".

Plain: Python 3.6, and nothing of backnorm.
"""

import os
import sysconfig
import traceback

__all__ = ["place_in", "place_of", "words_of"]

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
STANDARD = sysconfig.get_paths()["stdlib"] + os.sep
LONGEST_LINE = 80
UNFILLED = " required positional argument"


def words_of(error):
    """Return what an error says; MXNet puts a traceback before it.

    The place of a syntax error is told by `place_in`.
    """
    if isinstance(error, SyntaxError):
        return error.msg
    lines = str(error).strip().splitlines()
    if not lines or not lines[0].startswith("Traceback"):
        return str(error)
    return lines[-1].partition(type(error).__name__ + ": ")[2] or lines[-1]


def place_of(error, callers=HERE):
    """Return the place in the subject's code where an error was raised; "" if not known.

    That is the last line outside of installed packages, or else the last line, of those that ran
    since code in the folder ``callers`` called the subject. An error from another process has its
    ``place``.
    """
    if hasattr(error, "place"):
        return error.place
    frames = traceback.extract_tb(error.__traceback__)
    calls = [number for number, one in enumerate(frames) if one.filename.startswith(callers)]
    below = [one for one in frames[calls[-1] + 1 :] if os.path.isabs(one.filename)] if calls else []
    own = [one for one in below if not _is_installed(one.filename)]
    if not own and isinstance(error, TypeError) and UNFILLED in str(error):
        return ""  # a call that the audit made: the line of the package in between says nothing
    return _written((own or below)[-1]) if below else ""


def place_in(file, error):
    """Return the last place in a file that an error has passed; "" if it has not been there.

    A syntax error is in the file that it names.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _written(traceback.FrameSummary(error.filename, error.lineno, ""))
    frames = traceback.extract_tb(error.__traceback__)
    passed = [one for one in frames if one.filename == file]
    return _written(passed[-1]) if passed else ""


def _written(frame):
    text = frame.line or ""
    text = text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 3] + "..."
    return "%s:%d" % (_short(frame.filename), frame.lineno) + (": `%s`" % text if text else "")


def _is_installed(file):
    return any(part in file for part in INSTALLED) or file.startswith(STANDARD)


def _short(file):
    """Return a path below the current folder, or below that of installed packages, without it."""
    for part in INSTALLED:
        if part in file:
            return file.rpartition(part)[2]
    beside = os.path.relpath(file)
    return file if beside.startswith(os.pardir) else beside
