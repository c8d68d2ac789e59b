"""The shipped networks: size, accuracy, and cost per 20 ms of audio."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_quantize import zoo
from lmu_quantize.zoo.cost import Products, block_rows, cost
from lmu_quantize.zoo.seeds import load_seeds, spread_over_seeds

__all__ = ["ZooEntry", "list_zoo", "zoo_entry"]


@dataclass(frozen=True)
class ZooEntry:
    """A shipped network.

    Parameters
    ----------
    name : str
        As `open_model` takes it.
    labels : tuple of str
        Names of the outputs.
    kbits : float
        Thousands of bits of trained weights without biases; of a pruned network those that are stored.
    index_kbits : float
        Thousands of bits of the index beside them, 0 where nothing is pruned.
    float_accuracy, golden_accuracy : float or None
        Of the float parent and of the integers, 0 to 1; None where no measurement is shipped.
    float_interval, golden_interval : tuple of float or None
        Their 95 % Wilson intervals.
    clips : int or None
        Test clips of the latter.
    multiplications, weight_bits : float
        Products, and bits of weights read, per 20 ms of audio.
    equivalent_products : float
        The products as so many of 4 x 7 bits, `lmu_quantize.zoo.cost.SpanCost.equivalent_products`.
    by_width : tuple of Products
        The products by width.
    seeds : dict or None
        ``count`` of them, and ``mean``, ``deviation``, ``low``, ``high`` of the integers' accuracy, in ``text`` too;
        None for a single seed.
    """

    name: str
    labels: tuple[str, ...]
    kbits: float
    index_kbits: float
    float_accuracy: float | None
    float_interval: tuple[float, float] | None
    golden_accuracy: float | None
    golden_interval: tuple[float, float] | None
    clips: int | None
    multiplications: float
    weight_bits: float
    equivalent_products: float
    by_width: tuple[Products, ...]
    seeds: dict[str, Any] | None


def list_zoo() -> list[ZooEntry]:
    """All shipped networks, by name."""
    return [zoo_entry(name) for name in zoo.names()]


def zoo_entry(name: str) -> ZooEntry:
    """Read a shipped network and its measurements."""
    model = program_file.load(zoo.path(name, "quantized.safetensors"))
    scores: dict[str, dict[str, Any]] = {}
    for engine in ("float", "golden"):
        path = zoo.path(name, f"{engine}.json")
        scores[engine] = json.loads(path.read_text()) if path.is_file() else {}
    intervals = {
        engine: tuple(score["interval"]) if "interval" in score else None for engine, score in scores.items()
    }
    rows = block_rows(model)
    taken = cost(model, rows)
    stored = None if rows is None else stored_bits(model, rows)
    return ZooEntry(
        name=name,
        labels=model.labels,
        kbits=(model.weight_bits if stored is None else stored.weights) / 1000,
        index_kbits=0 if stored is None else stored.index / 1000,
        float_accuracy=scores["float"].get("accuracy"),
        float_interval=intervals["float"],
        golden_accuracy=scores["golden"].get("accuracy"),
        golden_interval=intervals["golden"],
        clips=scores["golden"].get("clips"),
        multiplications=taken.products,
        weight_bits=taken.weight_bits,
        equivalent_products=taken.equivalent_products,
        by_width=taken.by_width,
        seeds=_seeds(zoo.path(name, "seeds.json")),
    )


def _seeds(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    results = load_seeds(path)
    statistics = spread_over_seeds([result.golden for result in results])
    return {"count": len(results), **asdict(statistics), "text": str(statistics)}
