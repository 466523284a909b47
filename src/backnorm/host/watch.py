"""The processes and threads that a child starts: found, told, and ended with the child.

On Linux the child runs under a supervisor, which adopts whatever the child leaves: a process in a
session of its own, or one whose parent has ended. When the child ends, or the supervisor is asked
to end, all of them are killed. Elsewhere the processes are found by their parents.

Plain: Python 3.6, and nothing of backnorm.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

__all__ = ["ADOPTS", "LEFT", "descendants", "running", "supervise"]

ADOPTS = sys.platform.startswith("linux")
"""Whether a process can adopt those of its descendants whose parents end."""

LEFT = b"\0left\0"
"""Written to stderr before the number of processes that were ended after their child."""

SET_DEATH_SIGNAL, SET_SUBREAPER = 1, 36
"""Options of prctl, see linux/prctl.h."""

SUPERVISORS = []
"""The process that supervises this one, if any."""


def supervise():
    """Fork, go on in the child, and stay behind as its supervisor."""
    if not ADOPTS or _prctl(SET_SUBREAPER, 1) != 0:
        return
    supervisor, child = os.getpid(), os.fork()
    if child == 0:
        _prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        SUPERVISORS.append(supervisor)
        return
    try:
        status = _waited_for(child)
        count = _end_all()
        if count:
            os.write(2, LEFT + str(count).encode())
        _end_like(status)
    finally:
        os._exit(1)


def descendants(pid):
    """Return the processes that a process has started, and those that they have started."""
    parents = _parents()
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        new = [one for one, its in parents.items() if its == parent]
        found += new
        waiting += new
    return found


def running():
    """Return what this process has at work: ("process", its id) and ("thread", its number)."""
    own = set(SUPERVISORS[:1] + [os.getpid()])
    found = {("process", pid) for pid in descendants((SUPERVISORS or [os.getpid()])[0])}
    found.update(("thread", thread.ident) for thread in threading.enumerate())
    return {one for one in found if one[0] != "process" or one[1] not in own}


def _prctl(option, value):
    try:
        return ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0)
    except (AttributeError, OSError):
        return -1


def _waited_for(child):
    """Wait for the end of a child, and bury all others that end before it; return its status."""

    def end(*_):
        # The child has not been waited for yet: its number is not another process's.
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    # What reads the pipes must notice when the child closes them.
    for pipe in (0, 1):
        os.close(pipe)
    ended, status = os.wait()
    while ended != child:
        ended, status = os.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return status


def _end_all():
    """Kill all processes that are left; return how many there were."""
    killed = set()
    while True:
        for pid in descendants(os.getpid()):
            killed.add(pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            # Children of the one that is buried here are this process's from now on.
            os.wait()
        except ChildProcessError:
            return len(killed)


def _end_like(status):
    """End this process as its child has ended."""
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = os.WTERMSIG(status)
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _parents():
    """Return the parent of each process that has not ended."""
    if ADOPTS:
        listed = filter(None, map(_state_of, filter(str.isdigit, os.listdir("/proc"))))
    else:
        columns = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "state="]
        text = subprocess.check_output(columns).decode("ascii", "replace")
        listed = (tuple(line.split()[:3]) for line in text.splitlines())
    return {int(pid): int(parent) for pid, parent, state in listed if state[0] != "Z"}


def _state_of(pid):
    """Return a process, its parent and its state; None if it is gone."""
    try:
        with open("/proc/%s/stat" % pid, "rb") as file:
            # The name of the program, in parentheses, may hold anything.
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return pid, parent.decode(), state.decode()
