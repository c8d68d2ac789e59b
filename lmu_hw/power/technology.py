"""Table of a technology: energy, leakage and area of each count, as characterisation measured them."""

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import Cost, MemoryUsage, flip_flop_cost, multiplexer_cost
from lmu_hw.cells.sram import Macro
from lmu_hw.files import FileTooLarge, is_sealed, parse_json, read_limited, sealed, write_whole
from lmu_hw.flows.tiling import macros_by_depth, tile_macros
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import Plan
from lmu_hw.power.feature_names import Feature, FeatureCounts
from lmu_hw.power.rates import Rates, TypicalRates
from lmu_hw.power.report import CLOCK_TREE
from lmu_hw.power.rows import ROWS

__all__ = [
    "Check",
    "Energies",
    "Energy",
    "MacroCost",
    "MemoryCosts",
    "Technology",
    "TechnologyError",
    "load_technology",
    "save_technology",
    "shipped",
]

SCHEMA = "lmu-hw/technology"
VERSION = 3
"""Version 2 has no ``sha256``; it is read too."""

FOLDER = "technologies"

MOST_BYTES = 1 << 26

PRICED = ("lanes", "weights", "state", "interface", "smoothing", "bank_words", "state_bank_words", *LEVERS)
"""Options of a configuration that energies can be valid for."""

COUNTED = ("skip_zero_blocks", "skip_zero_elements")
"""Levers whose effect is in the counts of a plan."""


class TechnologyError(ValueError):
    """A file is not a table of a technology, or there is no table of that name."""


@dataclass(frozen=True)
class MacroCost:
    """An SRAM macro of a technology, or one of the model that stands in for it.

    Parameters
    ----------
    cell : str
        Name.
    depth, width : int
        Words, and bits of a word.
    cost : Cost
        Energies, leakage, area.
    """

    cell: str
    depth: int
    width: int
    cost: Cost


@dataclass(frozen=True)
class MemoryCosts:
    """Costs of the memories of a technology, from which `choose` picks as `lmu_hw.flows.tiling` does with a library.

    Parameters
    ----------
    macros : tuple of MacroCost
        Empty if the technology has none.
    model : bool
        Whether the macros are a model, not cells of the library.
    multiplexer : Cost
        Cost of each bit of one more bank.
    bit, column, word : Cost
        Costs of a memory of flip-flops: of each bit, each bit of a word, and each word.
    """

    macros: tuple[MacroCost, ...]
    model: bool
    multiplexer: Cost
    bit: Cost
    column: Cost
    word: Cost

    @classmethod
    def of(cls, library: Library, model: bool) -> "MemoryCosts":
        """Costs of a library's memories."""
        macros = tuple(
            MacroCost(macro.cell, macro.depth, macro.width, cost)
            for kinds in macros_by_depth(library).values()
            for macro, cost in kinds
        )
        single, wide, deep, both = (flip_flop_cost(library, *size) for size in ((1, 1), (1, 2), (2, 1), (2, 2)))
        bit = both + wide.scaled(-1) + deep.scaled(-1) + single
        column = wide + single.scaled(-1) + bit.scaled(-1)
        word = deep + single.scaled(-1) + bit.scaled(-1)
        return cls(macros, model, multiplexer_cost(library, 1), bit, column, word)

    @property
    def has_macros(self) -> bool:
        """Whether the process has SRAM macros; those of a model do not count."""
        return bool(self.macros) and not self.model

    def flip_flops(self, depth: int, width: int) -> Cost:
        """Cost of a memory of flip-flops."""
        return self.bit.scaled(depth * width) + self.column.scaled(width) + self.word.scaled(depth)

    def choose(self, depth: int, width: int, usage: MemoryUsage) -> tuple[str, Cost]:
        """Choose ``flip-flops`` or ``macros`` for a memory; that and its cost."""
        flip_flops = self.flip_flops(depth, width)
        if not self.macros:
            return "flip-flops", flip_flops
        by_depth: dict[int, list[tuple[Macro, Cost]]] = defaultdict(list)
        for known in self.macros:
            macro = Macro(known.cell, known.depth, known.width, "", "", "", "", (), (), (), (), {})
            by_depth[known.depth].append((macro, known.cost))
        tiling = tile_macros(by_depth, self.multiplexer.scaled(width), depth, width, usage)
        if flip_flops.power(usage) <= tiling.cost.power(usage):
            return "flip-flops", flip_flops
        return "macros", tiling.cost

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "MemoryCosts":
        """Costs from their JSON form."""
        macros = tuple(MacroCost(**{**macro, "cost": Cost(**macro["cost"])}) for macro in data["macros"])
        parts = {name: Cost(**data[name]) for name in ("multiplexer", "bit", "column", "word")}
        return cls(macros, data["model"], **parts)


