"""The layers of a framework in several child processes side by side.

Each process has a thread here, which asks it for one layer after the other; records are handed out
in the order of the list. The thread of the caller alone tells the progress, and meets Ctrl-C: then
the processes are ended first, so that the threads find nothing to wait for.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from backnorm.cli._crew import audit_job, names_in_list
from backnorm.host.calls import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.record import Record
    from backnorm.cli._crew import Crew
    from backnorm.cli._progress import AuditJob, Stage

__all__ = ["Crews"]

News: TypeAlias = "tuple[int, str, Any]"
"""The place of a layer in the list; "at work", "record", "over" or "failed"; and what goes with it.
"""


@dataclass(slots=True)
class Crews:
    """Crews that share the layers of a list.

    Attributes
    ----------
    crews
        At least one.
    stopped
        Set when nothing more is to be begun.
    """

    crews: Sequence[Crew]
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def first(self) -> Crew:
        """The crew of what is not shared."""
        return self.crews[0]

    @property
    def told(self) -> dict[str, str]:
        """Versions in other interpreters."""
        return {name: version for crew in self.crews for name, version in crew.told.items()}

    def parts_of(self, job: AuditJob, seconds: float) -> list[AuditJob]:
        """Return a job for each layer of a list; none if the job is to be done in one piece.

        All crews are asked for the list, since each has to import the framework anyway.
        """
        elsewhere = job.python or job.environment or job.program
        if len(self.crews) == 1 or job.target not in FRAMEWORKS or elsewhere:
            return []
        with ThreadPoolExecutor(len(self.crews)) as pool:
            try:
                asked = [
                    pool.submit(names_in_list, crew, job.target, seconds) for crew in self.crews
                ]
                names = asked[0].result()
            except BaseException:
                self._kill()
                raise
        return [replace(job, place=at, part=name) for at, name in enumerate(names)]

    def audit(
        self, parts: Sequence[AuditJob], at_work: Callable[[Stage], object], seconds: float
    ) -> Iterator[Record]:
        """Yield the records of parts in their order; `at_work` is told what is begun."""
        news: queue.SimpleQueue[News] = queue.SimpleQueue()
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for place in range(len(parts)):
            waiting.put(place)
        threads = [
            threading.Thread(
                target=self._work, args=(crew, parts, waiting, news, seconds), daemon=True
            )
            for crew in self.crews
        ]
        for thread in threads:
            thread.start()
        try:
            yield from _in_order(news, len(parts), at_work)
        except BaseException:
            # Also where the caller wants no more.
            self._kill()
            raise
        finally:
            for thread in threads:
                thread.join()

    def dismiss(self) -> None:
        """End all children."""
        for crew in self.crews:
            crew.dismiss()

    def _kill(self) -> None:
        self.stopped.set()
        for crew in self.crews:
            crew.kill()

    def _work(
        self,
        crew: Crew,
        parts: Sequence[AuditJob],
        waiting: queue.SimpleQueue[int],
        news: queue.SimpleQueue[News],
        seconds: float,
    ) -> None:
        """Do one part after the other, and tell it."""
        while not self.stopped.is_set():
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return

            def told(stage: Stage, place: int = place) -> None:
                news.put((place, "at work", stage))

            try:
                for record in audit_job(crew, parts[place], told, seconds):
                    if self.stopped.is_set():
                        return
                    news.put((place, "record", record))
            except Exception as error:  # noqa: BLE001 - it is raised where the caller is
                news.put((place, "failed", error))
                return
            news.put((place, "over", None))


def _in_order(
    news: queue.SimpleQueue[News], count: int, at_work: Callable[[Stage], object]
) -> Iterator[Record]:
    """Yield records by the places of their parts, and tell how many parts are done."""
    records: list[list[Record]] = [[] for _ in range(count)]
    over: set[int] = set()
    first = 0
    while first < count:
        place, what, told = news.get()
        if what == "failed":
            raise told
        if what == "record":
            records[place].append(told)
        elif what == "over":
            over.add(place)
        else:
            at_work(replace(told, done=len(over), total=count))
        while first < count:
            yield from records[first]
            records[first].clear()
            if first not in over:
                break
            first += 1
