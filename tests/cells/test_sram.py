import re
from dataclasses import replace

import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import MacroMemory
from lmu_hw.cells.sram import find_macro


@pytest.fixture(scope="module")
def cells(pdk):
    ihp = pdk("ihp-sg13g2")
    return read_liberty([*ihp.cells, *ihp.macros]).cells


def test_pins_of_all_macros_are_known(cells):
    macros = [cell for cell in cells.values() if cell.memory is not None]
    assert len(macros) == 18
    for cell in macros:
        macro = find_macro(cell)
        depth, width = map(int, re.search(r"_(\d+)x(\d+)_", cell.name).groups())
        assert (macro.cell, macro.depth, macro.width) == (cell.name, depth, width)
        assert (macro.clock, macro.enable, macro.read, macro.write) == ("A_CLK", "A_MEN", "A_REN", "A_WEN")
        assert cell.pins[macro.clock].clock
        assert 1 << len(macro.address) == depth
        assert macro.data_in[3] == "A_DIN[3]"
        assert macro.data_out[-1] == f"A_DOUT[{width - 1}]"
        assert len(macro.mask) == (width if "_bm_" in cell.name else 0)
        assert macro.ties["A_DLY"] == 1
        assert not any(level for pin, level in macro.ties.items() if pin != "A_DLY")
        assert set(macro.ties) - {"A_DLY"} == {name for name in cell.pins if name.startswith("A_BIST_")}
        driven = {macro.clock, macro.enable, macro.read, macro.write, *macro.address, *macro.data_in, *macro.mask}
        assert driven | set(macro.ties) == set(cell.inputs)
        assert set(macro.data_out) == set(cell.outputs)


def test_other_cells_are_no_macros(cells):
    assert find_macro(cells["sg13g2_dfrbpq_1"]) is None
    macro = cells["RM_IHPSG13_1P_64x64_c2_bm_bist"]
    assert find_macro(replace(macro, memory=MacroMemory("rom", 6, 64))) is None
    assert find_macro(replace(macro, memory=MacroMemory("ram", 7, 64))) is None
    without = {name: pin for name, pin in macro.pins.items() if name != "A_MEN"}
    assert find_macro(replace(macro, pins=without)) is None
