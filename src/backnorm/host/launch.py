"""Runs a program that speaks the program protocol, under a supervisor: `launch.py COMMAND...`.

What the program leaves behind is ended with it, and told on stderr; see `watch`.

Plain: Python 3.6, and nothing of backnorm.
"""

import errno
import importlib.util
import os
import sys

__all__ = ["UNSTARTED", "main"]

UNSTARTED = "backnorm cannot start it: "
"""Written to stderr before the reason, where there is no program to run."""


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
        sys.stderr.write(UNSTARTED + _reason(sys.argv[1], error))
        sys.stderr.flush()
        os._exit(127)


def _reason(program, error):
    """Say why a program cannot be run: the system names the script where it means another file."""
    if error.errno == errno.ENOEXEC:
        return "it is neither a program of this machine nor a script that begins with #!"
    if error.errno == errno.ENOENT and os.path.exists(program):
        with open(program, "rb") as file:
            first = file.readline(80).decode("latin-1")
        if first.startswith("#!"):
            return "its first line names an interpreter that is not there, %r" % first[2:].strip(
                " \n"
            )
    return error.strerror


if __name__ == "__main__":
    main()
