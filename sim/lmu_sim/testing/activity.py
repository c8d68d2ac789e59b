"""Random activity of the nets of a netlist."""

from collections.abc import Iterable

import numpy as np

from lmu_hw.cells.netlist import HIGH, LOW, Netlist
from lmu_hw.power.activity import Activity, clock_nets

__all__ = ["random_activity"]


def random_activity(
    netlist: Netlist, clock: str, period: float, rng: np.random.Generator, constants: Iterable[int] = ()
) -> Activity:
    """Draw an activity that no simulation would give, for comparisons of power tools.

    Parameters
    ----------
    netlist : Netlist
        Any netlist.
    clock : str
        Name of the clock port; its network changes twice per cycle.
    period : float
        Clock period in seconds.
    rng : numpy.random.Generator
        Source of all randomness.
    constants : iterable of int
        Nets that never change.

    Returns
    -------
    Activity
        Every other net changes 0 to 1 times per cycle and has a duty of 0 to 1.
    """
    toggles, duty = rng.uniform(0, 1, netlist.nets), rng.uniform(0, 1, netlist.nets)
    clocks = clock_nets(netlist, clock)
    toggles[clocks], duty[clocks] = 2, 0.5
    fixed = [LOW, HIGH, *constants]
    toggles[fixed] = 0
    duty[fixed] = np.round(duty[fixed])
    duty[LOW], duty[HIGH] = 0, 1
    return Activity(period, float("inf"), toggles, duty, np.ones(netlist.nets, dtype=bool), "random")
