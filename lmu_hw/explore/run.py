"""Runs a sweep on any executor: processes of this machine, or a cluster."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

from lmu_hw.explore.points import Network, Outcome, predict
from lmu_hw.explore.store import Store
from lmu_hw.explore.sweep import Point, Sweep
from lmu_hw.power.technology import Technology
from lmu_hw.version import VERSION

__all__ = ["identity", "run"]

Task = tuple[Network, dict[str, Technology], list[Point]]

Results = list[tuple[str, Outcome | str]]


def identity(sweep: Sweep, networks: dict[str, Network], tables: dict[str, str]) -> dict[str, Any]:
    """What the outcomes of a sweep depend on, JSON-able; of the program, its version.

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
    """Points that are not done, those of a network and a configuration together."""
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
    told: Callable[[int], None] | None = None,
) -> None:
    """Predict every point that is not done; each is kept as soon as it is.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    networks : dict of str to Network
        By name.
    technologies : dict of str to Technology
        By name.
    store : Store
        Receives the outcomes, and knows what is done.
    executor : Executor
        Does the work, in any order.
    ahead : int
        Accelerators given to the executor at a time: more than it has workers, or some of them wait.
    told : callable, optional
        Told how many points are done.
    """
    tasks = _tasks(sweep, networks, technologies, store)
    finished = sum(store.get(point.key) is not None for point in sweep.points())
    pending: set[Future[Results]] = {executor.submit(predict, *task) for task in itertools.islice(tasks, ahead)}
    try:
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {executor.submit(predict, *task) for task in itertools.islice(tasks, len(done))}
            for future in done:
                for key, found in future.result():
                    store.add(key, found)
                    finished += 1
            if told is not None:
                told(finished)
    finally:
        for future in pending:
            future.cancel()
