"""Layouts of a small accelerator: ours is written and reads back as a user's would, to the same loads and energy."""

import re
from dataclasses import replace

import numpy as np
import pytest

import lmu_hw as lh
from lmu_hw.cells.conditions import NetWires
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.pdk import find_lef
from lmu_hw.cells.transitions import find_loads
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import clock_nets
from lmu_hw.power.clock_tree import has_clock_tree
from lmu_hw.power.designs import Cut, cut
from lmu_hw.power.report import CLOCK_TREE
from lmu_hw.progress import silent
from lmu_kit.layout import WIRE, LaidOut, wire_rule
from lmu_kit.power import Mapped, map_plan, rows_at, run_mapped
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames


@pytest.fixture(scope="module")
def mapped(pdk) -> Mapped:
    """A small accelerator in IHP's cells and macros."""
    process = pdk("ihp-sg13g2")
    library = read_liberty((*process.cells, *process.macros))
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    plan = make_plan(cut(model, Cut(1, 6, 1, 4)), AcceleratorConfig(lanes=2))
    return map_plan(plan, library, lh.operating_point(plan), silent)


@pytest.fixture(scope="module")
def lef(pdk):
    return find_lef("ihp-sg13g2", pdk("ihp-sg13g2").cells[0].parents[4])


def laid_out(mapped: Mapped, layout: lh.ChipLayout) -> Mapped:
    """The accelerator with a layout."""
    point = lh.operating_point(mapped.plan)
    described = (mapped.library, {"name": "ihp-sg13g2"})
    return replace(mapped, laid_out=lh.lay_out(mapped.plan, described, layout, point=point))


def energies(mapped: Mapped, delays: bool = False) -> dict[str, tuple[float, float]]:
    """Energy and leakage of each row for two frames of speech, which equal the golden model's."""
    frames = load_frames(zoo.path("kws361", "test.safetensors")).frames[:1, :2, :6]
    run = run_mapped(mapped, {"speech": frames}, silent, lh.FrameSimulation(delays))
    return {name: (row.frame, row.leakage) for name, row in rows_at(mapped, run, "speech", point(mapped)).items()}


def point(mapped: Mapped) -> lh.OperatingPoint:
    return lh.operating_point(mapped.plan)


@pytest.fixture(scope="module")
def by_hand(mapped) -> LaidOut:
    """Wires that differ from net to net, without a placement."""
    netlist = mapped.netlist
    return LaidOut(netlist, NetWires(np.arange(netlist.nets) % 97 * 1e-16, "by hand"))


@pytest.fixture(scope="module")
def written(by_hand, tmp_path_factory):
    """Files of that layout."""
    folder = tmp_path_factory.mktemp("layout")
    assert [path.name for path in lh.write_layout(by_hand, folder)] == ["layout.v", "layout.spef"]
    return folder


def test_the_rule_of_thumb(mapped):
    """Each reader adds sides of the mean cell; the clock network has its wires in the estimated tree."""
    netlist = mapped.netlist
    cells = [instance.cell for instance in netlist.instances if instance.cell.memory is None]
    side = np.sqrt(np.mean([cell.area for cell in cells]))
    readers = np.zeros(netlist.nets)
    for instance in netlist.instances:
        for pin in instance.cell.inputs:
            readers[instance.nets[pin]] += 1
    clocks = clock_nets(netlist, "clk")
    assert clocks.sum() > 3
    wires = wire_rule(netlist).capacitance
    assert not wires[clocks].any()
    assert wires[~clocks] == pytest.approx(readers[~clocks] * 0.2 * len(cells) ** (1 / 3) * side * WIRE)
    assert wire_rule(netlist, sides=3).capacitance[~clocks] == pytest.approx(readers[~clocks] * 3 * side * WIRE)
    assert re.match(
        r"rule of thumb: \S+ sides of the mean cell at 0\.2 fF/um, \S+ fF a reader$", mapped.conditions.wires.describe()
    )


def test_spef_and_verilog_read_back_to_the_same_loads_and_energy(mapped, by_hand, written):
    layout = lh.ChipLayout(netlist=written / "layout.v", spef=written / "layout.spef")
    again = laid_out(mapped, layout)
    netlist, aliases = mapped.netlist, again.netlist.aliases
    assert netlist.inputs.keys() == again.netlist.inputs.keys()
    assert [len(again.netlist.outputs[name]) for name in netlist.outputs] == list(map(len, netlist.outputs.values()))
    first, second = find_loads(netlist, by_hand.wires), find_loads(again.netlist, again.conditions.wires)
    read = sorted({instance.nets[pin] for instance in netlist.instances for pin in instance.cell.inputs} - {0, 1})
    there = [aliases[f"n{net}"] for net in read]
    assert second.largest[there] == pytest.approx(first.largest[read], rel=1e-9)
    before, after = energies(replace(mapped, laid_out=by_hand), delays=True), energies(again, delays=True)
    assert before.keys() == after.keys()
    for name, row in before.items():
        assert after[name] == pytest.approx(row, rel=1e-9), name
    assert again.conditions.wires.describe() == "wires of layout.spef, 100.0% of the nets"


