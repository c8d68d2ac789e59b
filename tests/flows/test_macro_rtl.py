"""Verilog with SRAM macros, and their models, in Icarus."""


import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.export.emit import to_verilog
from lmu_hw.flows.macro_rtl import macro_model, macros_of, memory_tilings, with_macros
from lmu_hw.flows.tiling import tile


@pytest.fixture(scope="module")
def library(pdk):
    ihp = pdk("ihp-sg13g2")
    return read_liberty((*ihp.cells, *ihp.macros))


def everything(plan, library):
    """Macros for all writable memories, also where flip-flops cost less."""
    found = {f"memory_{one.name}": one for one in (*plan.data_memories, *plan.weight_memories, plan.parameters)}
    found["logits"] = plan.output
    return {name: tile(library, max(2, one.depth), one.width, MemoryUsage()) for name, one in found.items()}


def test_every_memory_of_macros_is_bit_exact(small_plan, library, replay):
    plan = small_plan()
    tilings = everything(plan, library)
    models = "".join(macro_model(macro) for macro in macros_of(tilings).values())
    verilog = with_macros(to_verilog(plan), tilings)
    assert verilog.count(" cells [") == 0
    found, equal = replay(plan, verilog + models)
    assert found == equal


def test_a_wrong_macro_is_noticed(small_plan, library, replay):
    plan = small_plan()
    tilings = everything(plan, library)
    models = "".join(macro_model(macro) for macro in macros_of(tilings).values())
    broken = models.replace("A_DOUT <= cells[A_ADDR]", "A_DOUT <= cells[A_ADDR] ^ 1")
    assert broken != models
    found, equal = replay(plan, with_macros(to_verilog(plan), tilings) + broken)
    assert found != equal
    untied = with_macros(to_verilog(plan), tilings).replace(".A_DLY({1'b1})", ".A_DLY({1'b0})")
    assert "an input that is to be tied is not" in replay(plan, untied + models)[0]


def test_macros_are_taken_where_they_cost_less(small_plan, library):
    names = [memory.name for memory in small_plan().memories]
    slow = dict.fromkeys(names, MemoryUsage(clock=3e3))  # leakage counts more than accesses
    tilings = memory_tilings(small_plan(), library, slow)
    assert {"memory_parameters", "memory_weights8"} <= tilings.keys()
    assert "memory_x" not in tilings
    assert "memory_parameters" not in memory_tilings(small_plan(weights="rom"), library, slow)
    assert memory_tilings(small_plan(), library, {}) == {}


def test_a_memory_that_is_not_there_is_named(small_plan, library):
    tilings = {"memory_none": tile(library, 64, 8, MemoryUsage())}
    with pytest.raises(ValueError, match="the Verilog has 0 memories memory_none, 1 was expected"):
        with_macros(to_verilog(small_plan()), tilings)
