"""The report of a power estimate: energy by row and kind of sound, at a clock and a frame rate."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lmu_hw.power.evidence import Evidence
from lmu_hw.power.heat import Heat, LeakageRefused

__all__ = [
    "CLOCK_TREE", "ESTIMATED", "KINDS", "MEASURED", "MIX", "SRAM_MODEL", "TABLE", "Area", "OperatingPoint",
    "Report", "Row", "Sleep", "Sums", "frame_rate", "left_out",
]

KINDS = ("speech", "silence", "noise")
"""Kinds of sound, in the order of a report."""

MEASURED, TABLE, ESTIMATED = "measured", "table", "estimated"
"""Where a row comes from: gates that ran, the tier's table, or a rule of thumb that no netlist stands behind."""


OUTSIDE = ("detours of wires", "front end", "pads")
"""Parts that no figure includes, beside those in `Report.missing`."""

CLOCK_TREE = "clock tree"
"""Name of an estimated row."""

SRAM_MODEL = "memories: an SRAM model that no foundry confirms"
"""What is said beside every figure that rests on `lmu_hw.cells.sram_model`."""

FRAME_RATE = 50.0
"""Frames per second of a network that does not name its front end."""


def left_out(missing: Iterable[str]) -> str:
    """What a figure leaves out, in words: its `Report.missing`, and what no figure includes."""
    return ", ".join((*missing, *OUTSIDE))


def frame_rate(front_end: Mapping[str, Any] | None) -> float:
    """Frames per second that a front end makes, from its JSON form."""
    return float(front_end["sample_rate"] / front_end["hop"]) if front_end else FRAME_RATE


@dataclass(frozen=True)
class OperatingPoint:
    """Clock and frame rate of the accelerator.

    Parameters
    ----------
    clock : float
        In hertz.
    frame_rate : float
        Frames per second.
    busy_cycles : float
        Clock cycles that a frame takes, in the mean.
    longest_cycles : float
        Clock cycles that the longest frame takes; 0 for `busy_cycles`.

    Raises
    ------
    ValueError
        If a value is not above 0, or the clock is too slow for the frame rate.
    """

    clock: float
    frame_rate: float
    busy_cycles: float
    longest_cycles: float = 0.0

    def __post_init__(self) -> None:
        for name in ("clock", "frame_rate", "busy_cycles"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise ValueError(f"{name} must be a number above 0, not {value!r}")
        if self.clock < self.slowest_clock * (1 - 1e-9):
            raise ValueError(
                f"clock must be at least {self.slowest_clock:g} Hz for {self.frame_rate:g} frames of "
                f"{self.busy_cycles:g} cycles a second, not {self.clock:g} Hz"
            )

    @property
    def slowest_clock(self) -> float:
        """The slowest clock that keeps the frame rate, in hertz."""
        return self.frame_rate * self.busy_cycles

    @property
    def frames_wait(self) -> bool:
        """Whether a frame can wait until the one before is computed."""
        return self.clock < self.frame_rate * max(self.busy_cycles, self.longest_cycles) * (1 - 1e-9)

    @property
    def idle_cycles(self) -> float:
        """Clock cycles between frames, in which the clock keeps running."""
        return max(0.0, self.clock / self.frame_rate - self.busy_cycles)


@dataclass(frozen=True)
class Row:
    """A part of the accelerator, under one kind of sound.

    Parameters
    ----------
    name : str
        One of `lmu_hw.power.rows.ROWS`, or of an estimate.
    frame : float
        Dynamic energy from the start of a frame to the start of the next one, in joule.
    leakage : float
        In watt.
    area : float
        In square micrometre.
    origin : {"measured", "table", "estimated"}
        Origin of the figures.
    glitches : float or None
        Part of `frame` that is spent on changes before nets settle, in joule; None if it is not known.
    """

    name: str
    frame: float
    leakage: float
    area: float
    origin: str = MEASURED
    glitches: float | None = None


MIX = {"speech": 1, "noise": 9}
"""What a spotter hears that listens all day: a part of speech to nine of background noise."""


@dataclass(frozen=True)
class Sums:
    """Energy of a frame, between the starts of two frames.

    Parameters
    ----------
    dynamic, leakage : float
        In joule.
    frame_rate : float
        Frames per second.
    glitches : float or None
        Part of `dynamic`, in joule; None if it is not known.
    """

    dynamic: float
    leakage: float
    frame_rate: float
    glitches: float | None = None

    @property
    def frame(self) -> float:
        """Joule per frame."""
        return self.dynamic + self.leakage

    @property
    def decision(self) -> float:
        """Joule per decision, that is for a second of audio."""
        return self.frame * self.frame_rate

    @property
    def power(self) -> float:
        """Average watt."""
        return self.frame * self.frame_rate

    def to_dict(self) -> dict[str, float | None]:
        """JSON form, in the units of reports."""
        return {
            "nJ_per_frame": self.frame * 1e9,
            "dynamic_nJ_per_frame": self.dynamic * 1e9,
            "glitches_nJ_per_frame": None if self.glitches is None else self.glitches * 1e9,
            "leakage_nJ_per_frame": self.leakage * 1e9,
            "nJ_per_decision": self.decision * 1e9,
            "average_uW": self.power * 1e6,
        }


@dataclass(frozen=True)
class Area:
    """Area of the cells; no wires, no filling.

    Parameters
    ----------
    total : float
        In square micrometre, memory macros included.
    macros : float
        Area of the macros, in square micrometre.
    gates : float
        The rest, in NAND2 equivalents of the library; not a number where it has none.
    macro_model : bool
        Whether the macros are a model, not cells of the library.
    """

    total: float
    macros: float
    gates: float
    macro_model: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "um2": self.total,
            "macros_um2": self.macros,
            "macros_are_a_model": self.macro_model,
            "kGE_without_macros": None if math.isnan(self.gates) else self.gates / 1000,
        }