def test_a_placement_reads_back_to_the_same_wires(mapped, lef, coloquinte, tmp_path):
    placed = laid_out(mapped, lh.ChipLayout(lh.PlaceOptions(effort=1), lef))
    own = placed.laid_out
    assert own is not None
    assert own.lengths is not None
    assert own.wires.capacitance == pytest.approx(own.lengths.steiner * WIRE)
    assert not own.wires.capacitance[clock_nets(own.netlist, "clk")].any()
    assert (own.lengths.steiner >= own.lengths.half_perimeter - 1e-9).all()
    assert re.match(
        r"placed by coloquinte, rows 70% full, .*, seed 1; Steiner trees of \S+ mm \(\S+ um a net, \S+ um a reader\) "
        r"at 0\.2 fF/um, without detours of the router$",
        own.wires.describe(),
    )
    files = lh.write_layout(own, tmp_path)
    assert [path.name for path in files] == ["layout.v", "layout.spef", "layout.def"]
    layout = lh.ChipLayout(lef=lef, netlist=tmp_path / "layout.v", placed=tmp_path / "layout.def")
    again = laid_out(mapped, layout).laid_out
    assert again is not None
    assert again.wires.capacitance.sum() == pytest.approx(own.wires.capacitance.sum(), rel=1e-6)
    assert again.wires.describe().startswith("placement of layout.def; Steiner trees of ")
    blocks = [instance.block for instance in own.netlist.instances]
    assert sorted(instance.block for instance in again.netlist.instances) == sorted(blocks)


def test_a_clock_tree_of_the_layout_takes_the_place_of_the_estimate(mapped, by_hand, written, tmp_path):
    """A buffer drives all clock pins that the port drove."""
    netlist = mapped.netlist
    clock = netlist.inputs["clk"][0]
    text = (written / "layout.v").read_text()
    text = re.sub(rf"\(n{clock}\)", "(root)", text)
    text = text.replace("endmodule", f"  wire root;\n  sg13g2_buf_16 cts (.A(n{clock}), .X(root));\nendmodule")
    (tmp_path / "tree.v").write_text(text)
    spef = (written / "layout.spef").read_text()
    (tmp_path / "tree.spef").write_text(f"{spef}\n*D_NET root 100\n*END\n")
    tree = laid_out(mapped, lh.ChipLayout(netlist=tmp_path / "tree.v", spef=tmp_path / "tree.spef"))
    assert has_clock_tree(tree.netlist)
    assert not has_clock_tree(netlist)
    assert next(one for one in tree.netlist.instances if one.name == "cts").block == "layout"
    before, after = energies(replace(mapped, laid_out=by_hand)), energies(tree)
    assert CLOCK_TREE in before
    assert CLOCK_TREE not in after
    assert after["other"][1] > 0  # leakage of the buffer
    assert after["clock"][0] > before["clock"][0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("module lmu_accelerator ", "module other ", r"layout\.v: has no module lmu_accelerator$"),
        ("  input rst_0;", "  input rst_9;", r"layout\.v: is not a netlist of sg13g2\S+: layout\.v:\d+: .*rst_9"),
        ("sg13g2_inv_1 ", "my_inv ", r"layout\.v: is not a netlist of sg13g2\S+: .*my_inv"),
    ],
)
def test_a_netlist_of_another_design_is_refused(mapped, written, tmp_path, old, new, message):
    text = (written / "layout.v").read_text()
    assert old in text
    (tmp_path / "layout.v").write_text(text.replace(old, new, 1))
    with pytest.raises(lh.InputError, match=message):
        laid_out(mapped, lh.ChipLayout(netlist=tmp_path / "layout.v", spef=written / "layout.spef"))


def test_missing_ports_and_macros_are_named(mapped, written, tmp_path):
    text = (written / "layout.v").read_text()
    path = tmp_path / "layout.v"
    path.write_text(text.replace("frame_error_0", "wrong_0"))
    layout = lh.ChipLayout(netlist=path, spef=written / "layout.spef")
    with pytest.raises(lh.InputError, match=r"layout\.v: output frame_error of 1 bits was expected, it is missing$"):
        laid_out(mapped, layout)
    macros = re.findall(r"^  (RM_IHPSG13\S+) i\d+ .*$", text, re.MULTILINE)
    assert macros
    path.write_text(re.sub(r"^  RM_IHPSG13.*\n", "", text, count=len(macros), flags=re.MULTILINE))
    with pytest.raises(lh.InputError, match=r"layout\.v: memory macros \d x RM_IHPSG13.* were expected, not none$"):
        laid_out(mapped, layout)


def test_files_that_do_not_go_together_are_refused(mapped):
    with pytest.raises(lh.InputError, match=r"^give SPEF or DEF, not both$"):
        lh.ChipLayout(netlist="a.v", spef="a.spef", placed="a.def")
    with pytest.raises(lh.InputError, match=r"^SPEF and DEF belong to a netlist: give its Verilog too$"):
        lh.ChipLayout(spef="a.spef")
    with pytest.raises(lh.InputError, match=r"a\.v: cannot be read: No such file"):
        laid_out(mapped, lh.ChipLayout(netlist="a.v", spef="a.spef"))
    with pytest.raises(lh.InputError, match=r"^place belongs to tier gates: the other tiers have no netlist$"):
        lh.estimate_power(mapped.plan, place=lh.ChipLayout())
