"""What a figure of tier gates was computed from, kept so that others can check it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import Netlist
from lmu_hw.power.activity import Activity
from lmu_hw.power.clock_tree import ClockTree

__all__ = ["Evidence"]


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """Netlist and activity behind a report.

    Parameters
    ----------
    netlist : Netlist
        The mapped cells.
    library : Library
        Of the cells.
    conditions : Conditions
        Wires, transition times, clock.
    activities : dict of str to Activity
        Activity that the energies were computed from, by kind of sound.
    trees : dict of str to ClockTree
        Estimated clock tree by kind of sound.
    """

    netlist: Netlist
    library: Library
    conditions: Conditions
    activities: Mapping[str, Activity]
    trees: Mapping[str, ClockTree]
