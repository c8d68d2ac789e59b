"""Sweeps over networks, configurations, technologies and clocks; the best points, and their confirmation by gates."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmu_hw.explore.front import DesignPoint, Limits, best, coverage_order, order
from lmu_hw.explore.points import SOUND, Network, Outcome, operating_point, outcome
from lmu_hw.explore.run import identity
from lmu_hw.explore.run import run as run_sweep
from lmu_hw.explore.store import Store
from lmu_hw.explore.sweep import Sweep
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.guards import PowerRefused
from lmu_hw.power.technology import Technology, load_technology
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.estimate import open_library
from lmu_kit.models import open_model, read_object
from lmu_kit.power import FrameSimulation, map_plan, measure
from lmu_kit.sounds import find_sounds
from lmu_kit.workers import cores, workers
from lmu_quantize import zoo
from lmu_quantize.frames_file import FrameSet

__all__ = ["POINTS_FILE", "SweepResult", "confirm", "known_accuracies", "sweep"]

POINTS_FILE = "points.jsonl"
"""File of a sweep's folder, by which a sweep that was stopped resumes."""

CLIPS = 1
"""Clips of speech that a confirmation simulates."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep predicts.

    Parameters
    ----------
    sweep : Sweep
        Its lists.
    folder : Path
        Where its points are stored.
    models : dict of str to QuantizedModel
        Networks by name.
    accuracies : dict of str to float
        By name, 0 to 1, where known.
    points : tuple of DesignPoint
        Points with outcomes.
    infeasible : tuple of str
        For each other point, why it cannot be built.
    """

    sweep: Sweep
    folder: Path
    models: dict[str, QuantizedModel]
    accuracies: dict[str, float]
    points: tuple[DesignPoint, ...]
    infeasible: tuple[str, ...]

    @property
    def front(self) -> list[DesignPoint]:
        """Points on the Pareto front of power, area, latency and accuracy of their technology."""
        return [point for point, number in zip(self.points, order(self.points), strict=True) if number == 0]

    def best(self, limits: Limits | None = None, aim: str = "power") -> DesignPoint | None:
        """The point with the least `aim` (or the highest accuracy) within limits; None if there is none."""
        return best(self.points, limits or Limits(), aim)


def sweep(
    lists: Sweep,
    folder: str | os.PathLike[str],
    *,
    models: Mapping[str, QuantizedModel] | None = None,
    accuracies: Mapping[str, float] | None = None,
    jobs: int | None = None,
    dask: str | None = None,
    progress: Progress = silent,
) -> SweepResult:
    """Predict power, area and latency of every combination of the lists by tier table.

    Parameters
    ----------
    lists : Sweep
        Models, choices of the configuration, technologies, clocks.
    folder : path-like
        Keeps every point as soon as it is predicted; a sweep that was stopped resumes from there.
    models : mapping of str to QuantizedModel, optional
        Networks by the names in `lists`; opened by `open_model` if not given.
    accuracies : mapping of str to float, optional
        Of networks by name, 0 to 1; those of shipped networks are known.
    jobs : int, optional
        Processes of this machine; all its cores if not given.
    dask : str, optional
        Address of the scheduler of a Dask cluster, which does the work instead.
    progress : callable, optional
        Called with the stage, the points done, and all points.

    Returns
    -------
    SweepResult
        Every point; `SweepResult.front` and `SweepResult.best` choose.

    Raises
    ------
    InputError
        If no point can be built, an accuracy is not in 0 to 1, or the workers were lost.
    StoreError
        If the folder holds another sweep, or another process is writing it.
    """
    folder = Path(folder)
    opened = {name: (models or {}).get(name) or open_model(name) for name in lists.models}
    known = known_accuracies(lists) | dict(accuracies or {})
    for name, accuracy in known.items():
        if name not in lists.models or not 0 < accuracy <= 1:
            raise InputError(f"accuracy of {name!r}: a model of the sweep and a number above 0 to 1, not {accuracy!r}")
    networks, technologies = _networks(opened), _technologies(lists)
    with _store(lists, folder, networks, technologies) as store:
        _predict(lists, networks, technologies, store, cores() if jobs is None else jobs, dask, progress)
        return _result(lists, folder, opened, known, store)


