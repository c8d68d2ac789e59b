"""The comparison with NNgen, as far as it needs no NNgen: a small design with the same ports and RAMs stands in."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.flows.synth import synthesize
from lmu_hw.flows.tiling import choose
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden
from lmu_kit.power import conditions_of
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames

PEER = Path(__file__).parents[2] / "peers" / "nngen"
FRAMES = np.array([[1, -2, 300, 4], [5, -600, 7, -8], [0, 0, 0, 32767]])


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The folder of the scripts on the path, as when they are run."""
    sys.path.insert(0, str(PEER))
    yield
    sys.path.remove(str(PEER))


@pytest.fixture(scope="module")
def verilog() -> str:
    return Path(__file__).with_name("stand_in.v").read_text()


@pytest.fixture(scope="module")
def trace(verilog, scripts, tmp_path_factory):
    from bench import lay_out, run_bench
    from rams import find_rams

    layout = lay_out({"weights": 4, "bytes": [1, 1]}, FRAMES, 16, 1)
    return run_bench(verilog, find_rams(verilog), layout, len(FRAMES), 1, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def library(pdk):
    ihp = pdk("ihp-sg13g2")
    return read_liberty((*ihp.cells, *ihp.macros))


def test_requirements_are_pinned():
    lines = (PEER / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert any(line.startswith("nngen==") for line in pinned)
    assert all("==" in line and "*" not in line for line in pinned)


def test_dense_layers_of_a_network():
    from layers import dense_layer, names

    model = program_file.load(zoo.path("kws105", "quantized.safetensors"))
    clip = load_frames(zoo.path("kws105", "test.safetensors")).frames[0][:12]
    assert names(model) == [f"layer{index}.{name}" for index in range(3) for name in ("w_x", "w_m")] + ["layer3.w"]
    values = Golden(model).run(clip[None])
    for name, source, width in (("layer0.w_x", clip, 8), ("layer1.w_m", values["layer1.m"][0], 12)):
        layer = dense_layer(model, name, clip)
        np.testing.assert_array_equal(layer.frames, source)
        assert layer.frame_format.width == width
        np.testing.assert_array_equal(Golden(layer.model()).run(layer.frames[None])["logits"][0], layer.sums)
    with pytest.raises(ValueError, match=r"the layer must be one of layer0.w_x, .*, not 'layer9.w'"):
        dense_layer(model, "layer9.w", clip)
    strided = program_file.load(zoo.path("kws361-strided", "quantized.safetensors"))
    with pytest.raises(ValueError, match="all layers must run at the frame rate"):
        dense_layer(strided, "layer0.w_m", clip)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--frames", "1"), "--frames must be at least 2, as the first is not counted, not 1"),
        (("--layers", "layer9.w"), "the layer must be one of layer0.w_x"),
        (("--nngen", "no-such-python"), "--nngen: no program no-such-python"),
    ],
)
def test_what_cannot_be_compared_is_refused(pdk_in_environment, monkeypatch, arguments, message):
    import compare

    command = ["compare.py", "kws105", "--pdk", "ihp-sg13g2", "--nngen", sys.executable, *arguments]
    pdk_in_environment("ihp-sg13g2")
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(ValueError, match=message):
        compare.main()


def test_no_sum_overflows():
    from layers import Dense
    from lmu_hw.model.fixed import Format

    fmt = Format(8, 0)
    layer = Dense("worst", np.array([[-8, -8], [7, 7]]), 4, np.array([[fmt.min, fmt.min], [fmt.max, fmt.max]]), fmt)
    assert Format(layer.sum_width, 0).contains(layer.sums)
    assert not Format(layer.sum_width - 1, 0).contains(layer.sums)


def test_sums_and_accesses_of_the_bench(trace):
    from cost import counted_cycles, cycles_per_frame

    np.testing.assert_array_equal(trace.sums[:, 0], FRAMES.sum(axis=1))
    assert (trace.words_read, trace.words_written) == (2 * len(FRAMES), len(FRAMES))
    assert counted_cycles(trace).sum() == 2 * cycles_per_frame(trace)
    counted = counted_cycles(trace)
    assert (trace.outputs["cut_ram_w32_l2_id0_0_enable"][counted] == 1).sum() == 2 * 2
    assert trace.inputs["RESETN"][0] == 0


