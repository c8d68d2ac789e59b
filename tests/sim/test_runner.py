"""The runner's failures are loud: missing tools, sources that do not compile, wrong counts, time limits."""

import tempfile

import pytest

from lmu_hw import tools
from lmu_hw.tools import ToolError
from lmu_sim import runner
from lmu_sim.build_cache import BuildCache
from lmu_sim.runner import Simulator, SimulatorError, build, run

BENCH = "module bench; reg clk = 0; always #5 clk = !clk; initial #100000 $finish; endmodule\n"
TESTS = """
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def passes(dut):
    await Timer(20, "ns")

@cocotb.test()
async def also(dut):
    assert {second}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    def write(name, second):
        (tmp_path / f"{name}.py").write_text(TESTS.format(second=second))
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return write


def test_counts_are_checked(tmp_path, module):
    built = build(Simulator.ICARUS, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path / "builds"))
    good, bad = module("cocotb_good", True), module("cocotb_bad", False)
    run(built, good, 2, tmp_path / "run")
    with pytest.raises(SimulatorError, match=r"ran 2 tests of cocotb_good, 0 failed, 3 expected to pass"):
        run(built, good, 3, tmp_path / "run")
    with pytest.raises(SimulatorError, match=r"ran 2 tests of cocotb_bad, 1 failed"):
        run(built, bad, 2, tmp_path / "run")
    with pytest.raises(SimulatorError, match=r"failed to run|wrote no results|ran 1 tests"):
        run(built, "no_such_module", 2, tmp_path / "run")
    with pytest.raises(ValueError, match="expected must be at least 1, not 0"):
        run(built, good, 0, tmp_path / "run")


def test_variables_of_the_caller_change_nothing(tmp_path, module, monkeypatch):
    monkeypatch.setenv("COCOTB_TEST_FILTER", "matches_nothing")
    monkeypatch.setenv("WAVES", "1")
    built = build(Simulator.ICARUS, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path))
    run(built, module("cocotb_good", True), 2, tmp_path / "run")


def test_equal_sources_are_built_once(tmp_path):
    first = build(Simulator.ICARUS, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path))
    stamp = (first.folder / "sim.vvp").stat().st_mtime_ns
    assert build(Simulator.ICARUS, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path)) == first
    assert (first.folder / "sim.vvp").stat().st_mtime_ns == stamp
    assert build(Simulator.ICARUS, {"bench.v": BENCH + "\n"}, "bench", cache=BuildCache(tmp_path)) != first


@pytest.mark.parametrize("simulator", Simulator)
def test_bad_sources_are_reported(simulator, tmp_path):
    for _ in range(2):
        with pytest.raises(SimulatorError, match=rf"{simulator.value} failed to build(.|\n)*bench\.v"):
            build(simulator, {"bench.v": "module bench; nonsense endmodule\n"}, "bench", cache=BuildCache(tmp_path))


def test_time_limit(tmp_path, module):
    endless = "module bench; reg clk = 0; always #5 clk = !clk; endmodule\n"
    built = build(Simulator.ICARUS, {"bench.v": endless}, "bench", cache=BuildCache(tmp_path))
    (tmp_path / "cocotb_endless.py").write_text(
        "import cocotb\nfrom cocotb.triggers import Timer\n"
        "@cocotb.test()\nasync def endless(dut):\n    await Timer(10**6, 'sec')\n"
    )
    module("cocotb_good", True)
    with pytest.raises(SimulatorError, match="took more than 3 s to run"):
        run(built, "cocotb_endless", 1, tmp_path / "run", timeout=3)


@pytest.mark.parametrize("simulator", Simulator)
def test_a_missing_simulator_is_an_error_of_one_line(simulator, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_package_folder", lambda name: None)
    with pytest.raises(ToolError, match="install") as caught:
        build(simulator, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path / "builds"))
    assert "\n" not in str(caught.value)


def test_verilators_own_code_is_compiled_once_also_in_a_folder_with_a_space(tmp_path, module, monkeypatch):
    logs = []

    def start(job, log, *more, **options):
        right(job, log, *more, **options)
        logs.append(log.read_text())

    right = runner._start
    monkeypatch.setattr(runner, "_start", start)
    cache = BuildCache(tmp_path / "a b")
    for name in ("clk", "other"):
        sources = {"bench.v": f"module bench; reg {name} /*verilator public_flat_rw*/ = 0; endmodule\n"}
        built = build(Simulator.VERILATOR, sources, "bench", long_run=False, cache=cache)
    assert ["-o verilated.o" in log for log in logs] == [True, False]
    assert all("-o Vtop__ALL.o" in log for log in logs)
    run(built, module("cocotb_good", True), 2, tmp_path / "run c")


def test_verilator_refuses_a_temporary_folder_with_a_space(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    with pytest.raises(ToolError, match="cannot build in a folder with a space in its name: set TMPDIR to another"):
        build(Simulator.VERILATOR, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path))


def test_watch_is_called_while_the_simulator_runs(tmp_path, module, monkeypatch):
    monkeypatch.setattr(runner, "POLL_S", 0.01)
    calls = []
    built = build(Simulator.ICARUS, {"bench.v": BENCH}, "bench", cache=BuildCache(tmp_path))
    run(built, module("cocotb_good", True), 2, tmp_path / "run", watch=lambda: calls.append(1))
    assert calls
