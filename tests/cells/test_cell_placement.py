"""Places of pins and lengths of wires, against sums made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.cell_placement import CellPlacement, OutlineError, find_outlines, measure_wires, turn_pin
from lmu_hw.cells.lef import Lef, LefMacro
from lmu_hw.cells.library import MacroMemory


@pytest.fixture
def placement() -> CellPlacement:
    """Two rows: u0 and u2 below, u1 upside down and u3 mirrored above."""
    return CellPlacement(
        die=(0, 0, 10, 4),
        site=None,
        rows=(),
        x=np.array([0.0, 2.0, 4.0, 6.0]),
        y=np.array([0.0, 2.0, 0.0, 2.0]),
        orientations=("N", "S", "N", "FN"),
        fixed=np.zeros(4, dtype=bool),
        ports={"d": ((0.0, 1.0), (0.0, 3.0)), "q": ((10.0, 1.0),), "r": ((10.0, 3.0),)},
        source="by hand",
    )


def test_wires_by_hand(tiny_netlist, tiny_lef, placement):
    """Pins: A at (0.25, 1) and Y at (1.75, 0.5) of INV; A (0.5, 0.5), B (1.5, 1.5), Y (3.5, 0.5) of NAND."""
    wires = measure_wires(tiny_netlist, tiny_lef, placement)
    d0, d1, n0, n1, q, r = range(2, 8)
    half = wires.half_perimeter
    assert half[[0, 1]].tolist() == [0, 0]  # constants
    assert half[d0] == 0.25  # (0, 1) to (0.25, 1)
    assert half[d1] == 3.75  # (0, 3) to (2 + 2 - 0.25, 2 + 2 - 1)
    assert half[n0] == pytest.approx((9.5 - 1.75) + (2.5 - 0.5))  # (1.75, .5), (4.5, .5), (6 + 4 - .5, 2.5)
    assert half[n1] == pytest.approx((5.5 - 2.25) + (3.5 - 1.5))  # (2.25, 3.5), (5.5, 1.5)
    assert half[q] == pytest.approx((10 - 7.5) + 0.5)
    assert half[r] == pytest.approx((10 - 6.5) + 0.5)
    assert wires.steiner.tolist() == half.tolist()  # no net has more than three pins
    assert wires.readers.tolist() == [0, 0, 1, 1, 2, 1, 0, 0]
    assert wires.per_fanout() == pytest.approx(half.sum() / 5)
    toggles = np.zeros(8)
    toggles[n0] = 3.0
    assert wires.per_fanout(toggles) == pytest.approx(half[n0] / 2)


def test_ignored_nets_have_no_wires(tiny_netlist, tiny_lef, placement):
    wires = measure_wires(tiny_netlist, tiny_lef, placement, ignored=[4])
    assert (wires.steiner[4], wires.half_perimeter[4], wires.readers[4]) == (0, 0, 0)
    assert wires.steiner[5] > 0


@pytest.mark.parametrize(
    ("orientation", "place"),
    [
        ("N", (1, 2)), ("S", (9, 2)), ("W", (2, 1)), ("E", (2, 9)),
        ("FN", (9, 2)), ("FS", (1, 2)), ("FW", (2, 1)), ("FE", (2, 9)),
    ],
)  # fmt: skip
def test_turned_pins_of_a_macro_that_is_as_high_as_its_pin_twice(orientation, place):
    macro = LefMacro("m", "BLOCK", 10, 4, "", {"p": (1, 2)})
    assert turn_pin(macro, "p", orientation) == place


def test_a_quarter_turn_is_counterclockwise():
    macro = LefMacro("m", "BLOCK", 10, 4, "", {"p": (9, 1)})  # near the lower right corner
    assert turn_pin(macro, "p", "W") == (3, 9)  # lower right goes to upper right
    assert turn_pin(macro, "p", "E") == (1, 1)  # to lower left
    assert turn_pin(macro, "p", "FW") == (1, 9)
    assert turn_pin(macro, "p", "FE") == (3, 1)


def test_a_cell_or_pin_without_outline_is_refused(tiny_netlist, tiny_lef):
    without = {name: macro for name, macro in tiny_lef.macros.items() if name != "NAND"}
    with pytest.raises(OutlineError, match=r"^the LEF files have no cell NAND \(tiny\.lef\)$"):
        find_outlines(tiny_netlist, Lef(macros=without, files=tiny_lef.files))
    bare = LefMacro("NAND", "CORE", 4, 2, "core", {"A": (0, 0), "Y": (0, 0)})
    with pytest.raises(OutlineError, match=r"^cell NAND has no pin B in the LEF files$"):
        find_outlines(tiny_netlist, Lef(macros=without | {"NAND": bare}))


def test_a_macro_that_is_a_model_gets_a_box(tiny_netlist, tiny_lef):
    memory = MacroMemory("ram", 1, 1)
    first = tiny_netlist.instances[0]
    model = replace(first.cell, name="model", area=200.0, memory=memory)
    netlist = replace(tiny_netlist, instances=(replace(first, cell=model),))
    box = find_outlines(netlist, tiny_lef)["model"]
    assert (box.width, box.height) == (20.0, 10.0)
    assert box.pins == {"A": (5.0, 0.0), "Y": (15.0, 0.0)}
