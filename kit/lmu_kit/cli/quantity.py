"""Numbers with units on the command line."""

import argparse
import math
import re
from collections.abc import Callable, Mapping

__all__ = ["AREA", "FREQUENCY", "POWER", "TIME", "quantity"]

TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
AREA = {"mm2": 1e6, "um2": 1.0}
"""In square micrometre."""
POWER = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "nW": 1e-9}
FREQUENCY = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "": 1.0, "k": 1e3, "M": 1e6}


def quantity(units: Mapping[str, float]) -> Callable[[str], float]:
    """Argument type: a number above 0 with one of the units, as a number of the unit that counts 1.

    Parameters
    ----------
    units : mapping of str to float
        What each unit counts; the empty one if there need not be any.
    """
    known = ", ".join(unit for unit in units if unit)

    def parsed(text: str) -> float:
        found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?) ?([A-Za-z]*2?)", text.strip().replace("µ", "u"))
        try:
            value = float(found[1]) * units.get(found[2], 0.0) if found else 0.0
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be a number above 0 with a unit ({known}), not {text!r}")
        return value

    return parsed
