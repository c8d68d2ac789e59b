"""Takes points of a sweep through synthesis and gates."""

from collections.abc import Sequence
from pathlib import Path

from lmu_hw.explore.front import DesignPoint
from lmu_hw.explore.points import SOUND, Outcome, operating_point, outcome
from lmu_hw.explore.store import Store
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.guards import PowerRefused
from lmu_kit.cli.console import CommandError, console, stages
from lmu_kit.cli.libraries import find_library
from lmu_kit.power import map_plan, measure
from lmu_kit.sounds import find_sounds

__all__ = ["confirm"]

CLIPS = 1
"""Of speech, that are simulated."""


def confirm(
    chosen: Sequence[DesignPoint], models: dict[str, QuantizedModel], store: Store, frames: Path | None
) -> None:
    """Measure points by the tier ``gates``; each is kept as soon as it is done, one that is done is left alone.

    Parameters
    ----------
    chosen : sequence of DesignPoint
        The points.
    models : dict of str to QuantizedModel
        By name.
    store : Store
        Receives the outcomes.
    frames : Path, optional
        Frames to simulate; those shipped with each model if not given.
    """
    for one in chosen:
        point = one.point
        if store.get(point.key, "gates") is not None:
            continue
        try:
            found: Outcome | str = _measured(one, models[point.model], frames)
        except PowerRefused as error:
            found = str(error)
            console.print(f"{point.model} on {point.technology} is refused: {found}", markup=False)
        store.add(point.key, found, "gates")


def _measured(one: DesignPoint, model: QuantizedModel, frames: Path | None) -> Outcome:
    try:
        library, technology = find_library(one.point.technology, None, None)
    except CommandError as error:
        raise CommandError(f"--confirm: {error}") from None
    sounds = {SOUND: find_sounds(model, frames, clips=CLIPS)[SOUND]}
    plan = make_plan(model, one.point.config)
    point = operating_point(plan, one.point.clock)
    with stages() as told:
        mapped = map_plan(plan, library, point.clock, told)
        return outcome(plan, measure(mapped, sounds, point, technology, told))
