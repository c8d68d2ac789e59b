import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.cells import sram_model
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError
from lmu_hw.cells.memory_cost import clock_energy, macro_cost
from lmu_hw.cells.sram import find_macro
from lmu_hw.cells.sram_fit import fit_sram_model
from lmu_hw.cells.sram_model import PREFIX, add_sram_model, is_model, model_liberty, yardsticks
from lmu_hw.flows.synth import MappedMemory

STORED = Path(sram_model.__file__).parent / "sram_model.json"


@pytest.fixture(scope="module")
def ihp(pdk):
    kit = pdk("ihp-sg13g2")
    return read_liberty([*kit.cells, *kit.macros])


def test_the_stored_coefficients_are_those_of_the_macros(ihp):
    made, stored = fit_sram_model(ihp), json.loads(STORED.read_text())
    assert made.keys() == stored.keys()
    for name, values in stored["coefficients"].items():
        np.testing.assert_allclose(made["coefficients"][name], values, rtol=1e-4)
    np.testing.assert_allclose(list(made["largest_error"].values()), list(stored["largest_error"].values()), atol=2e-3)
    assert made["yardsticks"] == pytest.approx(stored["yardsticks"])
    assert made["leakage_per_bit_in_inverters"] < sram_model.LEAKAGE_PER_BIT


def test_on_ihp_the_model_is_within_its_stated_error_of_the_macros(ihp):
    cells = [cell for cell in ihp.cells.values() if cell.memory is None]
    bare = replace(ihp, cells={cell.name: cell for cell in cells}, files=ihp.files[:1], hashes=ihp.hashes[:1])
    modelled = add_sram_model(bare)
    errors = json.loads(STORED.read_text())["largest_error"]
    compared = 0
    for cell in ihp.cells.values():
        macro = find_macro(cell)
        if macro is None or f"{PREFIX}{macro.depth}x{macro.width}" not in modelled.cells or "_c3_" in cell.name:
            continue
        model = modelled.cells[f"{PREFIX}{macro.depth}x{macro.width}"]
        found = find_macro(model)
        for kind, levels in {"read": (1, 1, 0), "write": (1, 0, 1)}.items():
            energy = clock_energy(model, found, *levels)
            assert energy == pytest.approx(clock_energy(cell, macro, *levels), rel=errors[kind] + 1e-3)
        assert model.area == pytest.approx(cell.area, rel=errors["area"] + 1e-3)
        assert model.leakage > cell.leakage
        delays = [float(one.pins["A_DOUT[0]"].timing[0].delay_rise(5e-11, 0.0)) for one in (model, cell)]
        assert delays[0] == pytest.approx(delays[1], rel=errors["delay"] + 0.02)
        compared += 1
    assert compared >= 11


@pytest.mark.parametrize("name", ["sky130A", "nangate45", "asap7", "osu018"])
def test_libraries_without_macros_get_a_model(pdk, name):
    library = read_liberty(pdk(name).cells)
    modelled = add_sram_model(library)
    models = [cell for cell in modelled.cells.values() if is_model(cell.name)]
    assert len(models) == 28
    assert modelled.voltage == library.voltage
    here, there = yardsticks(library), json.loads(STORED.read_text())["yardsticks"]
    for cell in models:
        macro = find_macro(cell)
        assert cell.name == f"{PREFIX}{macro.depth}x{macro.width}"
        assert (macro.mask, macro.ties) == ((), {})
        cost = macro_cost(cell, macro)
        assert cost.leakage == pytest.approx(macro.depth * macro.width * here.leakage, rel=1e-4)
        assert cost.write > cost.read > 100 * cost.idle
    ratio = here.capacitance * here.voltage**2 / (there["capacitance"] * there["voltage"] ** 2)
    big = modelled.cells[f"{PREFIX}1024x64"]
    assert clock_energy(big, find_macro(big), 1, 1, 0) == pytest.approx(91.8e-12 * ratio, rel=0.1)
    assert clock_energy(big, find_macro(big), 0, 0, 0) == 0
    arc = big.pins["A_DOUT[63]"].timing[0]
    assert float(arc.delay_rise(0, 0)) < float(arc.delay_rise(0, big.pins["A_DOUT[63]"].max_capacitance))


def test_a_library_with_macros_is_left_as_it_is(ihp):
    assert add_sram_model(ihp) is ihp


def test_a_report_says_what_it_is():
    memory = MappedMemory("m0", 64, 8, True, "macros", True, {f"{PREFIX}64x8": 1})
    assert memory.describe() == "SRAM model, not macros of this process: 1 x SRAM_MODEL_64x8"


def test_the_text_says_what_it_is(standard_cells):
    text = model_liberty(standard_cells)
    assert "an SRAM model, not a macro of any process" in text
    assert "Apache-2.0" in text


def test_a_library_that_cannot_be_measured_is_refused(pdk):
    library = read_liberty(pdk("osu018").cells)
    for part, what in (("DFF", "flip-flop"), ("INV", "inverter"), ("NAND2", "NAND gate")):
        fewer = {name: cell for name, cell in library.cells.items() if part not in name}
        with pytest.raises(LibertyError, match=f"has no {what}"):
            model_liberty(replace(library, cells=fewer))
