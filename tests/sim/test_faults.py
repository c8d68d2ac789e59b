"""The checker notices deliberate faults."""

import pytest

from lmu_hw.export.emit import to_verilog
from lmu_sim import faults
from lmu_sim.cosim import CosimOptions, cosimulate
from lmu_sim.faults import (
    FAULTS,
    Fault,
    FaultTrial,
    fault_plan,
    fault_stimulus,
    fault_table,
    fault_verilog,
    kill_rate,
    try_fault,
)
from lmu_sim.runner import Simulator

QUICK = ("weight bit", "dropped element", "stale hidden state", "no back pressure", "absent row", "tie rule")


def test_faults_are_many_and_different():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert sum(fault.level == "verilog" for fault in FAULTS) >= 6
    texts = {fault.verilog(fault_plan(), fault_verilog()) for fault in FAULTS}
    assert len(texts) == len(FAULTS)
    assert fault_verilog() == to_verilog(fault_plan())
    assert fault_verilog() not in texts


@pytest.mark.parametrize(
    ("word", "flipped"), [("31'h00ff", "31'h00fd"), ("32'd255", "32'd253"), ("8'hff", "8'hfd")]
)  # Yosys writes words of 32 bits in decimal
def test_a_bit_is_flipped_in_words_of_any_width(word, flipped):
    text = "module \\lmu_accelerator.memory (a);\n    cells[9] = {};\n    cells[10] = 8'h00;\nendmodule\n"
    assert faults.flip_bit(text.format(word), "memory", 9, 1) == text.format(flipped)


def test_the_sound_accelerator_passes():
    plan = fault_plan()
    result = cosimulate(plan, fault_stimulus(plan), CosimOptions(stalls="random", seed=faults.SEED))
    assert result.ok, result.report()
    assert all(result.saturated[name] for name in ("layer0.u", "layer0.m", "layer0.h"))
    assert result.blocks["frame_error"] == (36, 0)


@pytest.mark.parametrize("name", QUICK)
def test_fault(name):
    fault = next(fault for fault in FAULTS if fault.name == name)
    trial = try_fault(fault)
    assert trial.right, trial


@pytest.mark.slow
def test_every_fault():
    trials = [try_fault(fault) for fault in FAULTS]
    table = fault_table(trials)
    assert [trial.fault for trial in trials] == list(FAULTS)
    assert not [trial for trial in trials if not trial.right]
    real = sum(not fault.equivalent for fault in FAULTS)
    assert kill_rate(trials) == (real, real)
    assert table.endswith(f"{real} of {real} faults noticed.")


@pytest.mark.slow
def test_faults_in_verilator():
    for name in QUICK:
        fault = next(fault for fault in FAULTS if fault.name == name)
        assert try_fault(fault, Simulator.VERILATOR).right


def test_kill_rate_leaves_out_equivalent_faults():
    def sound(plan, verilog):
        return verilog

    real, same = Fault("a", "verilog", "", sound), Fault("b", "verilog", "", sound, "nobody can see it")
    trials = [FaultTrial(real, True, ""), FaultTrial(real, False, ""), FaultTrial(same, False, "")]
    assert kill_rate(trials) == (1, 2)
    assert [trial.right for trial in trials] == [True, False, True]
    assert not FaultTrial(same, True, "").right


def test_a_fault_that_changes_nothing_is_an_error():
    with pytest.raises(ValueError, match="changes nothing"):
        faults._text(lambda plan, verilog: verilog)(fault_plan(), fault_verilog())
    with pytest.raises(ValueError, match="matches"):
        faults._in_module(fault_verilog(), "lanes", "no such text", "")
