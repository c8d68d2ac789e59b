"""DEF: what is written reads back, files of other tools are read, wrong ones are refused with their line."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.cell_placement import CellPlacement, CellRow, measure_wires
from lmu_hw.cells.def_file import ORIENTATIONS, read_def, write_def
from lmu_hw.cells.tokens import FileFormatError

TURNS = ", ".join(ORIENTATIONS)
ROW = "a ROW with site, place and orientation was expected"

FOREIGN = """
VERSION 5.8 ;
DIVIDERCHAR "/" ;
BUSBITCHARS "[]" ;
DESIGN tiny ;
UNITS DISTANCE MICRONS 2000 ;
PROPERTYDEFINITIONS
  DESIGN x STRING "a ; b" ;
END PROPERTYDEFINITIONS
DIEAREA ( 0 0 ) ( 0 8000 ) ( 20000 8000 ) ( 20000 0 ) ;
ROW r0 core 0 0 N DO 20 BY 1 STEP 1000 0 ;
ROW r1 core 0 4000 FS DO 20 BY 1 STEP 1000 0 ;
TRACKS X 0 DO 10 STEP 100 LAYER metal1 ;
COMPONENTS 5 ;
- u0 INV + SOURCE NETLIST + PLACED ( 0 0 ) N ;
- u1 INV + PLACED ( 4000 4000 ) S ;
- u2 NAND + FIXED ( 8000 0 ) N + WEIGHT 3 ;
- u3 NAND + PLACED ( 12000 4000 ) FN ;
- fill_1 FILL + PLACED ( 0 0 ) N ;
END COMPONENTS
PINS 4 ;
- d[0] + NET d[0] + DIRECTION INPUT + USE SIGNAL + LAYER metal1 ( -10 0 ) ( 10 20 ) + PLACED ( 0 2000 ) E ;
- d\\[1\\] + NET d[1] + DIRECTION INPUT + PLACED ( 0 6000 ) N ;
- q + NET q + PORT + LAYER metal1 ( 0 0 ) ( 10 20 ) + FIXED ( 20000 2000 ) N ;
- r + NET r + PLACED ( 20000 6000 ) N ;
END PINS
NETS 1 ;
- n0 ( u0 Y ) ( u2 A ) + ROUTED metal1 ( 0 0 ) ( * 10 ) ;
END NETS
END DESIGN
"""


@pytest.fixture
def placement() -> CellPlacement:
    return CellPlacement(
        die=(0.0, 0.0, 10.0, 4.0),
        site=None,
        rows=(CellRow(0.0, 0.0, 20, False), CellRow(0.0, 2.0, 20, True)),
        x=np.array([0.0, 2.0, 4.0, 6.0]),
        y=np.array([0.0, 2.0, 0.0, 2.0]),
        orientations=("N", "S", "N", "FN"),
        fixed=np.array([False, False, True, False]),
        ports={"d": ((0.0, 1.0), (0.0, 3.0)), "q": ((10.0, 1.0),), "r": ((10.0, 3.0),)},
        source="by hand",
    )


def same(first: CellPlacement, second: CellPlacement) -> bool:
    return (
        (first.die, first.rows, first.orientations, first.ports)
        == (second.die, second.rows, second.orientations, second.ports)
        and np.array_equal(first.x, second.x)
        and np.array_equal(first.y, second.y)
        and np.array_equal(first.fixed, second.fixed)
    )


def with_plain_names(netlist):
    """The netlist as it reads back from its own Verilog."""
    return replace(netlist, instances=tuple(replace(one, name=f"i{k}") for k, one in enumerate(netlist.instances)))


def test_what_is_written_reads_back(tiny_netlist, tiny_lef, placement, tmp_path):
    placement = replace(placement, site=tiny_lef.sites["core"])
    path = tmp_path / "tiny.def"
    path.write_text(write_def(tiny_netlist, placement))
    again = read_def(path, with_plain_names(tiny_netlist), tiny_lef)
    assert same(placement, again)
    assert again.site == placement.site
    wires = [measure_wires(tiny_netlist, tiny_lef, one).steiner.tolist() for one in (placement, again)]
    assert wires[0] == wires[1]


def test_the_file_that_is_written(tiny_netlist, tiny_lef, placement):
    lines = write_def(tiny_netlist, replace(placement, site=tiny_lef.sites["core"])).splitlines()
    assert "DIEAREA ( 0 0 ) ( 10000 4000 ) ;" in lines
    assert "ROW ROW_1 core 0 2000 FS DO 20 BY 1 STEP 500 0 ;" in lines
    assert "- i2 NAND + FIXED ( 4000 0 ) N ;" in lines
    assert "- d_1 + NET n3 + DIRECTION INPUT + USE SIGNAL + PLACED ( 0 3000 ) N ;" in lines
    assert "- n4 ( i0 Y ) ( i2 A ) ( i3 A ) + USE SIGNAL ;" in lines
    assert not any(line.startswith("- n1 ") for line in lines)  # a constant


def test_a_file_of_another_tool(tiny_netlist, tiny_lef, placement, tmp_path):
    path = tmp_path / "other.def"
    path.write_text(FOREIGN)
    assert same(placement, read_def(path, tiny_netlist, tiny_lef))


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("MICRONS 2000", "MICRONS no", 6, "UNITS DISTANCE MICRONS and a number were expected, not DISTANCE MICRONS no"),
        ("UNITS DISTANCE MICRONS 2000 ;", "", 10, "UNITS was expected before the first place"),
        ("( 0 0 ) ( 0 8000 ) ( 20000 8000 ) ( 20000 0 )", "( 0 0 )", 10, "DIEAREA must have two corners or more"),
        ("DIEAREA ( 0 0 ) ( 0 8000 ) ( 20000 8000 ) ( 20000 0 ) ;", "", None, "has no DIEAREA"),
        ("core 0 0 N DO 20", "core 0 0 N DO many", 11, f"{ROW}, not r0 core 0 0 N DO many BY 1 STEP 1000 0"),
        ("PLACED ( 0 0 ) N ;\n- u1", "PLACED 0 0 N ;\n- u1", 15, "a place ( x y ) was expected, not 0 0 N"),
        ("4000 4000 ) S", "4000 4000 ) Q", 16, f"the orientation of u1 must be one of {TURNS}, not 'Q'"),
        ("- u1 INV", "- u0 INV", 16, "component u0 stands in line 15 too"),
        ("- u1 INV", "- u9 INV", None, "instance u1 of the netlist is missing"),
        ("- u1 INV + PLACED ( 4000 4000 ) S", "- u1 INV + UNPLACED", 16, "component u1 is not placed"),
        ("- u1 INV", "- u1 NAND", 16, "component u1 is a NAND, in the netlist a INV"),
        ("- u1 INV", "u1 INV", 16, "- or END was expected in COMPONENTS, not u1"),
        ("- q + NET", "- qq + NET", None, "port bit q[0] is missing or not placed"),
        ("END DESIGN\n", "", 29, "END DESIGN was expected before the file ends"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_line(tiny_netlist, tiny_lef, tmp_path, old, new, line, problem):
    assert old in FOREIGN
    path = tmp_path / "wrong.def"
    path.write_text(FOREIGN.replace(old, new, 1))
    with pytest.raises(FileFormatError) as error:
        read_def(path, tiny_netlist, tiny_lef)
    assert str(error.value) == (f"{path}: {problem}" if line is None else f"{path}:{line}: {problem}")