@dataclass(frozen=True)
class Energy:
    """Energy of a frame at the slowest clock that keeps real time, without estimated rows.

    Parameters
    ----------
    dynamic, leakage : float
        In joule.
    """

    dynamic: float
    leakage: float

    def errors(self, truth: "Energy") -> tuple[float, float]:
        """Relative errors of the whole energy and of the dynamic one."""
        whole, true_whole = self.dynamic + self.leakage, truth.dynamic + truth.leakage
        return whole / true_whole - 1, self.dynamic / truth.dynamic - 1


@dataclass(frozen=True)
class Check:
    """Comparison of the table with gates, on one accelerator.

    Parameters
    ----------
    design : str
        Description of the accelerator.
    fitted : bool
        Whether the table was fitted to it.
    gates, table, rtl : Energy
        Result of each tier.
    """

    design: str
    fitted: bool
    gates: Energy
    table: Energy
    rtl: Energy

    def errors(self, tier: str) -> tuple[float, float]:
        """Relative errors of a tier in the whole energy and in the dynamic one."""
        energy: Energy = getattr(self, tier)
        return energy.errors(self.gates)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Check":
        """Check from its JSON form."""
        return cls(**data | {tier: Energy(**data[tier]) for tier in ("gates", "table", "rtl")})


def _prices(name: str, rows: dict[str, dict[str, float]]) -> FeatureCounts:
    """Prices from their JSON form."""
    for row, features in rows.items():
        unknown = [feature for feature in features if feature not in list(Feature)]
        if unknown:
            raise ValueError(f"{name} of {row} has the unknown feature {unknown[0]!r}; known are {', '.join(Feature)}")
    return {row: {Feature(feature): price for feature, price in features.items()} for row, features in rows.items()}


@dataclass(frozen=True)
class Energies:
    """Prices of the counts of accelerators with the same levers, measured on such accelerators.

    Parameters
    ----------
    levers : tuple of str
        Members of `lmu_hw.plan.config.LEVERS` that are on, without `COUNTED`, whose effect is in the counts.
    frame, cycle : dict of str to dict of Feature to float
        Joule for each count of `lmu_hw.power.features.frame_counts` and `cycle_counts`, by row.
    leakage, area : dict of str to dict of Feature to float
        Watt and square micrometre for each count of `size_counts`, by row.
    rates, skipping : dict of str to TypicalRates
        Typical rates by kind of sound. `skipping` is for accelerators that skip zero elements; empty if not measured.
    checks : tuple of Check
        Comparisons with gates.
    glitches : bool
        Whether the accelerators were simulated with delays, so that energies and checks have glitches in them.
    """

    levers: tuple[str, ...]
    frame: FeatureCounts
    cycle: FeatureCounts
    leakage: FeatureCounts
    area: FeatureCounts
    rates: dict[str, TypicalRates]
    skipping: dict[str, TypicalRates]
    checks: tuple[Check, ...]
    glitches: bool = False

    def know(self, config: AcceleratorConfig) -> bool:
        """Whether the prices are valid for a configuration."""
        on = tuple(name for name in LEVERS if name not in COUNTED and getattr(config, name))
        if (config.bank_words and not self.banked) or (config.state_bank_words and not self.state_banked):
            return False
        return on == self.levers and (bool(self.skipping) or not config.skip_zero_elements)

    @property
    def banked(self) -> bool:
        """Whether the prices are valid with banks of weights too."""
        return Feature.BANK_BITS in self.frame["weight memory"]

    @property
    def state_banked(self) -> bool:
        """Whether the prices are valid with states in banks of registers too."""
        return Feature.REGISTER_BANK_BITS in self.frame["state memory"]

    def typical(self, plan: Plan) -> dict[str, Rates]:
        """Typical rates of an accelerator by kind of sound."""
        rates = self.skipping if plan.config.skip_zero_elements else self.rates
        return {kind: typical.rates(plan) for kind, typical in rates.items()}

    def band(self, tier: str) -> float:
        """Largest relative error of a tier, whole or dynamic, on designs that were not fitted; NaN without any."""
        errors = [abs(error) for check in self.checks if not check.fitted for error in check.errors(tier)]
        return max(errors, default=math.nan)

    @property
    def name(self) -> str:
        """Levers in words."""
        either = {
            "skip_zero_elements": bool(self.skipping), "bank_words": self.banked, "state_bank_words": self.state_banked
        }  # fmt: skip
        return ", ".join((*(f"{name} (or not)" for name, known in either.items() if known), *self.levers)) or "none"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Energies":
        """Energies from their JSON form.

        Raises
        ------
        ValueError
            If rows are missing or unknown, or a feature is unknown.
        """
        rates = {
            name: {kind: TypicalRates(**typical) for kind, typical in data[name].items()}
            for name in ("rates", "skipping")
        }
        for name in ("frame", "leakage", "area"):
            if set(data[name]) != {*ROWS, CLOCK_TREE}:
                raise ValueError(f"{name} must hold the rows {', '.join((*ROWS, CLOCK_TREE))}")
        prices = {name: _prices(name, data[name]) for name in ("frame", "cycle", "leakage", "area")}
        checks = tuple(Check.from_dict(check) for check in data["checks"])
        return cls(**data | rates | prices | {"checks": checks, "levers": tuple(data["levers"])})


