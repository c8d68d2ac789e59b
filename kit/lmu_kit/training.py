"""Training of float networks on recordings; needs PyTorch, an extra."""

import dataclasses
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError

if TYPE_CHECKING:
    from lmu_quantize.train import EpochResult, TrainConfig, TrainResult
    from lmu_quantize.train.search import Trial

__all__ = ["need_torch", "search", "train"]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    trials : tuple of Trial
        Of all rungs.
    last : tuple of Trial
        Of the last rung.
    front : tuple of Trial
        Pareto front of the last rung.
    """

    trials: "tuple[Trial, ...]"
    last: "tuple[Trial, ...]"
    front: "tuple[Trial, ...]"


def train(
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    recipe: "str | os.PathLike[str] | TrainConfig" = "kws361",
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    on_skipped: Callable[[str, tuple[str, ...]], None] | None = None,
    on_epoch: "Callable[[EpochResult], None] | None" = None,
    **changes: Any,
) -> "TrainResult":
    """Train a float network on Speech Commands, with quantization in the loop at the end.

    Parameters
    ----------
    data : path-like
        The published dataset's own folder layout.
    folder : path-like
        For checkpoints, log and models; a run that was stopped resumes from there.
    recipe : str, path-like or TrainConfig
        Name of a shipped recipe, a recipe file, or a configuration.
    cache : path-like, optional
        For augmented frames, which runs of other networks and the same seed may share; `folder` if not given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps; the steps of ``training`` are epochs.
    on_skipped : callable, optional
        Called before training with a split and one line for each of its clips that could not be used.
    on_epoch : callable, optional
        Called with the result of each epoch.
    **changes
        Other values of fields of the recipe, such as ``seed=1, threads=2, device="cuda"``.

    Returns
    -------
    TrainResult
        The networks, the formats, the history and the scores.

    Raises
    ------
    InputError
        If PyTorch is missing.
    """
    need_torch("training")
    from lmu_quantize.train import TrainConfig  # PyTorch is slow to import, and an extra
    from lmu_quantize.train import train as run

    if not isinstance(recipe, TrainConfig):
        recipe = TrainConfig.from_recipe(str(recipe), str(data), str(folder))
    config = dataclasses.replace(recipe, data=str(data), out=str(folder), **changes)
    kept = None if cache is None else Path(cache)
    return run(config, cache=kept, progress=progress, on_skipped=on_skipped, on_epoch=on_epoch)


def search(
    space: str | os.PathLike[str],
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    threads: int = 1,
    device: str = "auto",
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    on_trial: "Callable[[Trial], None] | None" = None,
) -> "SearchResult":
    """Search network shapes: accuracy against what the hardware stores, multiplies and reads.

    Parameters
    ----------
    space : str or path-like
        A search file, or the name of a shipped one such as ``"joules"``.
    data : path-like
        Speech Commands folder.
    folder : path-like
        For the log and the networks; a search that was stopped resumes from there.
    threads : int
        Threads of PyTorch; a search must be resumed with the same number.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
    cache : path-like, optional
        For augmented frames; `folder` if not given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.
    on_trial : callable, optional
        Called with each trial after its training.

    Returns
    -------
    SearchResult
        ``trials`` of all rungs, and ``last`` and ``front``: those of the last rung, and its Pareto front.

    Raises
    ------
    InputError
        If PyTorch is missing.
    ValueError
        If the folder holds another search, or the space has too few candidates.
    """
    need_torch("the search")
    from lmu_quantize.train.search import SearchConfig, fronts  # PyTorch is slow to import, and an extra
    from lmu_quantize.train.search import search as run

    config, kept = SearchConfig.load(str(space)), None if cache is None else Path(cache)
    trials = run(
        config, Path(data), Path(folder), threads=threads, device=device, cache=kept, progress=progress,
        on_trial=on_trial,
    )  # fmt: skip
    last = tuple(trial for trial in trials if trial.rung == len(config.rungs) - 1)
    front = tuple(trial for trial, number in zip(last, fronts(last), strict=True) if number == 0)
    return SearchResult(tuple(trials), last, front)


def need_torch(purpose: str) -> None:
    """Refuse to go on without PyTorch; `purpose` says what needs it."""
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"{purpose} needs PyTorch: pip install 'lmu-hw[train]'")
