"""Run a sweep on any executor: processes of this machine, or a cluster."""

import itertools
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

from lmu_hw.explore.points import Network, Outcome, predict
from lmu_hw.explore.store import Store
from lmu_hw.explore.sweep import Point, Sweep
from lmu_hw.power.technology import Technology
from lmu_hw.progress import Progress, silent
from lmu_hw.version import VERSION

__all__ = ["identity", "run"]

Task = tuple[Network, dict[str, Technology], list[Point]]

Results = list[tuple[str, Outcome | str]]


def identity(sweep: Sweep, networks: dict[str, Network], tables: dict[str, str]) -> dict[str, Any]:
    """Describe everything that the outcomes of a sweep depend on, as JSON values. The program counts by its version.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    networks : dict of str to Network
        By name.
    tables : dict of str to str
        SHA-256 of the table of each technology, by name.
    """
    models = {name: networks[name].sha256 for name in sweep.models}
    hashes = {"networks": models, "technologies": {name: tables[name] for name in sweep.technologies}}
    return sweep.to_dict() | {"sha256": hashes, "lmu-hw": VERSION}


def _tasks(
    sweep: Sweep, networks: dict[str, Network], technologies: dict[str, Technology], store: Store
) -> Iterator[Task]:
    """Points that are not in the store, those of one network and configuration together."""
    for (model, _), points in itertools.groupby(sweep.points(), key=lambda point: (point.model, point.config)):
        missing = [point for point in points if store.get(point.key) is None]
        if missing:
            yield networks[model], technologies, missing


def run(
    sweep: Sweep,
    networks: dict[str, Network],
    technologies: dict[str, Technology],
    store: Store,
    executor: Executor,
    *,
    ahead: int = 8,
    progress: Progress = silent,
) -> None:
    """Predict every point that is not in the store yet, and store each outcome at once.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    networks : dict of str to Network
        By name.
    technologies : dict of str to Technology
        By name.
    store : Store
        Holds the outcomes.
    executor : Executor
        Does the work, in any order.
    ahead : int
        Accelerators submitted at a time. With fewer than the executor has workers, some of them idle.
    progress : callable
        Called with (stage, done, total), in points.
    """
    tasks = _tasks(sweep, networks, technologies, store)
    finished = sum(store.get(point.key) is not None for point in sweep.points())
    pending: set[Future[Results]] = {executor.submit(predict, *task) for task in itertools.islice(tasks, ahead)}
    try:
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {executor.submit(predict, *task) for task in itertools.islice(tasks, len(done))}
            for future in done:
                for key, result in future.result():
                    store.add(key, result)
                    finished += 1
            progress("predict", finished, len(sweep))
    finally:
        for future in pending:
            future.cancel()
