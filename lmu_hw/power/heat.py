"""Leakage at other temperatures than that of the library.

Leakage grows exponentially with temperature. Where there is Liberty of the same process corner and voltage at two or
more temperatures, each instance leaks as its cell does in its states at both, and between them the logarithm is
interpolated. For some libraries a published ratio stands in. Otherwise the figure is refused. Nothing is extrapolated.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.corners import files_at, parse_corner, sibling_corners
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError, Library
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.special import mean_leakage
from lmu_hw.cells.sram_model import add_sram_model, is_model
from lmu_hw.power.activity import Activity
from lmu_hw.power.clock_tree import ClockTree
from lmu_hw.power.engine import find_leakage

__all__ = [
    "TEMPERATURES",
    "CornerLeakage",
    "Heat",
    "LeakageRefused",
    "LeakageRule",
    "TemperatureLiberty",
    "find_heat",
    "find_rule",
    "find_temperatures",
    "heat_by_rule",
    "why_no_rule",
]

FloatArray = NDArray[np.float64]

TEMPERATURES = (25.0, 55.0, 85.0)
"""Degrees Celsius of a report."""


class LeakageRefused(ValueError):
    """Leakage at a temperature that nothing is known of."""


@dataclass(frozen=True)
class LeakageRule:
    """How the leakage of a library's cells grows, as published for two temperatures.

    Parameters
    ----------
    library : str
        Start of the names of its Liberty libraries.
    technologies : tuple of str
        Names of the process design kits.
    voltage : float
        In volt.
    coldest, hottest : float
        Degrees Celsius of the two temperatures.
    ratio : float
        Leakage at the hottest, as a multiple of that at the coldest.
    source : str
        Origin, for reports.
    """

    library: str
    technologies: tuple[str, ...]
    voltage: float
    coldest: float
    hottest: float
    ratio: float
    source: str

    def factor(self, start: float, celsius: float) -> float:
        """Leakage at a temperature as a multiple of that at another one.

        Raises
        ------
        LeakageRefused
            If one of them is outside the rule's range.
        """
        for value in (start, celsius):
            if not self.coldest <= value <= self.hottest:
                raise LeakageRefused(
                    f"the rule for {self.library} holds from {self.coldest:g} to {self.hottest:g} °C, not at {value:g}"
                )
        return float(self.ratio ** ((celsius - start) / (self.hottest - self.coldest)))

    def describe(self) -> str:
        """One line for reports."""
        per_ten = self.ratio ** (10 / (self.hottest - self.coldest))
        return (
            f"a rule, as the hot Liberty file was not found: {self.ratio:g} times from {self.coldest:g} to "
            f"{self.hottest:g} °C, {per_ten:.2f} for each 10 °C ({self.source})"
        )


RULES = (
    LeakageRule(
        library="sky130_fd_sc_hd__tt",
        technologies=("sky130A", "sky130B"),
        voltage=1.8,
        coldest=25.0,
        hottest=100.0,
        ratio=317.0,
        source="the sum over the 25 commonest cells of a keyword spotter in SkyWater's Liberty files tt_025C_1v80 and "
        "tt_100C_1v80; single cells of logic grow 217 to 500 times",
    ),
)


def find_rule(name: str, voltage: float) -> LeakageRule | None:
    """The rule for a library or a technology, None if there is none.

    Parameters
    ----------
    name : str
        Of a Liberty library, or of a process design kit.
    voltage : float
        In volt.
    """
    for rule in RULES:
        if (name.startswith(rule.library) or name in rule.technologies) and abs(voltage - rule.voltage) < 1e-6:
            return rule
    return None


def why_no_rule(name: str) -> str:
    """Why there is no rule for a technology or a Liberty library, as the end of a sentence."""
    if "sg13g2" in name:
        return "IHP publishes no hot typical corner of SG13G2 that a rule could come from"
    return f"there is no rule for {name}"


@dataclass(frozen=True)
class CornerLeakage:
    """Leakage at another process corner, which says how hot cells leak where nothing better is known.

    Parameters
    ----------
    corner : str
        Process, voltage and temperature.
    watts : dict of str to float
        By kind of sound.
    """

    corner: str
    watts: Mapping[str, float]


@dataclass(frozen=True)
class Heat:
    """Leakage of an accelerator at several temperatures. Dynamic energy stays that of the library's temperature.

    Parameters
    ----------
    source : str
        How it was found; nothing if it is refused.
    memories : str
        How the leakage of memory macros was found; nothing if there are none.
    watts : dict of str to dict of float to float
        By kind of sound and degrees Celsius.
    refused : dict of float to str
        Why there is no figure, by degrees Celsius.
    corner : CornerLeakage or None
        Leakage at another corner, where that is all there is.
    """

    source: str
    memories: str
    watts: Mapping[str, Mapping[float, float]]
    refused: Mapping[float, str] = field(default_factory=dict)
    corner: CornerLeakage | None = None

    def at(self, kind: str, celsius: float) -> float:
        """Leakage in watt.

        Parameters
        ----------
        kind : str
            Of sound.
        celsius : float
            One of `TEMPERATURES`.

        Raises
        ------
        LeakageRefused
            If there is no figure, with the reason.
        """
        if celsius in self.refused:
            raise LeakageRefused(f"no leakage at {celsius:g} °C: {self.refused[celsius]}")
        if celsius not in self.watts[kind]:
            known = ", ".join(f"{value:g}" for value in self.watts[kind])
            raise LeakageRefused(f"leakage was computed at {known} °C, not at {celsius:g} °C")
        return self.watts[kind][celsius]

    def to_dict(self, frame_rate: float) -> dict[str, Any]:
        """JSON form, energies in nanojoule for each of `frame_rate` frames a second."""
        return {
            "source": self.source or None,
            "memories": self.memories or None,
            "leakage_nJ_per_frame": {
                kind: {f"{celsius:g}": watts / frame_rate * 1e9 for celsius, watts in by_heat.items()}
                for kind, by_heat in self.watts.items()
            },
            "refused": {f"{celsius:g}": reason for celsius, reason in self.refused.items()},
            "other_corner": self.corner
            and {
                "corner": self.corner.corner,
                "leakage_nJ_per_frame": {
                    kind: watts / frame_rate * 1e9 for kind, watts in self.corner.watts.items()
                },
            },
        }


@dataclass(frozen=True, eq=False)
class TemperatureLiberty:
    """The cells of a library at other temperatures.

    Parameters
    ----------
    libraries : tuple of Library
        Of the same process corner and voltage, by rising temperature; the library itself among them.
    other : Library or None
        At another process corner or voltage, where there is no other.
    other_corner : str
        Its corner in words.
    """

    libraries: tuple[Library, ...]
    other: Library | None = None
    other_corner: str = ""


def find_temperatures(
    library: Library, netlist: Netlist, hot: Sequence[Path] | None = None
) -> TemperatureLiberty:
    """Find the cells of a netlist at other temperatures, in the user's files or beside those of the library.

    Parameters
    ----------
    library : Library
        Cells of the netlist.
    netlist : Netlist
        Any.
    hot : sequence of Path, optional
        Liberty files of the same process corner and voltage at one other temperature. Without them, files whose names
        differ from the library's by the temperature only are taken, from the same folders.

    Raises
    ------
    LibertyError
        If a file cannot be read, or is for another process or voltage, or for the same temperature.
    """
    model = any(is_model(name) for name in library.cells)
    if hot is not None:
        return TemperatureLiberty(_by_temperature([library, _alike(read_liberty(hot), library, model)]))
    parsed = parse_corner(library.files[0]) if library.files else None
    if parsed is None:
        return TemperatureLiberty((library,))
    own = parsed[1]
    macros = sorted({instance.cell.name for instance in netlist.instances if instance.cell.memory is not None})
    corners = sibling_corners(library.files[0])
    same = [corner for corner in corners if (corner.process, corner.voltage) == (own.process, own.voltage)]
    if same:
        others = [
            _alike(read_liberty(files_at(library.files, corner, macros)), library, model) for corner in same
        ]
        return TemperatureLiberty(_by_temperature([library, *others]))
    hotter = [corner for corner in corners if corner.celsius > own.celsius]
    if not hotter:
        return TemperatureLiberty((library,))
    nearest = min(hotter, key=lambda corner: (-corner.celsius, abs(corner.voltage - own.voltage), str(corner)))
    other = read_liberty(files_at(library.files, nearest, macros))
    return TemperatureLiberty((library,), add_sram_model(other) if model else other, str(nearest))


def _by_temperature(libraries: Iterable[Library]) -> tuple[Library, ...]:
    return tuple(sorted(libraries, key=lambda library: library.temperature))


def _alike(other: Library, library: Library, model: bool) -> Library:
    """The other library, with a model of SRAM if this one has it, once it is known to be of the same corner."""
    for name in ("voltage", "process"):
        ours, theirs = getattr(library, name), getattr(other, name)
        if abs(ours - theirs) > 1e-6:
            raise LibertyError(
                f"{other.files[0]} has {name} {theirs:g}, {library.files[0]} {ours:g}: leakage at other temperatures "
                "needs the same process corner and voltage"
            )
    if other.temperature == library.temperature:
        raise LibertyError(
            f"{other.files[0]} and {library.files[0]} are both for {library.temperature:g} °C: another temperature "
            "is needed"
        )
    return add_sram_model(other) if model else other


def find_heat(
    netlist: Netlist,
    library: Library,
    activities: Mapping[str, Activity],
    trees: Mapping[str, ClockTree],
    hot: Sequence[Path] | None = None,
) -> Heat:
    """Leakage of a netlist and its estimated clock tree at `TEMPERATURES`.

    From Liberty of the same process corner and voltage where it is found, else by a rule, else refused.

    Parameters
    ----------
    netlist : Netlist
        Any.
    library : Library
        Its cells.
    activities : dict of str to Activity
        By kind of sound.
    trees : dict of str to ClockTree
        Estimated clock tree by kind of sound.
    hot : sequence of Path, optional
        See `find_temperatures`.

    Raises
    ------
    LibertyError
        If a Liberty file is damaged, or not of the same corner.
    """
    liberty = find_temperatures(library, netlist, hot)
    if len(liberty.libraries) > 1:
        return _heat_by_liberty(netlist, activities, trees, liberty.libraries)
    libraries = [library] if liberty.other is None else [library, liberty.other]
    here, there = {}, {}
    for kind, activity in activities.items():
        points = _points(netlist, activity, trees[kind], libraries)
        here[kind] = float(points[0].sum())
        # Cells that the other corner lacks leak as they do here.
        there[kind] = float(np.where(np.isnan(points[-1]), points[0], points[-1]).sum())
    corner = None if liberty.other is None else CornerLeakage(liberty.other_corner, there)
    beside = library.files[0].name if library.files else library.name
    return heat_by_rule(
        here,
        library.temperature,
        find_rule(library.name, library.voltage),
        reason=f"no Liberty file of the same process corner and voltage is beside {beside}, and "
        f"{why_no_rule(library.name)}",
        macros=any(instance.cell.memory is not None for instance in netlist.instances),
        corner=corner,
    )


def _heat_by_liberty(
    netlist: Netlist,
    activities: Mapping[str, Activity],
    trees: Mapping[str, ClockTree],
    libraries: Sequence[Library],
) -> Heat:
    axis = [library.temperature for library in libraries]
    refused = {
        celsius: f"the Liberty files are for {' and '.join(f'{value:g}' for value in axis)} °C"
        for celsius in TEMPERATURES
        if not axis[0] <= celsius <= axis[-1]
    }
    wanted = [celsius for celsius in TEMPERATURES if celsius not in refused]
    watts = {}
    for kind, activity in activities.items():
        points = _points(netlist, activity, trees[kind], libraries)
        watts[kind] = {celsius: float(_interpolate(axis, points, celsius).sum()) for celsius in wanted}
    names = ", ".join(library.files[0].name for library in libraries)
    source = f"each instance from the Liberty files at {', '.join(f'{value:g}' for value in axis)} °C ({names}), "
    return Heat(source + "exponential between", _memories(netlist, libraries), watts, refused)


def _points(
    netlist: Netlist, activity: Activity, tree: ClockTree, libraries: Sequence[Library]
) -> FloatArray:
    """Leakage in watt of every instance and, last, the clock tree, at the temperature of each library."""
    points = []
    for library in libraries:
        buffer = library.cells.get(tree.buffer)
        buffers = math.nan if buffer is None else tree.buffers * mean_leakage(buffer)
        points.append([*find_leakage(netlist, activity, library), buffers])
    return np.array(points)


def _interpolate(axis: Sequence[float], points: FloatArray, celsius: float) -> FloatArray:
    """Leakage at a temperature; the logarithm is interpolated. What one library alone knows does not change."""
    above = min(max(1, int(np.searchsorted(axis, celsius))), len(axis) - 1)
    part = (celsius - axis[above - 1]) / (axis[above] - axis[above - 1])
    low, high = points[above - 1], points[above]
    low, high = np.where(np.isnan(low), high, low), np.where(np.isnan(high), low, high)
    positive = (low > 0) & (high > 0)
    safe_low, safe_high = np.where(positive, low, 1.0), np.where(positive, high, 1.0)
    between = safe_low ** (1 - part) * safe_high**part
    return np.where(positive, between, (1 - part) * low + part * high)


def _memories(netlist: Netlist, libraries: Sequence[Library]) -> str:
    macros = {instance.cell.name for instance in netlist.instances if instance.cell.memory is not None}
    if not macros:
        return ""
    if all(map(is_model, macros)):
        return "the SRAM model: each bit leaks as much as the smallest inverter, at every temperature"
    lacking = sorted(name for name in macros if any(name not in library.cells for library in libraries))
    if lacking:
        return f"not scaled: no Liberty file at the other temperature for {', '.join(lacking)}"
    return "from their own Liberty files"


def heat_by_rule(
    leakage: Mapping[str, float],
    temperature: float,
    rule: LeakageRule | None,
    *,
    reason: str = "",
    macros: bool = False,
    corner: CornerLeakage | None = None,
) -> Heat:
    """Leakage at `TEMPERATURES` by a rule; without a rule, refused but at the library's own temperature.

    Parameters
    ----------
    leakage : dict of str to float
        In watt at the library's temperature, by kind of sound.
    temperature : float
        Of the library, in degrees Celsius.
    rule : LeakageRule or None
        From `find_rule`.
    reason : str
        Why there is nothing better, for what is refused.
    macros : bool
        Whether memory macros are part of it.
    corner : CornerLeakage, optional
        Leakage at another corner.
    """
    watts: dict[str, dict[float, float]] = {kind: {} for kind in leakage}
    refused: dict[float, str] = {}
    for celsius in TEMPERATURES:
        try:
            factor = 1.0 if celsius == temperature else _factor(rule, temperature, celsius, reason)
        except LeakageRefused as error:
            refused[celsius] = str(error)
            continue
        for kind, value in leakage.items():
            watts[kind][celsius] = value * factor
    memories = "as the standard cells, by the same rule" if macros and rule is not None else ""
    return Heat("" if rule is None else rule.describe(), memories, watts, refused, corner)


def _factor(rule: LeakageRule | None, start: float, celsius: float, reason: str) -> float:
    if rule is None:
        raise LeakageRefused(reason)
    return rule.factor(start, celsius)
