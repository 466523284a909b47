"""Runs a program that speaks the program protocol, under a supervisor: `launch.py COMMAND...`.

What the program leaves behind is ended with it, and told on stderr; see `watch`.

Plain: Python 3.6, and nothing of backnorm.
"""

import importlib.util
import os
import sys

__all__ = ["main"]


def main():
    """Become the program, with a supervisor above it."""
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "watch.py")
    spec = importlib.util.spec_from_file_location("backnorm_host_watch", place)
    watch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(watch)
    watch.supervise()
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the user named
    except OSError as error:
        sys.stderr.write("%s: %s\n" % (sys.argv[1], error.strerror))
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main()
