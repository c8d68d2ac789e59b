"""Energy and leakage of the instances of a netlist, and their sums by block."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist

__all__ = ["BlockPower", "Power"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class BlockPower:
    """Sums over the instances of a block.

    Parameters
    ----------
    internal, switching : float
        Energy per clock cycle in joule.
    leakage : float
        In watt.
    area : float
        In the library's unit.
    instances : int
        Number of cells.
    """

    internal: float
    switching: float
    leakage: float
    area: float
    instances: int

    @property
    def dynamic(self) -> float:
        """Internal and switching energy per cycle in joule."""
        return self.internal + self.switching


@dataclass(frozen=True, eq=False, repr=False)
class Power:
    """Power of a netlist.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    period : float
        Clock period in seconds.
    internal, switching : ndarray of float64, shape (instances,)
        Energy per clock cycle in joule.
    leakage : ndarray of float64, shape (instances,)
        In watt.
    clock_internal, clock_switching : ndarray of float64, shape (instances,)
        The parts of `internal` and `switching` that are spent at pins and nets of the clock network. What a memory
        macro's clock pin costs is its access, and in neither.
    ports : dict of str to float
        Energy per cycle in joule that the outside spends on the nets of each input port; in no other sum. That of
        the clock port is where a clock tree would be.
    slews : ndarray of float64, shape (nets,)
        Longer of the rise and fall time of each net, in seconds, after place and route.
    slow_part : float
        Part of the nets, those of the clock network left out, whose edges are slower than the library allows before
        place and route mends them, 0 to 1.
    """

    netlist: Netlist
    period: float
    internal: FloatArray
    switching: FloatArray
    leakage: FloatArray
    clock_internal: FloatArray
    clock_switching: FloatArray
    ports: dict[str, float]
    slews: FloatArray
    slow_part: float = 0.0

    @property
    def clock(self) -> FloatArray:
        """Energy spent in the clock network by each instance, in joule per cycle."""
        return self.clock_internal + self.clock_switching

    def total(self) -> BlockPower:
        """Sums over all instances."""
        return self.sum_of(np.arange(len(self.netlist.instances)))

    def sum_of(self, chosen: IntArray) -> BlockPower:
        """Sums over some instances, given by their indices."""
        return BlockPower(
            float(self.internal[chosen].sum()),
            float(self.switching[chosen].sum()),
            float(self.leakage[chosen].sum()),
            sum(self.netlist.instances[index].cell.area for index in chosen.tolist()),
            int(chosen.size),
        )

    def blocks(self, label: Callable[[str], str] = str) -> dict[str, BlockPower]:
        """Sums over the instances of each block.

        Parameters
        ----------
        label : callable
            From the path of a module instance to the name of the row that it goes to; each path its own row by default.

        Returns
        -------
        dict of str to BlockPower
            By name; they add up to `total`.
        """
        chosen: dict[str, list[int]] = {}
        for index, instance in enumerate(self.netlist.instances):
            chosen.setdefault(label(instance.block), []).append(index)
        return {name: self.sum_of(np.array(indices)) for name, indices in sorted(chosen.items())}

    def watts(self) -> tuple[float, float, float]:
        """Internal, switching and leakage power in watt at the clock period."""
        total = self.total()
        return total.internal / self.period, total.switching / self.period, total.leakage