def test_wide_ports_are_in_parts(monkeypatch, verilog, trace, tmp_path):
    import bench
    from rams import find_rams

    assert bench.part_names("narrow", 32) == [("narrow", 0, 32)]
    assert bench.part_names("wide", 70) == [("wide.0", 0, 32), ("wide.1", 32, 32), ("wide.2", 64, 6)]
    monkeypatch.setattr(bench, "PART", 20)
    layout = bench.lay_out({"weights": 4, "bytes": [1, 1]}, FRAMES, 16, 1)
    parts = bench.run_bench(verilog, find_rams(verilog), layout, len(FRAMES), 1, tmp_path).outputs
    whole, low, high = trace.outputs["maxi_wdata"], parts["maxi_wdata.0"], parts["maxi_wdata.1"]
    defined = whole >= 0
    assert defined.any()
    np.testing.assert_array_equal((low + (high << 20))[defined], whole[defined])


def test_a_bench_that_does_not_end_is_an_error(verilog, tmp_path, monkeypatch):
    import bench
    from lmu_hw.tools import ToolError
    from rams import find_rams

    monkeypatch.setattr(bench, "LIMIT", 200)
    stuck = verilog.replace("if(maxi_bvalid) begin", "if(0) begin")
    layout = bench.lay_out({"weights": 0, "bytes": []}, FRAMES, 16, 1)
    with pytest.raises(ToolError, match="no end after 200 cycles, in frame 0"):
        bench.run_bench(stuck, find_rams(stuck), layout, len(FRAMES), 1, tmp_path)


def test_rams_are_found_and_cut_out(verilog):
    from rams import cut_rams, find_rams

    (ram,) = find_rams(verilog)
    assert (ram.module, ram.depth, ram.width) == ("ram_w32_l2_id0", 2, 32)
    assert ram.ports == ("ram_w32_l2_id0_0", "ram_w32_l2_id0_1")
    assert ram.signals["ram_w32_l2_id0_0_rdata"] == ("output", 32)
    assert "mem [0:" not in cut_rams(verilog, "nngen", [ram])
    with pytest.raises(ValueError, match="ram_w32_l2_id0 must have one instance, not 0"):
        cut_rams(verilog.replace("inst_ram", "other"), "nngen", [ram])


@pytest.mark.slow
def test_gates_do_what_the_verilog_does_and_are_weighed(verilog, trace, library):
    from cost import CLOCK, cells_cost, counted_cycles, cycles_per_frame, rams_cost, replay
    from rams import cut_rams, find_rams

    rams = find_rams(verilog)
    cells, tree = cells_cost(verilog, rams, trace, library, 50.0, lambda *_: None)
    assert min(cells.dynamic, cells.leakage, cells.area, tree.dynamic, tree.area) > 0
    # Two reads and two writes a frame, of the memory that costs least.
    cycles = cycles_per_frame(trace)
    cost = choose(library, 2, 32, MemoryUsage(50 * cycles, 4 / cycles, 0.5))[1]
    found = rams_cost(rams, trace, library, 50.0)
    assert found.dynamic == pytest.approx(2 * cost.read + 2 * cost.write + (cycles - 4) * cost.idle)
    assert (found.leakage, found.area) == pytest.approx((cost.leakage / 50, cost.area))
    mapped = synthesize(cut_rams(verilog, "nngen", rams), "nngen", library)
    wrong = {**trace.outputs, "maxi_wdata": trace.outputs["maxi_wdata"] ^ 1}
    netlist = read_netlist(mapped.json, "nngen", library)
    with pytest.raises(ValueError, match="the netlist's output maxi_wdata differs"):
        replay(netlist, replace(trace, outputs=wrong), counted_cycles(trace), conditions_of(netlist, CLOCK))
