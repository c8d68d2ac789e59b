"""Placements: legal, even, deterministic, cached, with macros and ports where the floorplan says."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.cell_placement import OutlineError, find_outlines, measure_wires
from lmu_hw.cells.lef import Site, read_lef
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.cells.pdk import find_lef
from lmu_hw.flows import placer
from lmu_hw.flows.placer import CHANNEL, PlaceOptions, place_cells
from lmu_hw.tools import ToolError

MACRO = "RM_IHPSG13_1P_64x64_c2_bm_bist"


@pytest.fixture(scope="module")
def kit(pdk):
    process = pdk("ihp-sg13g2")
    return read_liberty((*process.cells, *process.macros)), read_lef(
        find_lef("ihp-sg13g2", process.cells[0].parents[4])
    )


def design(library, rows: int = 6, columns: int = 10, macros: int = 0) -> Netlist:
    """A mesh of NAND gates, each of which reads its neighbours on the left and below, and memory macros beside it."""
    nand, macro = library.cells["sg13g2_nand2_1"], library.cells[MACRO]
    first = 2 + rows + columns
    net = np.arange(rows * columns).reshape(rows, columns) + first
    instances = []
    for row in range(rows):
        for column in range(columns):
            left = net[row, column - 1] if column else 2 + row
            below = net[row - 1, column] if row else 2 + rows + column
            nets = {"A": int(left), "B": int(below), "Y": int(net[row, column])}
            instances.append(Instance(f"g{row}_{column}", f"row{row}", nand, nets))
    nets = first + rows * columns
    for index in range(macros):
        pins = {pin: int(net[index, k % columns]) for k, pin in enumerate(macro.inputs)}
        pins |= {pin: nets + k for k, pin in enumerate(macro.outputs)}
        nets += len(macro.outputs)
        instances.append(Instance(f"ram{index}", "ram", macro, pins))
    inputs = {"a": tuple(range(2, 2 + rows)), "b": tuple(range(2 + rows, first))}
    return Netlist("mesh", inputs, {"y": tuple(net[:, -1].tolist())}, tuple(instances), nets, {})


def check_legal(netlist, lef, placement) -> None:
    """Cells on sites of rows, none over another or over a macro's channel, all within the die."""
    outlines = find_outlines(netlist, lef)
    shapes = [outlines[instance.cell.name] for instance in netlist.instances]
    widths, heights = (np.array([getattr(shape, side) for shape in shapes]) for side in ("width", "height"))
    cells = ~placement.fixed
    sites = placement.x[cells] / placement.site.width
    assert np.allclose(sites, np.rint(sites))
    row = np.rint(placement.y[cells] / placement.site.height).astype(int)
    assert np.allclose(row * placement.site.height, placement.y[cells])
    assert placement.rows[0].sites * placement.site.width == pytest.approx(placement.die[2])
    turned = [name in ("FS", "S") for name, cell in zip(placement.orientations, cells, strict=True) if cell]
    assert turned == [placement.rows[index].flipped for index in row]
    margin = np.where(placement.fixed, CHANNEL, 0.0)
    left, bottom = placement.x - margin, placement.y - margin
    right, top = placement.x + widths + margin, placement.y + heights + margin
    small = 1e-6
    assert (left > -small).all()
    assert (bottom > -small).all()
    assert (right < placement.die[2] + small).all()
    assert (top < placement.die[3] + small).all()
    over = (left[:, None] < right - small) & (right[:, None] > left + small)
    over &= (bottom[:, None] < top - small) & (top[:, None] > bottom + small)
    np.fill_diagonal(over, False)
    assert not over.any()