def confirm(
    result: SweepResult,
    count: int = 1,
    *,
    limits: Limits | None = None,
    aim: str = "power",
    frames: str | os.PathLike[str] | FrameSet | None = None,
    progress: Progress = silent,
) -> SweepResult:
    """Estimate points of the fronts again, by tier gates.

    Parameters
    ----------
    result : SweepResult
        From `sweep`.
    count : int
        Number of points: the best one first, then others that cover the fronts.
    limits : Limits, optional
        Only points within them are taken.
    aim : str
        What "best" means.
    frames : path-like or FrameSet, optional
        Frames to simulate; those that ship with each network if not given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    SweepResult
        The same points, with the outcomes by gates; a point that is refused by a guard has none.

    Raises
    ------
    PdkError
        If the cells of a technology are missing.
    """
    limits = limits or Limits()
    front = [point for point in result.front if limits.allow(point)]
    chosen = best(front, limits, aim)
    rest = [point for point in coverage_order(front) if point is not chosen]
    with _store(result.sweep, result.folder, _networks(result.models), _technologies(result.sweep)) as store:
        for point in ([] if chosen is None else [chosen, *rest])[:count]:
            if store.get(point.point.key, "gates") is None:
                store.add(point.point.key, _by_gates(point, result.models, frames, progress), "gates")
        return _result(result.sweep, result.folder, result.models, result.accuracies, store)


def known_accuracies(lists: Sweep) -> dict[str, float]:
    """Accuracies of the shipped networks of a sweep on the official test clips, 0 to 1, by name."""
    return {
        name: float(read_object(zoo.path(name, "golden.json"), "a measured accuracy")["accuracy"])
        for name in lists.models
        if name in zoo.names()
    }


def _networks(models: Mapping[str, QuantizedModel]) -> dict[str, Network]:
    return {name: Network(name, program_file.digest(model), model) for name, model in models.items()}


def _technologies(lists: Sweep) -> dict[str, Technology]:
    return {name: load_technology(name) for name in lists.technologies}


def _store(
    lists: Sweep, folder: Path, networks: dict[str, Network], technologies: Mapping[str, Technology]
) -> Store:
    texts = {name: json.dumps(table.to_dict(), sort_keys=True) for name, table in technologies.items()}
    tables = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder / POINTS_FILE, identity(lists, networks, tables))


def _predict(
    lists: Sweep,
    networks: dict[str, Network],
    technologies: dict[str, Technology],
    store: Store,
    jobs: int,
    dask: str | None,
    progress: Progress,
) -> None:
    """Predict what is missing, in processes that start only if something is."""
    if all(store.get(point.key) is not None for point in lists.points()):
        return
    with workers(jobs, dask) as (pool, ahead):
        run_sweep(lists, networks, technologies, store, pool, ahead=ahead, progress=progress)


def _result(
    lists: Sweep,
    folder: Path,
    models: Mapping[str, QuantizedModel],
    accuracies: Mapping[str, float],
    store: Store,
) -> SweepResult:
    points, infeasible = [], []
    for point in lists.points():
        predicted, gates = store.get(point.key), store.get(point.key, "gates")
        if isinstance(predicted, Outcome):
            confirmed = gates if isinstance(gates, Outcome) else None
            points.append(DesignPoint(point, predicted, accuracies.get(point.model), confirmed))
        else:
            infeasible.append(f"{point.model}: {predicted}")
    if not points:
        raise InputError(f"no point of the sweep can be built; the first: {infeasible[0]}")
    return SweepResult(lists, folder, dict(models), dict(accuracies), tuple(points), tuple(infeasible))


def _by_gates(
    swept: DesignPoint,
    models: Mapping[str, QuantizedModel],
    frames: str | os.PathLike[str] | FrameSet | None,
    progress: Progress,
) -> Outcome | str:
    """Outcome by gates, or the reason why a guard refuses it."""
    point, model = swept.point, models[swept.point.model]
    library, described = open_library(point.technology, macros="model")
    plan = make_plan(model, point.config)
    speed = operating_point(plan, point.clock)
    sounds = {SOUND: find_sounds(model, frames, clips=CLIPS)[SOUND]}
    try:
        mapped = map_plan(plan, library, speed, progress)
        # As the table that predicted the point: an old one has no glitches in it.
        simulation = FrameSimulation(delays=load_technology(point.technology).energies(point.config).glitches)
        return outcome(plan, measure(mapped, sounds, speed, described, progress, simulation=simulation))
    except PowerRefused as error:
        return str(error)
