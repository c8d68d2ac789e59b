"""Results of one recipe with several seeds: how much of an accuracy is luck."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.checks import require_int, require_number

__all__ = ["SeedResult", "SeedSpread", "load_seeds", "save_seeds", "spread_over_seeds"]


@dataclass(frozen=True)
class SeedResult:
    """Accuracies of one run, each 0 to 1.

    Parameters
    ----------
    seed : int
        Of the run, 0 or more.
    parent, golden : float
        Of the float parent and of the integers on the official test clips.
    validation : float
        Of the integers on the validation split.
    """

    seed: int
    parent: float
    golden: float
    validation: float

    def __post_init__(self) -> None:
        require_int("seed", self.seed, 0)
        for name in ("parent", "golden", "validation"):
            require_number(f"{name} accuracy of seed {self.seed}", getattr(self, name), 0, 1)


@dataclass(frozen=True)
class SeedSpread:
    """Mean and spread of one accuracy over seeds.

    Parameters
    ----------
    mean : float
        0 to 1.
    deviation : float
        Standard deviation of the sample; 0 for one seed.
    low, high : float
        Smallest and largest.
    """

    mean: float
    deviation: float
    low: float
    high: float

    def __str__(self) -> str:
        percent = [100 * value for value in (self.mean, self.deviation, self.low, self.high)]
        return "{:.2f} ± {:.2f} % ({:.2f} to {:.2f} %)".format(*percent)


def spread_over_seeds(values: Sequence[float]) -> SeedSpread:
    """Mean and spread of accuracies, of one run or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return SeedSpread(statistics.fmean(values), deviation, min(values), max(values))


def save_seeds(results: Sequence[SeedResult], path: Path) -> None:
    """Write results by seed: a JSON list of ``seed``, ``float``, ``golden`` and ``validation``."""
    ordered = sorted(results, key=lambda result: result.seed)
    rows = [
        {"seed": each.seed, "float": each.parent, "golden": each.golden, "validation": each.validation}
        for each in ordered
    ]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def load_seeds(path: Path) -> tuple[SeedResult, ...]:
    """Read what `save_seeds` wrote.

    Raises
    ------
    ValueError
        If the file is not a list of results, or two have the same seed.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        results = tuple(SeedResult(row["seed"], row["float"], row["golden"], row["validation"]) for row in rows)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: must hold a list of results by seed ({error})") from None
    if not results or len({result.seed for result in results}) < len(results):
        raise ValueError(f"{path}: must hold results of one or more different seeds")
    return results
