"""The SPI wrapper: bit-exact at any speed, through sleep, cut transfers and overruns; its Verilog and its page."""

import json
import re
import tempfile
from pathlib import Path

import pytest

from lmu_hw.export.emit import emit, to_verilog, wrapper_verilog
from lmu_hw.gateware.bus.rest import Rest
from lmu_hw.gateware.layouts import logit_layout
from lmu_hw.host.spi import markdown
from lmu_hw.model import program_file
from lmu_hw.tools import find_verilator, find_yosys, run_tool
from lmu_kit.cli.main import main
from lmu_sim.runner import Simulator, SimulatorError, build, run
from lmu_sim.testing.wrapper_bench import BENCH, bench_verilog
from tests.sim.interface_cases import CASES, described, plan_of

TESTS = 9
DEFAULT = "pulse", "slow"
NAME = "lmu_accelerator"


def simulate(simulator, name, directory, monkeypatch, change=lambda wrapper: wrapper):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    plan, case = described(name, "spi")
    wrapper = change(wrapper_verilog(plan))
    sources = {"core.v": to_verilog(plan), "wrapper.v": wrapper, "bench.v": bench_verilog(wrapper, f"{NAME}_spi")}
    built = build(simulator, sources, BENCH)
    program_file.save(plan.model, directory / "model.safetensors")
    case |= {
        "model": str(directory / "model.safetensors"),
        "score_signed": logit_layout(plan)["data"].shape.signed,
        "rest": Rest.cycles_of(plan),
        "overruns": name == "slow",
    }
    path = directory / "case.json"
    path.write_text(json.dumps(case))
    run(built, "spi_bench", TESTS, directory / "run", environment={"LMU_SPI_CASE": str(path)})


@pytest.mark.parametrize("name", DEFAULT)
def test_icarus(name, tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, name, tmp_path, monkeypatch)


def test_a_network_that_sleeps(tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, "asleep", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - set(DEFAULT)))
def test_icarus_with_the_other_accelerators(name, tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, name, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_verilator(name, tmp_path, monkeypatch):
    simulate(Simulator.VERILATOR, name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", DEFAULT)
def test_verilator_has_no_warning(name, tmp_path):
    emit(plan_of(name, "spi")[0], tmp_path, "spotter")
    output = run_tool(find_verilator(), ["--lint-only", "-Wall", "spotter.v", "spotter_spi.v"], tmp_path)
    assert "%Warning" not in output


def test_yosys_accepts_the_wrapper(request):
    build_folder = request.config.rootpath / "build"  # a Yosys with a `/tmp` of its own sees it too
    build_folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_folder) as folder:
        emit(plan_of("pulse", "spi")[0], folder, "spotter")
        script = (
            "read_verilog spotter.v spotter_spi.v; hierarchy -check -top spotter_spi; proc; check -assert; "
            "select -assert-none t:$dlatch* t:$adff* t:$aldff* t:$dffsr* t:$sr"
        )
        output = run_tool(find_yosys(), ["-Q", "-p", script], Path(folder))
    assert "Warning" not in output
    assert "Found and reported 0 problems" in output


def test_the_page_is_made_from_the_protocol(request):
    assert (request.config.rootpath / "docs" / "spi.md").read_text() == markdown()
    assert all(len(line) <= 140 for line in markdown().splitlines())


def test_the_command_line_writes_the_wrapper(tmp_path):
    assert main(["verilog", "kws361", "--levers", "plain", "--out", str(tmp_path), "--interface", "spi"]) == 0
    modules = re.findall(r"^module \\?([\w.]+)", (tmp_path / f"{NAME}_spi.v").read_text(), re.MULTILINE)
    assert {f"{NAME}_spi", f"{NAME}_spi.gate", f"{NAME}_spi.registers"} <= set(modules)


def test_the_clock_gate_can_be_replaced():
    wrapper = wrapper_verilog(plan_of("rom", "spi")[0])
    ports = re.search(rf"^module \\{NAME}_spi\.gate \(([^)]*)\);", wrapper, re.MULTILINE)
    assert sorted(ports[1].split(", ")) == ["clk", "enable", "gated"]


FAULTS = {
    "sleeps while it computes": (r"assign awake = \S+ +\| wakes;", "assign awake = wakes | rst;"),
    "replaces what is read": (r"= ~ reading;", "= 1'b1;"),
    "sees no overrun": (r"assign overrun = [^;]+;", "assign overrun = 1'b0;"),
    "takes elements at once": (r"assign ends = [^;]+;", "assign ends = 1'b0;"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_bench_sees_a_fault(fault, tmp_path, monkeypatch):
    def change(wrapper):
        changed, count = re.subn(*FAULTS[fault], wrapper)
        assert count == 1
        return changed

    with pytest.raises(SimulatorError, match=rf"ran {TESTS} tests of spi_bench, \d+ failed"):
        simulate(Simulator.ICARUS, "slow", tmp_path, monkeypatch, change)
