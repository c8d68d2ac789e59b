"""Memory macros in the gate-level simulator against arrays, and memories by the names of the design."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import MacroMemory
from lmu_hw.cells.netlist import HIGH, LOW, Instance, Netlist
from lmu_hw.cells.sram import find_macro
from lmu_sim.gate_memory import StoredMemory
from lmu_sim.gates import GateError, GateSimulator

MACRO = "RM_IHPSG13_1P_64x64_c2_bm_bist"


@pytest.fixture(scope="module")
def cells(pdk):
    return read_liberty(pdk("ihp-sg13g2").macros).cells


def wired(cell, **ties):
    """A netlist of one macro: clock, controls, address, data and mask are ports."""
    macro = find_macro(cell)
    ports = {
        "clk": (macro.clock,),
        "enable": (macro.enable,),
        "read": (macro.read,),
        "write": (macro.write,),
        "address": macro.address,
        "data": macro.data_in[:32],
        "data_high": macro.data_in[32:],
        "mask": macro.mask[:32],
        "mask_high": macro.mask[32:],
    }
    nets, inputs = 2, {}
    pins = {pin: HIGH if level else LOW for pin, level in {**macro.ties, **ties}.items()}
    for name, group in ports.items():
        inputs[name] = tuple(range(nets, nets + len(group)))
        pins |= dict(zip(group, inputs[name], strict=True))
        nets += len(group)
    outputs = {"low": tuple(range(nets, nets + 32)), "high": tuple(range(nets + 32, nets + macro.width))}
    pins |= dict(zip(macro.data_out, (*outputs["low"], *outputs["high"]), strict=True))
    instance = Instance("memory_a.bank0_slice0", "memory_a", cell, pins)
    return Netlist("macro", inputs, outputs, (instance,), nets + macro.width, {})


def drawn(rng, cycles, runs):
    """Random accesses; a read beside a write now and then."""
    shape = (cycles, runs)
    return {
        "enable": (rng.random(shape) < 0.7).astype(np.int64),
        "read": rng.integers(0, 2, shape),
        "write": rng.integers(0, 2, shape),
        "address": np.where(rng.random((cycles, 1)) < 0.5, rng.integers(0, 4, (cycles, 1)), rng.integers(0, 4, shape)),
        **{name: rng.integers(0, 1 << 32, shape) for name in ("data", "data_high", "mask", "mask_high")},
    }


def model(given, run):
    """Outputs at the end of each cycle, and what the macro was asked for; inputs count from the next edge on."""
    words, out = [0] * 64, 0
    found, edges = [], np.zeros((2, 2, 2), dtype=np.int64)
    before = dict.fromkeys(given, 0)
    for cycle in range(len(given["enable"])):
        enable, write, read, address = (int(before[name]) for name in ("enable", "write", "read", "address"))
        data, mask = (int(before[name]) | int(before[f"{name}_high"]) << 32 for name in ("data", "mask"))
        edges[enable, write, read] += 1
        if enable and write:
            words[address] = words[address] & ~mask | data & mask
        if enable and read:
            out = words[address]
        found.append(out)
        before = {name: values[cycle, run] for name, values in given.items()}
    return np.array(found, dtype=np.uint64), edges, words


def test_macros_store_and_read_in_every_run(cells):
    netlist = wired(cells[MACRO])
    cycles, runs = 300, 5
    given = drawn(np.random.default_rng(1), cycles, runs)
    simulator = GateSimulator(netlist, runs=runs)
    found = simulator.run(given, cycles)
    out = found["low"].astype(np.uint64) | found["high"].astype(np.uint64) << np.uint64(32)
    counts = simulator.counts().accesses[0]
    total = np.zeros((2, 2, 2), dtype=np.int64)
    contents = simulator.peek_macro(0, 0, 4)
    for run in range(runs):
        expected, edges, words = model(given, run)
        np.testing.assert_array_equal(out[:, run], expected)
        for address in range(4):
            assert sum(int(bit) << place for place, bit in enumerate(contents[address, :, run])) == words[address]
        total += edges
    np.testing.assert_array_equal(counts.edges, total)


def test_changes_of_pins_are_told_apart_by_the_enable(cells):
    netlist = wired(cells[MACRO])
    cycles, runs = 200, 3
    given = drawn(np.random.default_rng(2), cycles, runs)
    simulator = GateSimulator(netlist, runs=runs)
    simulator.run({name: values[:50] for name, values in given.items()}, 50)
    simulator.start_counting()
    simulator.run({name: values[50:] for name, values in given.items()}, 150)
    activity = simulator.activity(1e-6)
    accesses = activity.accesses[0]
    assert accesses.edges.sum() == pytest.approx(1)
    assert accesses.reads + accesses.writes + accesses.idle == pytest.approx(1)
    for bit in range(6):
        bits = given["address"] >> bit & 1
        moved = bits[50:] != bits[49:-1]
        enabled = moved & (given["enable"][50:] == 1)
        assert accesses.enabled[f"A_ADDR[{bit}]"] * 150 * runs == pytest.approx(enabled.sum(), abs=1e-6)
        assert activity.toggles[netlist.inputs["address"][bit]] * 150 * runs == pytest.approx(moved.sum(), abs=1e-6)
    assert "A_CLK" not in accesses.enabled
    assert "A_BIST_EN" not in accesses.enabled


def test_only_chosen_runs_are_counted(cells):
    netlist = wired(cells[MACRO])
    cycles = 60
    given = drawn(np.random.default_rng(3), cycles, 2)
    both = GateSimulator(netlist, runs=2)
    both.count_runs([0])
    both.run({name: values[:20] for name, values in given.items()}, 20)
    both.count_runs([0, 1])
    both.run({name: values[20:] for name, values in given.items()}, 40)
    total = None
    for run, start in ((0, 0), (1, 20)):
        single = GateSimulator(netlist)
        alone = {name: values[:, run] for name, values in given.items()}
        single.run({name: values[:start] for name, values in alone.items()}, start)
        single.start_counting()
        single.run({name: values[start:] for name, values in alone.items()}, cycles - start)
        total = single.counts() if total is None else total + single.counts()
    counts = both.counts()
    assert counts.half_cycles == total.half_cycles == 2 * (60 + 40)
    np.testing.assert_array_equal(counts.toggles, total.toggles)
    np.testing.assert_array_equal(counts.high, total.high)
    np.testing.assert_array_equal(counts.accesses[0].edges, total.accesses[0].edges)
    assert counts.accesses[0].changes == total.accesses[0].changes
    assert counts.accesses[0].enabled == total.accesses[0].enabled


def test_a_saved_state_goes_on_alike(cells):
    netlist = wired(cells[MACRO])
    given = drawn(np.random.default_rng(4), 80, 1)
    whole = GateSimulator(netlist)
    whole.run({name: values[:40] for name, values in given.items()}, 40)
    state = whole.save()
    rest = {name: values[40:] for name, values in given.items()}
    expected = whole.run(rest, 40)
    other = GateSimulator(netlist, runs=3, compiled=whole.compiled)
    other.load(state, [0, 2])
    found = other.run({name: np.repeat(values, 3, axis=1) for name, values in rest.items()}, 40)
    for name in ("low", "high"):
        for run in (0, 2):
            np.testing.assert_array_equal(found[name][:, run], expected[name][:, 0])
    assert (found["low"][:, 1] != expected["low"][:, 0]).any()


def test_words_are_poked_through_the_memory(cells):
    cell = cells[MACRO]
    netlist = wired(cell)
    memory = StoredMemory(netlist, "memory_a", 60, 20)
    simulator = GateSimulator(netlist, runs=3)
    values = np.random.default_rng(5).integers(-(1 << 19), 1 << 19, (50, 3))
    memory.poke(simulator, 7, values)
    np.testing.assert_array_equal(memory.peek(simulator, 7, 50), values & (1 << 20) - 1)
    memory.poke(simulator, 7, np.zeros(50, dtype=np.int64), runs=[1])
    assert not memory.peek(simulator, 7, 50)[:, 1].any()
    np.testing.assert_array_equal(memory.peek(simulator, 7, 50)[:, 2], values[:, 2] & (1 << 20) - 1)
    with pytest.raises(GateError, match="memory_a has 60 words, not 50 from address 11 on"):
        memory.poke(simulator, 11, values)


def test_slices_and_banks_make_one_memory(cells):
    cell = cells[MACRO]
    single = wired(cell)
    names = ["memory_a.bank1_slice0", "memory_a.bank0_slice1", "memory_a.bank0_slice0", "memory_a.bank1_slice1"]
    instances = tuple(replace(single.instances[0], name=name) for name in names)
    netlist = Netlist("banks", single.inputs, single.outputs, instances[:1], single.nets, {})
    # The outputs cannot share nets; each macro keeps its own.
    made, nets = [], single.nets
    for instance in instances:
        pins = dict(instance.nets)
        for pin in find_macro(cell).data_out:
            pins[pin], nets = nets, nets + 1
        made.append(replace(instance, nets=pins))
    netlist = Netlist("banks", single.inputs, {}, tuple(made), nets, {})
    memory = StoredMemory(netlist, "memory_a", 100, 80)
    simulator = GateSimulator(netlist, runs=2)
    bits = np.random.default_rng(6).integers(0, 2, (100, 80, 2))
    memory.poke_bits(simulator, 0, bits)
    np.testing.assert_array_equal(simulator.peek_macro(0, 0, 36), bits[64:, :64])
    np.testing.assert_array_equal(simulator.peek_macro(1, 0, 64)[:, :16], bits[:64, 64:])
    np.testing.assert_array_equal(simulator.peek_macro(2, 0, 64), bits[:64, :64])
    np.testing.assert_array_equal(simulator.peek_macro(3, 0, 36)[:, :16], bits[64:, 64:])


def test_what_cannot_be_is_refused(cells):
    cell = cells[MACRO]
    netlist = wired(cell)
    with pytest.raises(GateError, match="neither flip-flops nor macros of the memory memory_b"):
        StoredMemory(netlist, "memory_b", 4, 4)
    nameless = replace(netlist, instances=(replace(netlist.instances[0], name="memory_a.ram"),))
    with pytest.raises(GateError, match=r"the name of the macro memory_a\.ram does not tell bank and slice"):
        StoredMemory(nameless, "memory_a", 4, 4)
    with pytest.raises(GateError, match=r"the pin A_BIST_EN of .* must be held at 0"):
        GateSimulator(wired(cell, A_BIST_EN=1))
    rom = replace(cell, memory=MacroMemory("rom", 6, 64))
    with pytest.raises(GateError, match="is not simulated: its pins are not known"):
        GateSimulator(replace(netlist, instances=(replace(netlist.instances[0], cell=rom),)))
    simulator = GateSimulator(netlist)
    with pytest.raises(GateError, match="has 64 words, not 2 from address 63 on"):
        simulator.peek_macro(0, 63, 2)
    with pytest.raises(GateError, match="instance 5 is not a memory macro"):
        simulator.peek_macro(5, 0, 1)
    with pytest.raises(GateError, match="no flip-flop drives net"):
        simulator.poke([netlist.inputs["address"][0]], np.zeros((1, 1), dtype=np.int64))
