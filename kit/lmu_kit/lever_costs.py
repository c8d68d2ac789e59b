"""What each lever saves: every one alone, and the set frugal without it, by tier gates with delays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmu_hw.cells.sram import has_macros
from lmu_hw.export.emit import to_verilog
from lmu_hw.model.operations import lower
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import FRUGAL, LEVERS, PLAIN, AcceleratorConfig, choose_levers
from lmu_hw.plan.parts import PartsError, check_parts
from lmu_hw.power.report import Report
from lmu_hw.progress import Progress, silent
from lmu_kit.accelerators import accelerator
from lmu_kit.errors import InputError
from lmu_kit.estimate import CellLibrary, GateOptions, estimate_power
from lmu_kit.power import FrameSimulation
from lmu_kit.sounds import Sounds

__all__ = ["COLUMNS", "LeverCost", "lever_rows", "lever_table", "measure_levers"]

SOUND = "speech"

BANKS = {"bank_words": 64, "state_bank_words": 16}
"""Levers with a number, and the number that is measured alone."""

MEMORIES_AT_ONCE = (4, 2)
"""Memories that are updated at once; the first that the network allows is measured."""


@dataclass(frozen=True)
class LeverCost:
    """Energy of an accelerator with some levers.

    Parameters
    ----------
    name : str
        ``plain``, ``frugal``, the option of a lever that is on alone, or ``frugal without`` it.
    library : str
        Name of the cell library.
    cycles : float
        Clock cycles of a frame.
    dynamic, glitches, leakage : float
        Joule per frame of speech, with the estimated clock tree. `glitches` are part of `dynamic`.
    area : float
        In square micrometre.
    clock : float
        Highest clock before place and route, in hertz.
    """

    name: str
    library: str
    cycles: float
    dynamic: float
    glitches: float
    leakage: float
    area: float
    clock: float

    @property
    def energy(self) -> float:
        """Joule per frame."""
        return self.dynamic + self.leakage

    @classmethod
    def of(cls, name: str, report: Report) -> "LeverCost":
        """Collect the figures of a report of tier gates."""
        sums = report.sums(SOUND)
        return cls(
            name=name,
            library=report.technology["name"],
            cycles=report.point.busy_cycles,
            dynamic=sums.dynamic,
            glitches=sums.glitches or 0.0,
            leakage=sums.leakage,
            area=report.area.total,
            clock=report.achievable_clock or 0.0,
        )


def _memories_at_once(model: QuantizedModel, lanes: int) -> int:
    """The most of `MEMORIES_AT_ONCE` that the network allows, 1 if none of them."""
    operations = lower(model)
    for parts in MEMORIES_AT_ONCE:
        try:
            check_parts(operations, lanes, parts)
        except PartsError:
            continue
        return parts
    return 1


def _configs(
    model: QuantizedModel, lanes: int, weights: str, *, macros: bool
) -> Iterator[tuple[str, AcceleratorConfig]]:
    """Configurations that are compared, by name."""
    options = {"lanes": lanes, "weights": weights}
    frugal = choose_levers(FRUGAL, options, macros=macros)
    numbers = {name: words for name, words in BANKS.items() if name != "bank_words" or weights == "rom"}
    several = _memories_at_once(model, lanes)
    if several > 1:
        numbers["memories_at_once"] = several
    alone = dict.fromkeys(LEVERS, True) | numbers
    yield PLAIN, AcceleratorConfig.from_dict(options)
    for name, value in alone.items():
        yield _option(name, value), AcceleratorConfig.from_dict(options | {name: value})
    yield FRUGAL, AcceleratorConfig.from_dict(options | frugal)
    for name, value in frugal.items():
        if value:
            rest = options | frugal | {name: type(value)(0)}
            yield f"{FRUGAL} without {_option(name)}", AcceleratorConfig.from_dict(rest)
    for name, value in numbers.items():
        if name not in frugal:
            chosen = options | frugal | {name: value}
            yield f"{FRUGAL} and {_option(name, value)}", AcceleratorConfig.from_dict(chosen)


def _option(name: str, value: int = True) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option} {value}"


def measure_levers(
    model: QuantizedModel,
    libraries: Sequence[CellLibrary],
    sounds: Sounds,
    *,
    lanes: int = 16,
    weights: str = "rom",
    delays: bool = True,
    progress: Progress = silent,
) -> tuple[LeverCost, ...]:
    """Measure every lever alone and as part of the set frugal.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    libraries : sequence of (Library, dict)
        From `open_library`.
    sounds : dict of str to ndarray of int64, shape (clips, T, inputs)
        From `find_sounds`; only ``speech`` is simulated.
    lanes : int
        Multipliers.
    weights : {"rom", "ram"}
        Where the weights are.
    delays : bool
        Simulate with delays, so that glitches count.
    progress : callable
        Called with the accelerator and its stage, the steps done, and all steps.

    Returns
    -------
    tuple of LeverCost
        By library, each at the slowest clock at which no frame waits.

    Raises
    ------
    InputError
        If there is no speech, or no library.
    PowerRefused
        If a guard refuses a figure.
    ToolError
        If a tool is missing, too old, or fails.
    """
    if SOUND not in sounds:
        raise InputError(f"levers are measured on speech, not on {', '.join(sounds) or 'nothing'}")
    if not libraries:
        raise InputError("give one cell library or more")
    speech, gates = {SOUND: sounds[SOUND]}, GateOptions(FrameSimulation(delays=delays))
    costs = []
    for cells, described in libraries:
        reports: dict[str, Report] = {}  # a lever that changes nothing in this network gives the same Verilog
        for name, config in _configs(model, lanes, weights, macros=has_macros(cells)):

            def tell(stage: str, done: int, total: int, title: str = f"{described['name']}, {name}") -> None:
                progress(f"{title}: {stage}", done, total)

            plan = accelerator(model, config)
            verilog = to_verilog(plan)
            if verilog not in reports:
                reports[verilog] = estimate_power(
                    plan, (cells, described), tier="gates", sounds=speech, gates=gates, progress=tell
                )
            costs.append(LeverCost.of(name, reports[verilog]))
    return tuple(costs)


COLUMNS = ("levers", "cycles", "dynamic", "glitches", "leakage", "all", "change", "mm²", "MHz")
"""Columns of `lever_rows`: energies in nanojoule per frame, glitches as a part of the dynamic energy."""


def lever_rows(costs: Sequence[LeverCost]) -> dict[str, list[list[str]]]:
    """Lay out figures in rows.

    Parameters
    ----------
    costs : sequence of LeverCost
        From `measure_levers`.

    Returns
    -------
    dict of str to list of list of str
        Rows of `COLUMNS` by library. ``change`` is of all energy, against plain, and against frugal for its variants.
    """
    libraries = dict.fromkeys(cost.library for cost in costs)
    by_name = {library: {cost.name: cost for cost in costs if cost.library == library} for library in libraries}
    return {library: [_row(cost, known) for cost in known.values()] for library, known in by_name.items()}


def _row(cost: LeverCost, known: Mapping[str, LeverCost]) -> list[str]:
    base = known[FRUGAL if cost.name.startswith(f"{FRUGAL} ") else PLAIN]
    change = "" if cost.name == PLAIN else f"{100 * (cost.energy / base.energy - 1):+.1f} %"
    energies = (f"{value * 1e9:.2f}" for value in (cost.dynamic, cost.glitches, cost.leakage, cost.energy))
    return [cost.name, f"{cost.cycles:.0f}", *energies, change, f"{cost.area / 1e6:.3f}", f"{cost.clock / 1e6:.0f}"]


def lever_table(costs: Sequence[LeverCost]) -> str:
    """Write the rows of `lever_rows` in Markdown, with one table for each library."""
    tables = []
    for library, rows in lever_rows(costs).items():
        lines = [f"**{library}**", "", *(f"| {' | '.join(row)} |" for row in (COLUMNS, ("---",) * len(COLUMNS), *rows))]
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"
