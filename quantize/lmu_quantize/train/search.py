"""A search over the shapes of networks: validation accuracy against stored bits, multiplications and bits read.

Candidates are drawn at random from lists of choices and trained shortly, all by one recipe. The best are trained longer
(successive halving; Jamieson and Talwalkar 2016, arXiv:1502.07943). With several costs there is no single best
candidate. Candidates are ordered by their Pareto front, then by their distance to others on it, so that the whole front
is kept (the order of NSGA-II; Deb et al. 2002). Every finished training is a line of a file, from which a killed search
resumes. The test set is never read.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw import pareto
from lmu_hw.checks import from_json, require_choice, require_int, require_list, require_type
from lmu_hw.files import write_rows, write_whole
from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_hw.progress import Progress, silent
from lmu_quantize.features import FrontEnd
from lmu_quantize.shipped import read_given
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.devices import choose_device
from lmu_quantize.train.loop import train
from lmu_quantize.train.network import LMUNetwork
from lmu_quantize.zoo.cost import cost

__all__ = ["SEARCHES", "Rung", "SearchConfig", "Trial", "candidates", "fronts", "order", "search", "write_csv"]

SEARCHES = Path(__file__).parent / "searches"
"""Folder of the searches that are shipped."""

COSTS = ("kbits", "multiplications", "weight_bits")
"""What the front weighs against `Trial.recall`."""

TRIES = 200
"""Draws for each candidate that is wanted, before the space is said to be too small."""


@dataclass(frozen=True)
class Rung:
    """One round of trainings of the same length.

    Parameters
    ----------
    trials : int
        Candidates that are trained.
    epochs, quantized_epochs : int
        Of each training; at least one of each.
    """

    trials: int
    epochs: int
    quantized_epochs: int

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "quantized_epochs"):
            require_int(f"rung {name}", getattr(self, name), 1)


@dataclass(frozen=True)
class SearchConfig:
    """What is searched, and how.

    Parameters
    ----------
    recipe : str
        A recipe's file or shipped name; its fine-tuning must be exact.
    layers : tuple of dict
        For each layer a list of choices for each parameter of its shape that is not its default, or the name of one of
        the `shared` lists. ``type`` says which shape, as in recipes.
    kbits : tuple of two floats
        Least and most thousands of bits of weights of a candidate, before pruning.
    shared : dict of str to list
        Choices that are drawn once for all layers that name them, such as the units of layers with a residual.
    changes : dict
        Keys of the recipe that are another in all trainings.
    choices : dict of str to list
        Keys of the recipe with the values to choose from.
    rungs : tuple of Rung
        Rounds, each with no more trials than the one before.
    seed : int
        Seed of the choice of candidates; the trainings have that of the recipe.
    """

    recipe: str
    layers: tuple[dict[str, list[Any] | str], ...]
    kbits: tuple[float, float]
    shared: dict[str, list[Any]] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, list[Any]] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = (Rung(16, 10, 2),)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("layers", "rungs", "kbits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("changes", "choices", "shared"):
            require_type(name, getattr(self, name), dict)
        named: list[tuple[str, Mapping[str, list[Any] | str]]] = [("choices", self.choices), ("shared", self.shared)]
        for where, choices in (*named, *self._numbered()):
            for key, values in choices.items():
                if where.startswith("layers") and isinstance(values, str):
                    require_choice(f"{where}.{key}", values, tuple(self.shared))
                elif not isinstance(values, list) or not values:
                    raise ValueError(f"{where}.{key} must be a list of choices, not {values!r}")
        if not self.layers:
            raise ValueError("layers must be one or more objects of choices")
        if not self.rungs or not all(isinstance(rung, Rung) for rung in self.rungs):
            raise ValueError(f"rungs must be one or more Rung, not {self.rungs!r}")
        counts = [rung.trials for rung in self.rungs]
        if counts != sorted(counts, reverse=True):
            raise ValueError(f"a rung must have no more trials than the one before, not {counts}")
        if len(self.kbits) != 2 or not 0 <= self.kbits[0] < self.kbits[1]:
            raise ValueError(f"kbits must be two ascending numbers of 0 or more, not {list(self.kbits)}")
        require_int("seed", self.seed, 0)

    def _numbered(self) -> list[tuple[str, dict[str, list[Any] | str]]]:
        for layer in self.layers:
            if not isinstance(layer, dict):
                raise ValueError(f"layers must be objects of choices, not {layer!r}")
        return [(f"layers[{index}]", layer) for index, layer in enumerate(self.layers)]

    def to_json(self) -> str:
        """JSON text, the same for equal searches."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SearchConfig":
        """Build a search from JSON text.

        Raises
        ------
        TypeError, ValueError
            If the text is not a JSON object, a key is unknown or missing, or a value is refused.
        """
        return from_json(cls, "the search", json.loads(text), rungs=_rungs)

    @classmethod
    def load(cls, path: str | Path) -> "SearchConfig":
        """Read a search from a file, or one that is shipped, by its name.

        Raises
        ------
        FileNotFoundError
            There is no such search.
        ValueError
            The file is no search; the message names it.
        """
        try:
            return cls.from_json(read_given(path, SEARCHES, "search").removeprefix("\ufeff"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a search: {error}") from None

    def training(
        self, candidate: Mapping[str, Any], rung: Rung, data: Path, out: Path, threads: int, device: str = "auto"
    ) -> TrainConfig:
        """Make the configuration of one training; pruning, if any, ends at two thirds of its float epochs.

        Parameters
        ----------
        candidate : mapping
            Keys of the recipe, as `candidates` draws them.
        rung : Rung
            Length of the training.
        data, out : Path
            As in `TrainConfig`.
        threads : int
            Threads of PyTorch.
        device : str
            As in `TrainConfig`.

        Raises
        ------
        ValueError
            The configuration is refused, or its fine-tuning is not exact.
        """
        values = TrainConfig.from_recipe(self.recipe, data, out).to_dict() | self.changes | dict(candidate)
        length: dict[str, Any] = {"epochs": rung.epochs, "quantized_epochs": rung.quantized_epochs}
        length |= {"threads": threads, "device": device}
        if values["pruning"] is not None:
            span = {"first_epoch": rung.epochs // 8, "last_epoch": 2 * rung.epochs // 3}
            length["pruning"] = values["pruning"] | span
        config = TrainConfig.from_dict(values | length)
        if not config.scheme.exact:
            raise ValueError(f"a search counts integers: the scheme of recipe {self.recipe!r} must be exact")
        return config


def _rungs(rungs: Any) -> tuple[Rung, ...]:
    return tuple(
        from_json(Rung, f"rungs[{index}]", rung) for index, rung in enumerate(require_list("rungs", rungs, dict))
    )


@dataclass(frozen=True)
class Trial:
    """A finished training.

    Parameters
    ----------
    candidate, rung : int
        Numbers, from 0.
    recall, accuracy : float
        Mean recall of the labels, and accuracy, of the integers on validation, 0 to 1.
    kbits : float
        Thousands of bits of weights; of a pruned network those that the hardware stores, with the index.
    multiplications, weight_bits : float
        Per 20 ms of audio, as `lmu_quantize.zoo.cost.cost` counts them.
    zeros : float
        Fraction of zeros among the hidden states, mean over the layers.
    seconds : float
        Of the training's epochs.
    changes : dict
        What the candidate has of its own: ``layers`` and choices.
    """

    candidate: int
    rung: int
    recall: float
    accuracy: float
    kbits: float
    multiplications: float
    weight_bits: float
    zeros: float
    seconds: float
    changes: dict[str, Any]


def candidates(config: SearchConfig) -> list[dict[str, Any]]:
    """Draw the candidates of the first rung, all different, of the size asked for.

    Parameters
    ----------
    config : SearchConfig
        The search.

    Returns
    -------
    list of dict
        Keys of the recipe.

    Raises
    ------
    ValueError
        The space has too few networks of that size, or a choice is refused whatever the others are.
    """
    rng = np.random.default_rng(config.seed)
    count = config.rungs[0].trials
    chosen: list[dict[str, Any]] = []
    seen: set[str] = set()
    refused = ""
    for _ in range(TRIES * count):
        shared = _draw(config.shared, {}, rng)
        drawn: dict[str, Any] = {"layers": [_draw(layer, shared, rng) for layer in config.layers]}
        drawn |= _draw(config.choices, {}, rng)
        text = json.dumps(drawn)
        if text in seen:
            continue
        seen.add(text)
        try:
            size = _kbits(config.training(drawn, config.rungs[0], Path(), Path(), 1))
        except (TypeError, ValueError) as error:
            refused = f"; the last draw was refused: {error}"
            continue
        if config.kbits[0] <= size <= config.kbits[1]:
            chosen.append(drawn)
        if len(chosen) == count:
            return chosen
    low, high = config.kbits
    raise ValueError(f"the search wants {count} networks of {low:g} to {high:g} kbit, found {len(chosen)}{refused}")


def _draw(
    choices: Mapping[str, list[Any] | str], shared: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Draw one of each list; a name takes what was drawn for it in `shared`."""
    return {
        key: shared[values] if isinstance(values, str) else values[rng.integers(len(values))]
        for key, values in choices.items()
    }


def _kbits(config: TrainConfig) -> float:
    """Thousands of bits of the weights of a network."""
    network = LMUNetwork(FrontEnd.from_dict(config.front_end).size, config.layers, len(config.labels))
    weights = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim >= 2)
    return weights * config.scheme.weight_bits / 1000


def search(
    config: SearchConfig,
    data: Path,
    out: Path,
    *,
    threads: int = 1,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress = silent,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Train all candidates, resuming where an earlier search of the same configuration stopped.

    Parameters
    ----------
    config : SearchConfig
        The search.
    data : Path
        Folder of Speech Commands.
    out : Path
        Receives ``search.json``, ``trials.jsonl`` with a line for each training, and the folders of the trainings.
    threads : int
        Threads of PyTorch; a search must be resumed with the same number.
    device : str
        As in `TrainConfig`.
    cache : Path, optional
        Folder of the frames; `out` by default.
    progress : callable, optional
        Called with the rung, the candidate and the stage of its training as one text, the steps done and their number.
    on_trial : callable, optional
        Called after each training.

    Returns
    -------
    list of Trial
        Of all rungs.

    Raises
    ------
    ValueError
        If the folder holds another search, the space has too few candidates, or there is no GPU but one is asked for.
    """
    choose_device(device)
    drawn = candidates(config)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out / "search.json", config)
    trials = {(trial.candidate, trial.rung): trial for trial in _read(out / "trials.jsonl")}
    numbers = list(range(len(drawn)))
    for index, rung in enumerate(config.rungs):
        for number in numbers[: rung.trials]:
            if (number, index) in trials:
                continue
            folder = out / "trials" / f"{index}-{number:03}"
            training = config.training(drawn[number], rung, data, folder, threads, device)
            prefixed = functools.partial(_report, progress, f"rung {index}, candidate {number}")
            trial = Trial(number, index, **_measure(training, cache or out, prefixed), changes=drawn[number])
            with (out / "trials.jsonl").open("a") as file:
                file.write(json.dumps(dataclasses.asdict(trial)) + "\n")
            trials[number, index] = trial
            if on_trial is not None:
                on_trial(trial)
        finished = [trials[number, index] for number in numbers[: rung.trials]]
        numbers = [finished[position].candidate for position in order(finished)]
    return list(trials.values())


def _claim(path: Path, config: SearchConfig) -> None:
    """Write the search's configuration to its folder; a folder of another search is refused."""
    text = config.to_json()
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{path}: made by another search; give another out folder, or remove it")
    write_whole(path, text.encode())


def _report(progress: Progress, trial: str, stage: str, done: int, total: int) -> None:
    progress(f"{trial}: {stage}", done, total)


def _measure(training: TrainConfig, cache: Path, progress: Progress) -> dict[str, float]:
    """Train one candidate; the figures of its `Trial`."""
    result = train(training, cache=cache, test=False, progress=progress)
    out = Path(training.out)
    model = program_file.load(out / "quantized.safetensors")
    rows = None if training.pruning is None else training.pruning.rows
    taken = cost(model, rows)
    score = result.scores["quantized.validation"]
    zeros = json.loads((out / "result.json").read_text())["zero_activations"]["quantized"]
    (out / "checkpoint.pt").unlink()
    return {
        "recall": score.mean_recall,
        "accuracy": score.accuracy,
        "kbits": (model.weight_bits if rows is None else stored_bits(model, rows).total) / 1000,
        "multiplications": taken.products,
        "weight_bits": taken.weight_bits,
        "zeros": float(np.mean(list(zeros.values()))),
        "seconds": sum(epoch.seconds for epoch in result.history),
    }


def _read(path: Path) -> list[Trial]:
    """Read the finished trainings; a line that a kill cut off is dropped."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) != len(lines):
        write_whole(path, "".join(whole).encode())
    return [Trial(**json.loads(line)) for line in whole]


def _objectives(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """What is to be small, shape (trials, 1 + costs)."""
    return np.array([[-trial.recall, *(getattr(trial, name) for name in COSTS)] for trial in trials])


def fronts(trials: Sequence[Trial]) -> NDArray[np.int64]:
    """Number of the Pareto front of each trial: 0 where no other is as good in all and better in one, and so on.

    Parameters
    ----------
    trials : sequence of Trial
        Of one rung, one or more.

    Returns
    -------
    ndarray of int64, shape (trials,)
    """
    return pareto.fronts(_objectives(trials))


def order(trials: Sequence[Trial]) -> list[int]:
    """Positions of trials, best first: by front, then by the distance to their neighbours on it."""
    return pareto.order(_objectives(trials))


def write_csv(trials: Sequence[Trial], path: Path) -> None:
    """Write one row for each trial, with its Pareto front among those of its rung; nested values as JSON."""
    rows = []
    for rung in sorted({trial.rung for trial in trials}):
        members = [trial for trial in trials if trial.rung == rung]
        for trial, front in zip(members, fronts(members), strict=True):
            values = dataclasses.asdict(trial)
            rows.append(values | {"front": int(front), "changes": json.dumps(trial.changes)})
    write_rows(rows, path)
