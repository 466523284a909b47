"""Train networks with the whole gradient of their normalizations, and with parts of it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from typing import TYPE_CHECKING

from backnorm.errors import BenchmarkError
from backnorm.lab.recording import Recording, environment_of_training, rounded
from backnorm.torch.lab.training import compute_alone, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backnorm.lab.grid import Grid, Training
    from backnorm.lab.recording import TrainingOutcome

__all__ = ["run"]


def run(grid: Grid, path: Path, processes: int, advance: Callable[[int], None]) -> Recording:
    """Train what the file does not have yet, and write the file after each training.

    Parameters
    ----------
    grid
        What to train.
    path
        The file with the recording; if it is there, its trainings are not done again.
    processes
        How many trainings run at the same time, each in a process with one thread.
    advance
        Called with a number of trainings: first those of the file, then 1 for each that ends.

    Returns
    -------
    Recording
        All trainings of the grid.

    Raises
    ------
    BenchmarkError
        If the file is not such a recording, has trainings that are not in the grid, or comes from
        another environment while trainings are missing; or if a process dies.
    FileError
        If the file cannot be read or written.
    NotInstalledError
        If scikit-learn is not installed.
    """
    recording = Recording.begun(grid, path)
    advance(len(recording.outcomes))
    missing = [training for training in grid.trainings() if training not in recording.outcomes]
    if not missing:
        return recording
    recording.refuse_other_environment(path, environment_of_training())
    recording.write(path)  # a file that cannot be written must not cost a training
    for training, outcome in _outcomes(missing, grid.epochs, processes):
        recording.outcomes[training] = outcome
        recording.write(path)
        advance(1)
    return recording


def _outcomes(
    trainings: list[Training], epochs: int, processes: int
) -> Iterator[tuple[Training, TrainingOutcome]]:
    """Yield the outcome of each training as it ends."""
    # Not by fork: PyTorch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(trainings)), context, compute_alone)
    try:
        futures = {pool.submit(_outcome, training, epochs): training for training in trainings}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise BenchmarkError.training_died() from None
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(training: Training, epochs: int) -> TrainingOutcome:
    curves = asdict(train(*training, epochs=epochs))
    return {name: rounded(value) for name, value in curves.items()}
