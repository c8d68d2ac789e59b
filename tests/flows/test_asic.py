"""The ASIC flow: constraints, the script for a plain Yosys, LibreLane's configuration, the netlist."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from librelane.config import flow as librelane_variables
from librelane.config.variable import Macro as LibrelaneMacro
from librelane.flows import Flow

from lmu_hw.cells.liberty import read_liberty, read_text
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.asic import AsicError, _files, build_asic, yosys_script
from lmu_hw.flows.librelane import librelane_config
from lmu_hw.flows.macro_rtl import macros_of
from lmu_hw.flows.mapping import Recipe, mapping_files
from lmu_hw.flows.sdc import sdc
from lmu_hw.flows.synth import RELAXED
from lmu_hw.flows.tiling import tile
from lmu_hw.flows.yosys import run_yosys, scratch_folder
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name, vectors
from lmu_sim.gates import GateSimulator
from lmu_sim.testing.random_models import random_frames

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def macros(pdk):
    ihp = pdk("ihp-sg13g2")
    return macros_of({"weights": tile(read_liberty((*ihp.cells, *ihp.macros)), 4912, 64, MemoryUsage())})


def test_the_constraints_in_the_repository_are_those_of_the_code():
    assert (ROOT / "constraints" / "accelerator.sdc").read_text() == sdc()


@pytest.mark.parametrize(
    ("name", "unit"), [("ihp-sg13g2", 1e-9), ("nangate45", 1e-9), ("asap7", 1e-12), ("osu018", 1e-9)]
)
def test_time_units_are_the_librarys(pdk, name: str, unit: float):
    assert read_liberty(pdk(name).cells).time_unit == unit


def test_librelane_knows_every_variable(macros):
    flow = Flow.factory.get("Classic")
    known = {one.name for one in librelane_variables.flow_common_variables} | {one.name for one in flow.config_vars}
    known |= {one.name for step in flow.Steps for one in step.config_vars}
    config = json.loads(librelane_config(TOP, "a.v", "a.sdc", 1e6, macros))
    assert config.pop("meta") == {"version": 2, "flow": "Classic"}
    assert set(config) <= known
    assert config["CLOCK_PERIOD"] == 1000.0
    for cell, views in config["MACROS"].items():
        assert LibrelaneMacro(**views).gds == [f"pdk_dir::libs.ref/sg13g2_sram/gds/{cell}.gds"]
    assert "MACROS" not in json.loads(librelane_config(TOP, "a.v", "a.sdc", 1e6, {}))


@pytest.mark.parametrize("gates", [False, True])
def test_a_plain_yosys_maps_it_and_the_netlist_is_bit_exact(standard_cells, small_plan, gates: bool):
    library, plan = standard_cells, small_plan(weights="rom", stop_clock=gates, gate_blocks=gates)
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        folder = Path(name)
        for index, path in enumerate(library.files):
            (folder / f"cells{index}.lib").write_text(read_text(path))
        (folder / f"{TOP}.v").write_text(_files(plan, library, 1e6, {}, "")[f"{TOP}.v"])
        for file, text in mapping_files(Recipe(library, True, RELAXED)).items():
            (folder / file).write_text(text)
        run_yosys(yosys_script(TOP, library, [f"{TOP}.v"]), folder)
        netlist = read_netlist(folder / "netlist.json", TOP, library)
        assert "Chip area" in (folder / "cells.txt").read_text()
    falling = [one for one in netlist.instances if any(one.clock.text.startswith("!") for one in one.cell.sequentials)]
    assert not falling
    simulator = GateSimulator(netlist)
    simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
    simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
    model, steps = plan.model, 8
    frames = random_frames(np.random.default_rng(2), model, 1, steps)
    width = model.input.width
    beats = frames & ((1 << width) - 1)
    beats[:, :, -1] |= 1 << width
    found = simulator.stream("i", beats.reshape(1, -1), {"o_logits": steps * model.outputs, "o_decision": steps})
    mask = (1 << vectors(model)[output_name(model)].format.width) - 1
    logits = Golden(model).run(frames)["logits"].ravel()
    np.testing.assert_array_equal([beat.payload & mask for beat in found["o_logits"][0]], logits & mask)


@pytest.mark.parametrize("weights", ["rom", "ram"])
def test_nothing_stands_in_the_way_of_scan(small_plan, weights: str):
    """Every register is at the rising edge of the one clock, and reset by it: no other sensitivity, no three-state."""
    verilog = to_verilog(small_plan(weights=weights))
    assert set(re.findall(r"always @ ?(\*|\(.*?\))", verilog)) == {"*", "(posedge clk)"}
    assert "'bz" not in verilog
    assert "negedge" not in verilog


def test_a_clock_that_is_too_fast_is_refused(small_plan, standard_cells):
    with pytest.raises(AsicError, match=r"too slow in .*: \d+\.\d\d MHz of 5000 MHz, \d+\.\d\d ns are missing"):
        build_asic(small_plan(weights="rom"), standard_cells, 5e9, {})
