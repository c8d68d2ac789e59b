"""Energy that a change of each net costs on average, to weigh single frames by their changes.

`lmu_hw.power.engine.find_power` weighs the mean activity of many frames, since probabilities of states need that. These
figures take every state as equally likely. They are good for comparing frames with each other, not for a report.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChangeEnergies"]


@dataclass(frozen=True, eq=False)
class ChangeEnergies:
    """Energies of the changes of a netlist.

    Parameters
    ----------
    nets : ndarray of float64, shape (nets,)
        Joule for a change of each net, at its driver and at all pins that read it.
    macros : dict of int to ndarray of float64, shape (2, 2, 2)
        Joule for a rising clock edge of each memory macro, by the index of its instance; by the values of its enable,
        write and read pin.
    """

    nets: NDArray[np.float64]
    macros: dict[int, NDArray[np.float64]]
