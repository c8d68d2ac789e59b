"""The AXI wrapper: bit-exact under random traffic, every register, interrupts, loading; its Verilog and its page."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.export.emit import emit, to_verilog, wrapper_verilog
from lmu_hw.host.registers import REGISTERS, markdown
from lmu_hw.plan.config import AcceleratorConfig, Interface
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_verilator, find_yosys, run_tool
from lmu_kit.cli.main import main
from lmu_sim.runner import Simulator, SimulatorError, build, run
from lmu_sim.testing.axi import ChannelRules, ResetRules, ResponseRules
from lmu_sim.testing.random_models import random_model
from lmu_sim.testing.wrapper_bench import BENCH, bench_verilog
from tests.sim.interface_cases import CASES, described, plan_of

TESTS = 7
DEFAULT = "pulse", "utterance"


def simulate(simulator, name, directory, monkeypatch, change=lambda wrapper: wrapper, other=False):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    plan, case = described(name, "axi", other)
    assert case["results"]
    wrapper = change(wrapper_verilog(plan))
    sources = {
        "core.v": to_verilog(plan),
        "wrapper.v": wrapper,
        "bench.v": bench_verilog(wrapper, "lmu_accelerator_axi"),
    }
    built = build(simulator, sources, BENCH)
    path = directory / "case.json"
    path.write_text(json.dumps(case))
    run(built, "axi_bench", TESTS, directory / "run", environment={"LMU_AXI_CASE": str(path)})


@pytest.mark.parametrize("name", DEFAULT)
def test_icarus(name, tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, name, tmp_path, monkeypatch)


def test_a_network_that_sleeps(tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, "asleep", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - set(DEFAULT)))
def test_icarus_with_the_other_accelerators(name, tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, name, tmp_path, monkeypatch)


def test_another_network_of_the_same_shape(tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, "one label", tmp_path, monkeypatch, other=True)


@pytest.mark.slow
def test_another_larger_network_of_the_same_shape(tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, "pulse", tmp_path, monkeypatch, other=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_verilator(name, tmp_path, monkeypatch):
    simulate(Simulator.VERILATOR, name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", DEFAULT)
def test_verilator_has_no_warning(name, tmp_path):
    emit(plan_of(name, "axi")[0], tmp_path, "spotter")
    output = run_tool(find_verilator(), ["--lint-only", "-Wall", "spotter.v", "spotter_axi.v"], tmp_path)
    assert "%Warning" not in output


def test_yosys_accepts_the_wrapper(request):
    build_folder = request.config.rootpath / "build"  # a Yosys with a `/tmp` of its own sees it too
    build_folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_folder) as folder:
        emit(plan_of("pulse", "axi")[0], folder, "spotter")
        script = (
            "read_verilog spotter.v spotter_axi.v; hierarchy -check -top spotter_axi; proc; check -assert; "
            "select -assert-none t:$dlatch* t:$adff* t:$aldff* t:$dffsr* t:$sr"
        )
        output = run_tool(find_yosys(), ["-Q", "-p", script], Path(folder))
    assert "Warning" not in output
    assert "Found and reported 0 problems" in output


def test_the_core_is_the_one_without_a_wrapper(tmp_path):
    plan, _ = plan_of("pulse", "axi")
    native = make_plan(plan.model, AcceleratorConfig(lanes=7, weights="ram", state="pulse"))
    assert to_verilog(plan) == to_verilog(native)
    assert wrapper_verilog(native) == ""
    written = [path.name for path in emit(plan, tmp_path)]
    ends = (".v", "_axi.v", ".weights", ".core", ".xml", ".json")
    assert written == [f"lmu_accelerator{end}" for end in ends]
    modules = re.findall(r"^module \\?([\w.]+)", (tmp_path / written[1]).read_text(), re.MULTILINE)
    assert all(module.startswith("lmu_accelerator_axi") for module in modules)
    manifest = json.loads((tmp_path / written[-1]).read_text())
    assert manifest["config"]["interface"] == "axi"
    assert AcceleratorConfig.from_dict(manifest["config"]) == plan.config
    assert "interface" not in native.config.to_dict()
    assert AcceleratorConfig.from_dict(native.config.to_dict()).interface is Interface.STREAM
    with pytest.raises(ValueError, match="interface must be one of stream, axi, spi, not 'wishbone'"):
        AcceleratorConfig(interface="wishbone")


def test_the_wrapper_is_the_same_in_every_run():
    assert wrapper_verilog(plan_of("pulse", "axi")[0]) == wrapper_verilog(plan_of("pulse", "axi")[0])


def test_the_command_line_writes_the_wrapper(tmp_path):
    assert main(["verilog", "kws361", "--out", str(tmp_path), "--interface", "axi"]) == 0
    assert (tmp_path / "lmu_accelerator_axi.v").is_file()


def test_what_the_registers_have_no_room_for_is_refused():
    model = random_model(np.random.default_rng(1), layers=("dense",), inputs=1, units=257)
    with pytest.raises(ValueError, match="room for 256 labels, not for 257"):
        wrapper_verilog(make_plan(model, AcceleratorConfig(interface="axi")))


def test_the_page_is_the_table(request):
    page = request.config.rootpath / "docs" / "registers.md"
    assert page.read_text() == markdown()
    assert all(len(line) <= 120 for line in markdown().splitlines())


def test_registers_do_not_overlap():
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 256 for offset in offsets)


def test_the_checker_sees_broken_rules():
    rules = ChannelRules("r")
    assert rules.step(True, False, (1,)) is None
    assert rules.step(True, True, (1,)) is None
    assert rules.step(True, True, (2,)) is None
    assert rules.step(False, False, ()) is None
    assert rules.step(True, False, (3,)) is None
    assert rules.step(False, True, ()) == "r: valid fell before ready"
    assert rules.step(True, False, (3,)) is None
    assert rules.step(True, False, (4,)) == "r: payload changed from (3,) to (4,) before ready"
    resets = ResetRules("r")
    assert resets.step(True, True) is None
    assert resets.step(True, False) is None
    assert resets.step(True, True) == "r: valid after an edge in reset"
    assert resets.step(False, True) == "r: valid after an edge in reset"
    assert resets.step(False, True) is None
    responses = ResponseRules("b", 2)
    assert responses.step((True, False), False, True) is None
    assert responses.step((False, True), True, False) == "b: response without a request"
    assert responses.step((False, False), True, True) is None
    assert responses.step((True, True), True, True) == "b: response without a request"


FAULTS = {
    "interrupt upside down": ("utterance", r"assign irq = (\| [^;]+);", r"assign irq = ~(\1);", 1),
    "heard without its mask": ("utterance", r"assign heard = (\S+) +& (\S+) *;", r"assign heard = \1 | \2 ;", 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_bench_sees_a_fault(fault, tmp_path, monkeypatch):
    name, pattern, replacement, failing = FAULTS[fault]

    def change(wrapper):
        changed, count = re.subn(pattern, replacement, wrapper)
        assert count == 1
        return changed

    with pytest.raises(SimulatorError, match=rf"ran {TESTS} tests of axi_bench, {failing} failed"):
        simulate(Simulator.ICARUS, name, tmp_path, monkeypatch, change)
