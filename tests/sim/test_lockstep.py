"""Lockstep finds no difference where there is none, meets every kind of event, and names what differs."""

import dataclasses
import re

import numpy as np
import pytest

from lmu_hw.export.emit import to_verilog
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.config import AcceleratorConfig, Interface
from lmu_hw.plan.plan import make_plan
from lmu_sim.runner import SimulatorError
from lmu_sim.testing.lockstep import LockstepError, run_lockstep
from lmu_sim.testing.random_models import random_model

GATED = {"stop_clock": True, "gate_blocks": True, "control_reset": True, "skip_zero_elements": True}


def make(**config):
    model = random_model(np.random.default_rng(1), layers=("lmu", "dense"), units=4, memories=2, inputs=3)
    return make_plan(model, AcceleratorConfig(lanes=4, **config))


@pytest.fixture(scope="module")
def full():
    """Plan with every optional port, and its Verilog."""
    plan = make(weights="ram", state="pulse", smoothing=Smoothing((0,), 5, 1, 1, 1))
    return plan, to_verilog(plan)


@pytest.fixture(scope="module")
def gated():
    """Plan without optional ports whose clocks stop, and its Verilog."""
    plan = make(state="utterance", **GATED)
    return plan, to_verilog(plan)


def replaced(verilog: str, old: str, new: str) -> str:
    text, count = re.subn(old, new, verilog)
    assert count == 1
    return text


def test_a_plan_equals_itself_and_meets_every_event(full):
    plan, verilog = full
    result = run_lockstep(plan, verilog, to_verilog(plan, "renamed"), seed=2).check()
    words = sum(memory.depth for memory in (*plan.weight_memories, plan.parameters))
    assert result.difference is None
    assert result.cycles == 20_000 + 2 * words
    assert list(result.transfers) == ["i", "o_logits", "o_decision", "o_event", "i_load"]
    assert result.transfers["o_decision"] > 20
    assert 0 < result.transfers["o_event"] < result.transfers["o_decision"]
    assert result.transfers["o_logits"] > 3 * result.transfers["o_decision"]
    assert result.transfers["i_load"] > words
    assert min(result.frame_errors, result.clears, result.resets, result.cut_frames) > 0


def test_gated_clocks_run_without_optional_ports(gated):
    plan, verilog = gated
    result = run_lockstep(plan, verilog, verilog, cycles=4000).check()
    assert list(result.transfers) == ["i", "o_logits", "o_decision"]
    assert min(result.transfers.values()) > 0
    assert result.cycles == 4000
    assert result.clears == 0


def test_the_core_of_a_bus_is_compared(gated):
    plan, verilog = gated
    bus = dataclasses.replace(plan, config=dataclasses.replace(plan.config, interface=Interface.AXI))
    assert run_lockstep(bus, verilog, verilog, cycles=4000).check() == run_lockstep(plan, verilog, verilog, cycles=4000)


def test_a_seed_decides_the_input(gated):
    plan, verilog = gated
    runs = [run_lockstep(plan, verilog, verilog, cycles=1000, seed=seed) for seed in (2, 2, 3)]
    assert runs[0] == runs[1] != runs[2]


def test_the_cycle_and_both_values_are_named(gated):
    plan, verilog = gated
    inverted = replaced(verilog, r"\.frame_error\(frame_error\)", ".frame_error(sound)")
    counter = "  reg [31:0] passed = 0;\n  always @(posedge clk) passed <= passed + 1;\n"
    fault = f"{counter}  assign frame_error = sound ^ (passed == 321);\nendmodule"
    result = run_lockstep(plan, verilog, inverted.replace("endmodule", fault, 1), cycles=1000)
    assert result.difference is not None
    assert (result.difference.output, result.difference.cycle) == ("frame_error", 321)
    assert {result.difference.old, result.difference.new} == {"0", "1"}
    message = f"first difference: frame_error in cycle 321: old {result.difference.old}, new {result.difference.new}"
    with pytest.raises(LockstepError, match=re.escape(message)) as raised:
        result.check()
    assert raised.value.result is result


@pytest.mark.parametrize(
    ("old", "new", "outputs"),
    [
        (r"frame_error <= (\S+) ;", "frame_error <= 1'h0;", {"frame_error"}),
        (r"\.clear\(clear\)", ".clear(1'h0)", {"i_load__ready", "i__ready"}),
        (r"\(i_load__payload\[33:6\]\)", "(i_load__payload[32:6])", {"o_logits__payload", "o_decision__payload"}),
    ],
)
def test_a_fault_is_noticed(full, old: str, new: str, outputs: set[str]):
    plan, verilog = full
    result = run_lockstep(plan, verilog, replaced(verilog, old, new))
    assert result.difference is not None
    assert result.difference.output in outputs


def test_unknown_bits_are_a_difference(gated):
    plan, verilog = gated
    unknown = replaced(verilog, r"frame_error <= (\S+) ;", "frame_error <= 1'hx;")
    with pytest.raises(LockstepError, match=r"frame_error in cycle 9: old x, new x \(unknown bits\)"):
        run_lockstep(plan, unknown, unknown, cycles=100).check()


def test_a_run_without_a_decision_is_refused(gated):
    plan, verilog = gated
    with pytest.raises(LockstepError, match="no decision came in 10 cycles, so little was compared"):
        run_lockstep(plan, verilog, verilog, cycles=10).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "new_verilog must have one top module, not 0: none"),
        (lambda text: text + "\nmodule other (a);\nendmodule\n", "one top module, not 2: lmu_accelerator, other"),
        (
            lambda text: re.sub(r"\n  input clear;", "", text, count=1),
            "port clear of new_verilog is missing, but in the plan 1-bit input",
        ),
        (
            lambda text: re.sub(r"\n  output frame_error;", r"\n  output [1:0] frame_error;", text, count=1),
            "port frame_error of new_verilog is 2-bit output, but in the plan 1-bit output",
        ),
    ],
)
def test_verilog_of_another_accelerator_is_refused(full, change, message: str):
    plan, verilog = full
    with pytest.raises(ValueError, match=re.escape(message)):
        run_lockstep(plan, verilog, change(verilog))


def test_verilog_that_does_not_compile_is_refused(gated):
    plan, verilog = gated
    with pytest.raises(SimulatorError, match="icarus failed to build"):
        run_lockstep(plan, verilog, verilog.replace("endmodule", "  wire 3;\nendmodule", 1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cycles": 0}, ValueError, "cycles must be in 1 to 2147483647, not 0"),
        ({"seed": -1}, ValueError, "seed must be in 0 to 2147483647, not -1"),
        ({"cycles": 1.5}, TypeError, "cycles must be an integer, not 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(gated, options, error: type[Exception], message: str):
    plan, verilog = gated
    with pytest.raises(error, match=re.escape(message)):
        run_lockstep(plan, verilog, verilog, **options)