@dataclass(frozen=True)
class Technology:
    """Energies of a technology.

    Parameters
    ----------
    name : str
        Name of the process.
    node : float or None
        Node in nanometre, as the process is named.
    voltage : float
        In volt.
    temperature : float
        In degrees Celsius.
    sets : tuple of Energies
        Prices by levers; no two sets have the same.
    memories : MemoryCosts
        Costs of memories.
    gate_area : float
        Area of a NAND2 in square micrometre.
    provenance : dict
        Liberty files and their hashes, tools, designs.
    """

    name: str
    node: float | None
    voltage: float
    temperature: float
    sets: tuple[Energies, ...]
    memories: MemoryCosts
    gate_area: float
    provenance: dict[str, Any]

    def energies(self, config: AcceleratorConfig) -> Energies:
        """Find the prices that are valid for a configuration.

        Raises
        ------
        ValueError
            If none was measured with its levers.
        """
        others = [
            option.name
            for option in fields(config)
            if option.name not in PRICED and getattr(config, option.name) != option.default
        ]
        if others:
            raise ValueError(f"the table {self.name} does not know {', '.join(others)}: take the tier gates")
        for energies in self.sets:
            if energies.know(config):
                return energies
        on = ", ".join(name for name in ("bank_words", "state_bank_words", *LEVERS) if getattr(config, name)) or "none"
        known = "; or ".join(energies.name for energies in self.sets)
        plain = ", or the levers plain" if any(not energies.levers for energies in self.sets) else ""
        way = f"take the tier gates{plain}"
        raise ValueError(f"the table {self.name} does not know the levers {on}, but {known}: {way}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return sealed({"schema": SCHEMA, "version": VERSION} | asdict(self))

    @classmethod
    def from_dict(cls, data: Any) -> "Technology":
        """Table from its JSON form.

        Raises
        ------
        ValueError
            If it is not one.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA or data.get("version") not in (2, VERSION):
            raise ValueError(f"expected the schema {SCHEMA} version {VERSION} (or 2)")
        names = [field.name for field in fields(cls)]
        keys = {"schema", "version", *names, *(["sha256"] if data["version"] == VERSION else [])}
        if set(data) != keys:
            raise ValueError(f"missing or unknown: {', '.join(sorted(set(data) ^ keys))}")
        try:
            values = {name: data[name] for name in names} | {
                "memories": MemoryCosts.from_dict(data["memories"]),
                "sets": tuple(map(Energies.from_dict, data["sets"])),
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a part of the table is not as expected ({error})") from None
        levers = [energies.levers for energies in values["sets"]]
        if not levers or len(set(levers)) != len(levers):
            raise ValueError("sets must be one or more, no two with the same levers")
        technology = cls(**values)
        if data["version"] == VERSION and not is_sealed(data):
            raise ValueError("its sha256 does not match, the table was altered after it was written")
        return technology


def save_technology(technology: Technology, path: Path) -> None:
    """Write a table of energies as JSON, whole or not at all.

    Parameters
    ----------
    technology : Technology
        From `lmu_kit.characterisation.characterise`.
    path : Path
        The file.
    """
    text = json.dumps(technology.to_dict(), indent=1, sort_keys=True) + "\n"
    write_whole(path, text.encode())


def shipped() -> tuple[str, ...]:
    """Names of the technologies that ship with the product."""
    folder = resources.files("lmu_hw.power") / FOLDER
    return tuple(sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".json")))


def load_technology(name: str | Path) -> Technology:
    """Read the table of a technology.

    Parameters
    ----------
    name : str or Path
        A file, or one of `shipped`.

    Raises
    ------
    TechnologyError
        If there is none, or it is damaged; one line.
    """
    if str(name) in shipped():
        text = (resources.files("lmu_hw.power") / FOLDER / f"{name}.json").read_text()
    else:
        try:
            text = read_limited(name, MOST_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            known = ", ".join(shipped()) or "none"
            raise TechnologyError(f"{name}: no such table; these ship with the product: {known}") from None
        except FileTooLarge as error:
            raise TechnologyError(f"{name}: {error}") from None
    try:
        return Technology.from_dict(parse_json(text))
    except ValueError as error:
        raise TechnologyError(f"{name}: not the table of a technology: {error}") from None
