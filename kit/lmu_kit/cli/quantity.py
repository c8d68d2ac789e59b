"""Numbers with units on the command line."""

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AREA", "FREQUENCY", "POWER", "TIME", "Quantity"]


@dataclass(frozen=True, eq=False)
class Quantity:
    """Argument type: a number above 0 with a unit.

    Parameters
    ----------
    name : str
        The quantity with its article, for error messages.
    units : mapping of str to float
        Factor of each unit; the empty unit if a plain number is allowed.
    examples : str
        Values that are accepted, for error messages.
    """

    name: str
    units: Mapping[str, float]
    examples: str

    def __call__(self, text: str) -> float:
        """Value in the unit whose factor is 1."""
        match = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?) ?([A-Za-z]*2?)", text.strip().replace("µ", "u"))
        try:
            value = float(match[1]) * self.units.get(match[2], 0.0) if match else 0.0
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be {self.name} above 0, such as {self.examples}, not {text!r}")
        return value


TIME = Quantity("a time", {"s": 1.0, "ms": 1e-3, "us": 1e-6}, "100ms, 1.5s or 20us")
"""In seconds."""
AREA = Quantity("an area", {"mm2": 1e6, "um2": 1.0}, "0.5mm2 or 90000um2")
"""In square micrometers."""
POWER = Quantity("a power", {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "nW": 1e-9}, "50uW or 0.1mW")
"""In watts."""
FREQUENCY = Quantity(
    "a frequency",
    {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "": 1.0, "k": 1e3, "M": 1e6},
    "500kHz, 1.5MHz, 250k or 250000",
)
"""In hertz."""