def test_a_mesh_is_placed(kit, coloquinte, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library, lef = kit
    netlist, steps = design(library), []
    placement = place_cells(netlist, lef, PlaceOptions(effort=1), progress=lambda *step: steps.append(step))
    check_legal(netlist, lef, placement)
    assert steps[0] == ("placement", 0, 0)
    assert len(steps) > 3
    area = sum(instance.cell.area for instance in netlist.instances)
    assert 0.5 < area / placement.area <= 0.7
    wires = measure_wires(netlist, lef, placement)
    scattered = replace(placement, x=placement.x[::7].repeat(7)[:60], y=np.roll(placement.y, 31))
    assert wires.half_perimeter.sum() < 0.6 * measure_wires(netlist, lef, scattered).half_perimeter.sum()
    assert placement.source == (
        "placed by coloquinte, rows 70% full, height 1 times the width, inputs on the left and outputs on the right "
        "edge, seed 1"
    )
    # Again from the cache, without a process; another seed is another placement.
    monkeypatch.setattr(placer, "WORKER", "no.such.module")
    again = place_cells(netlist, lef, PlaceOptions(effort=1))
    assert np.array_equal(again.x, placement.x)
    with pytest.raises(ToolError, match=r"^coloquinte failed: .*No module named 'no'"):
        place_cells(netlist, lef, PlaceOptions(effort=1, seed=2))


def test_the_same_seed_gives_the_same_placement(kit, coloquinte, monkeypatch, tmp_path):
    library, lef = kit
    netlist, places = design(library, 3, 5), []
    for folder in ("a", "b"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / folder))
        placement = place_cells(netlist, lef, PlaceOptions(effort=1))
        places.append(json.dumps([placement.x.tolist(), placement.y.tolist(), placement.orientations]))
    assert places[0] == places[1]


def test_macros_stand_on_shelves(kit, coloquinte, monkeypatch, tmp_path):
    """Two of the widest fill a shelf each, from the top down, with a channel around."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library, lef = kit
    netlist = design(library, macros=2)
    placement = place_cells(netlist, lef, PlaceOptions(effort=1))
    check_legal(netlist, lef, placement)
    assert placement.fixed.nonzero()[0].tolist() == [60, 61]
    top = placement.die[3]
    shelf = lef.macros[MACRO].height + 2 * CHANNEL
    assert placement.x[60:].tolist() == [CHANNEL, CHANNEL]
    assert placement.y[60:] == pytest.approx([top - shelf + CHANNEL, top - 2 * shelf + CHANNEL])
    assert placement.orientations[60:] == ("N", "N")


def test_ports_stand_on_the_edges(kit, coloquinte):
    library, lef = kit
    netlist = design(library, 3, 5)
    placement = place_cells(netlist, lef, PlaceOptions(effort=1, density=0.5, aspect=2))
    width, height = placement.die[2:]
    assert 1.6 < height / width < 2.4
    pitch = height / 8
    assert placement.ports["a"] == tuple((0.0, pytest.approx(pitch * (k + 0.5))) for k in range(3))
    assert placement.ports["b"] == tuple((0.0, pytest.approx(pitch * (k + 0.5))) for k in range(3, 8))
    assert placement.ports["y"] == tuple(
        (pytest.approx(width), pytest.approx(height / 3 * (k + 0.5))) for k in range(3)
    )


def test_a_missing_placer_is_named(kit, monkeypatch):
    library, lef = kit
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"^coloquinte, which places cells, is not installed: pip install 'lmu-hw\[place\]'"
    with pytest.raises(ToolError, match=message):
        place_cells(design(library), lef)
    monkeypatch.setattr(placer, "PYTHON", (3, 13))
    with pytest.raises(ToolError, match=rf"{message}; it has no wheel for Python 3\.13, only up to 3\.12$"):
        place_cells(design(library), lef)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"density": 1.0}, "density must be a finite number in 0.05 to 0.95, not 1.0"),
        ({"density": "x"}, "density must be a number, not 'x'"),
        ({"aspect": 0}, "aspect must be a finite number in 0.1 to 10, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"effort": 10}, "effort must be in 1 to 9, not 10"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises((TypeError, ValueError)) as error:
        PlaceOptions(**option)
    assert str(error.value) == message


def test_cells_that_fit_no_rows_are_refused(kit):
    library, lef = kit
    netlist = design(library)
    with pytest.raises(OutlineError, match=r"^the LEF files must have one site for all cells, not CoreSite$"):
        place_cells(netlist, replace(lef, sites={}))
    high = {"CoreSite": Site("CoreSite", 0.48, 5.0, "CORE")}
    with pytest.raises(OutlineError, match=r"^cell sg13g2_nand2_1 is 3\.78 um high, the rows are 5 um$"):
        place_cells(netlist, replace(lef, sites=high))
