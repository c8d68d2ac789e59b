"""A library of three cells with its LEF, and a netlist of it that a person can lay out by hand."""

from pathlib import Path

import pytest

from lmu_hw.cells.lef import Lef, read_lef
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import HIGH, Instance, Netlist

LIBERTY = """
library(tiny) {
  capacitive_load_unit (1, ff);
  time_unit : "1ns";
  voltage_unit : "1V";
  nom_voltage : 1.0;
  nom_temperature : 25;
  leakage_power_unit : "1nW";
  default_cell_leakage_power : 1;
  cell(INV) {
    area : 4;
    pin(A) { direction : input; capacitance : 2; }
    pin(Y) { direction : output; function : "!A"; timing() { related_pin : "A"; } }
  }
  cell(NAND) {
    area : 8;
    pin(A) { direction : input; capacitance : 2; }
    pin(B) { direction : input; capacitance : 3; }
    pin(Y) { direction : output; function : "!(A B)"; timing() { related_pin : "A B"; } }
  }
}
"""

LEF = """
VERSION 5.8 ;
UNITS
  CAPACITANCE PICOFARADS 1 ;
  DATABASE MICRONS 1000 ;
END UNITS
SITE core
  CLASS CORE ;
  SIZE 0.5 BY 2.0 ;
END core
LAYER metal1
  TYPE ROUTING ;  # a comment ; with a semicolon
  WIDTH 0.2 ;
  CAPACITANCE CPERSQDIST 3E-5 ;
  EDGECAPACITANCE 4E-5 ;
END metal1
Via via1 DEFAULT
  LAYER metal1 ;
    RECT -0.1 -0.1 0.1 0.1 ;
END via1
MACRO INV
  CLASS CORE ;
  SIZE 2.0 BY 2.0 ;
  SITE core ;
  PIN A
    DIRECTION INPUT ;
    PORT
      LAYER metal1 ;
        RECT 0.0 0.0 0.5 1.0 ;
        RECT 0.0 1.0 0.5 2.0 ;
    END
  END A
  PIN Y
    DIRECTION OUTPUT ;
    PORT
      LAYER metal1 ;
        POLYGON 1.5 0.0 2.0 0.0 2.0 1.0 1.5 1.0 ;
    END
  END Y
  PIN VSS
    USE GROUND ;
    PORT
      LAYER metal1 ;
        RECT 0 0 2 0.1 ;
    END
  END VSS
  OBS
    LAYER metal1 ;
      RECT 0 0 1 1 ;
  END
END INV
MACRO NAND
  CLASS CORE ;
  SIZE 4.0 BY 2.0 ;
  SITE core ;
  PIN A
    PORT
      LAYER metal1 ;
        RECT 0 0 1 1 ;
    END
  END A
  PIN B
    PORT
      LAYER metal1 ;
        RECT 1 1 2 2 ;
    END
  END B
  PIN Y
    PORT
      LAYER metal1 ;
        RECT 3 0 4 1 ;
    END
  END Y
END NAND
END LIBRARY
"""


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Liberty and LEF."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.lib").write_text(LIBERTY)
    (folder / "tiny.lef").write_text(LEF)
    return folder / "tiny.lib", folder / "tiny.lef"


@pytest.fixture(scope="session")
def tiny_library(tiny_files: tuple[Path, Path]) -> Library:
    return read_liberty([tiny_files[0]])


@pytest.fixture(scope="session")
def tiny_lef(tiny_files: tuple[Path, Path]) -> Lef:
    return read_lef([tiny_files[1]])


@pytest.fixture
def tiny_netlist(tiny_library: Library) -> Netlist:
    """Two inverters and a gate: q = !(!d[0] !d[1]), and the second input of another gate is 1."""
    cells = tiny_library.cells
    d0, d1, n0, n1, q, r = range(2, 8)
    return Netlist(
        "tiny",
        {"d": (d0, d1)},
        {"q": (q,), "r": (r,)},
        (
            Instance("u0", "a", cells["INV"], {"A": d0, "Y": n0}),
            Instance("u1", "a", cells["INV"], {"A": d1, "Y": n1}),
            Instance("u2", "b", cells["NAND"], {"A": n0, "B": n1, "Y": q}),
            Instance("u3", "b", cells["NAND"], {"A": n0, "B": HIGH, "Y": r}),
        ),
        8,
        {n0: "n0", n1: "n1"},
        {"d[0]": d0, "d[1]": d1, "n0": n0, "bus[1]": n1, "n1": n1, "q": q, "r": r},
    )
