"""`synthesize_asic` and `estimate_power` build one netlist. SRAM macros are the kit's, or a model's that is named."""

import hashlib

import pytest

import lmu_hw as lh
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.power.designs import Cut, cut
from lmu_hw.power.report import SRAM_MODEL
from lmu_hw.progress import silent
from lmu_kit.power import map_plan
from lmu_quantize import zoo


@pytest.fixture(scope="module")
def model():
    return cut(program_file.load(zoo.path("kws361", "quantized.safetensors")), Cut(1, 6, 1, 4))


@pytest.mark.parametrize("clock", [None, 2e6, 40e6])
def test_synthesis_and_power_build_the_same_netlist(model, pdk_in_environment, tmp_path, clock):
    """At the default clock, at one that makes memories of other cells, and at one that is short for the logic."""
    pdk_in_environment("osu018")
    library, plan = lh.open_library(), lh.accelerator(model, AcceleratorConfig(lanes=2, weights="ram"))
    result = lh.synthesize_asic(plan, library, tmp_path / "out", clock=clock)
    mapped = map_plan(plan, library[0], lh.operating_point(plan, clock=clock), silent)
    assert result.manifest["netlist"] == mapped.synthesis.key
    written = (tmp_path / "out" / "netlist.v").read_bytes()
    assert hashlib.sha256(written).digest() == hashlib.sha256(mapped.synthesis.verilog.read_bytes()).digest()


def test_the_sram_model_is_asked_for(model):
    kit, modelled = lh.open_library(), lh.open_library(macros="model")
    assert not any(cell.memory for cell in kit[0].cells.values())
    assert any(cell.memory for cell in modelled[0].cells.values())
    assert (kit[1]["macros_are_a_model"], modelled[1]["macros_are_a_model"]) == (False, True)
    with pytest.raises(lh.InputError, match="macros must be kit or model, not 'mine'"):
        lh.open_library(macros="mine")


def test_figures_on_the_sram_model_say_so():
    plan = lh.accelerator(lh.open_model("kws49"), AcceleratorConfig(weights="ram"))
    assert lh.estimate_power(plan, "sky130A").caveat == SRAM_MODEL
    assert SRAM_MODEL in lh.compare_with_published("kws49", lh.estimate_power(plan, "sky130A")).ours.method
    assert lh.estimate_power(plan, "ihp-sg13g2").caveat == ""


def test_no_frame_waits_at_the_default_clock():
    strided = lh.accelerator(lh.open_model("kws49-eighth"), AcceleratorConfig(lanes=20))
    point = lh.operating_point(strided)
    assert point.clock == 50 * max(frame.interval for frame in strided.frames) > point.slowest_clock
    assert not point.frames_wait
    assert lh.operating_point(strided, clock=point.clock - 1).frames_wait
    plain = lh.operating_point(lh.accelerator(lh.open_model("kws49"), AcceleratorConfig()))
    assert plain.clock == plain.slowest_clock