@dataclass(frozen=True)
class Sleep:
    """What a level gate does to a figure.

    Parameters
    ----------
    asleep : mapping of str to float
        Part of the frames that are asleep, 0 to 1, by kind of sound.
    held_open : mapping of str to Sums
        Energy of a frame if the gate is held open, by kind of sound.
    """

    asleep: Mapping[str, float]
    held_open: Mapping[str, Sums]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "asleep": dict(self.asleep),
            "held_open": {kind: sums.to_dict() for kind, sums in self.held_open.items()},
        }


@dataclass(frozen=True)
class Report:
    """A power estimate.

    Parameters
    ----------
    tier : {"table", "rtl", "gates"}
        How it was made.
    technology : dict
        Name, node in nanometre, voltage, temperature, Liberty files with their hashes.
    point : OperatingPoint
        Clock and frame rate.
    rows : dict of str to tuple of Row
        Rows by kind of sound; every kind has the same names.
    area : Area
        Area of the cells.
    achievable_clock : float or None
        In hertz, None if it was not computed.
    band : float or None
        Largest error of the tier against gates on configurations that its table was not made from, as a part of the
        total; None for gates.
    missing : tuple of str
        Contributions that are in no row.
    heat : Heat or None
        Leakage at several temperatures.
    sleep : Sleep or None
        Frames asleep, and the energy with the gate held open, for a network with a level gate.
    details : dict
        JSON-able: inputs, their hashes, tools.
    evidence : Evidence or None
        What the figures were computed from, tier gates only; not in the JSON form.
    """

    tier: str
    technology: dict[str, Any]
    point: OperatingPoint
    rows: Mapping[str, tuple[Row, ...]]
    area: Area
    achievable_clock: float | None = None
    band: float | None = None
    missing: tuple[str, ...] = ()
    heat: Heat | None = None
    sleep: Sleep | None = None
    details: dict[str, Any] = field(default_factory=dict)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {tuple(row.name for row in rows) for rows in self.rows.values()}
        if len(names) != 1:
            raise ValueError(f"every kind of sound must have the same rows, not {sorted(names)}")

    @property
    def caveat(self) -> str:
        """What every headline and ratio of the report must say; empty if it rests on the foundry's cells alone."""
        return "; ".join(filter(None, (SRAM_MODEL if self.area.macro_model else "", self.asleep)))

    @property
    def asleep(self) -> str:
        """Frames asleep by kind of sound, in words; empty for a network without a level gate."""
        if self.sleep is None:
            return ""
        shares = ", ".join(f"{100 * share:.0f} % of {kind}" for kind, share in self.sleep.asleep.items())
        return f"asleep: {shares}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows, the estimated ones last."""
        rows = next(iter(self.rows.values()))
        return tuple(row.name for row in sorted(rows, key=lambda row: row.origin == ESTIMATED))

    def row(self, kind: str, name: str) -> Row:
        """A row of one kind of sound."""
        return next(row for row in self.rows[kind] if row.name == name)

    def sums(self, kind: str, name: str | None = None, *, estimates: bool = True) -> Sums:
        """Energy of a frame.

        Parameters
        ----------
        kind : str
            Of sound.
        name : str, optional
            Of a row; all of them if not given.
        estimates : bool
            Whether estimated rows count in the sum of all.
        """
        chosen = [row for row in self.rows[kind] if name is None or row.name == name]
        if name is None and not estimates:
            chosen = [row for row in chosen if row.origin != ESTIMATED]
        dynamic = sum(row.frame for row in chosen)
        leakage = sum(row.leakage for row in chosen) / self.point.frame_rate
        glitches = [row.glitches for row in chosen if row.glitches is not None]
        return Sums(dynamic, leakage, self.point.frame_rate, sum(glitches) if glitches else None)

    def leakage_at(self, kind: str, celsius: float) -> float:
        """Leakage of a frame in joule at a temperature, estimated rows included.

        Parameters
        ----------
        kind : str
            Of sound.
        celsius : float
            One of `lmu_hw.power.heat.TEMPERATURES`.

        Raises
        ------
        LeakageRefused
            If nothing is known of that temperature, with the reason.
        """
        if self.heat is None:
            raise LeakageRefused("the report has leakage at the temperature of the library only")
        return self.heat.at(kind, celsius) / self.point.frame_rate

    def mixed(self) -> Sums | None:
        """Mean energy of a frame of `MIX`; None if one of its sounds was not measured."""
        if any(kind not in self.rows for kind in MIX):
            return None
        sums = {kind: self.sums(kind) for kind in MIX}
        parts = sum(MIX.values())
        dynamic = sum(part * sums[kind].dynamic for kind, part in MIX.items()) / parts
        known = {kind: sums[kind].glitches for kind in MIX}
        shares = [MIX[kind] * energy / parts for kind, energy in known.items() if energy is not None]
        glitches = sum(shares) if len(shares) == len(MIX) else None
        return Sums(dynamic, sums["noise"].leakage, self.point.frame_rate, glitches)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        mixed = self.mixed()
        form = {
            "tier": self.tier,
            "technology": self.technology,
            "clock_hz": self.point.clock,
            "frame_rate_hz": self.point.frame_rate,
            "busy_cycles_per_frame": self.point.busy_cycles,
            "idle_cycles_per_frame": self.point.idle_cycles,
            "frames_wait": self.point.frames_wait,
            "error_band": self.band,
            "sounds": {kind: self._kind(kind) for kind in self.rows},
            "mixed": None if mixed is None else {"parts": MIX, **mixed.to_dict()},
            "missing": list(self.missing),
            "heat": None if self.heat is None else self.heat.to_dict(self.point.frame_rate),
            "area": self.area.to_dict(),
            "achievable_clock_hz": self.achievable_clock,
        }
        if self.sleep is not None:
            form |= {"gate": self.sleep.to_dict()}
        return form | self.details

    def _kind(self, kind: str) -> dict[str, Any]:
        rows = {
            name: self.sums(kind, name).to_dict()
            | {"area_um2": self.row(kind, name).area, "origin": self.row(kind, name).origin}
            for name in self.names
        }
        return {
            "rows": rows,
            "total": self.sums(kind, estimates=False).to_dict(),
            "total_with_estimates": self.sums(kind).to_dict(),
        }
