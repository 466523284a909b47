"""A model file as a target. Plain: Python 3.6, and nothing of backnorm.

What reads the file needs a package, so that it is imported once it is asked for.
"""

import os

from .no_subject import NoSubject

__all__ = ["OnnxFile", "file_in"]

ENDING = ".onnx"


def file_in(target):
    """Return the ONNX file that a target names, as file.onnx or file.onnx:node; None for others."""
    place, ending, name = target.partition(ENDING)
    if not ending or name[:1] not in ("", ":"):
        return None
    return OnnxFile(place + ending, name[1:])


class OnnxFile:
    """An ONNX file, and the name of a node if one of its normalizations is meant."""

    def __init__(self, path, node):
        self.path, self.node = path, node

    def specs(self):
        """Return a spec of each of its normalizations; see `backnorm.host.specs`."""
        if not os.path.isfile(self.path):
            raise NoSubject.no_file(self.path, [], os.getcwd())
        try:
            from .onnx import specs_in
        except ImportError as error:
            raise NoSubject.import_failed(error) from error
        return specs_in(self.path, self.node)
