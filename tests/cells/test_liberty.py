import gzip
import json

import numpy as np
import pytest

from lmu_hw.cells import liberty
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.liberty_groups import parse_groups
from lmu_hw.cells.liberty_text import LibertyReader
from lmu_hw.cells.library import LibertyError
from lmu_hw.cells.pdk import PdkError, find_corners, find_pdk

SMALL = """
/* a comment with a } in it */
library ("small") {
  time_unit : "1ps"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (2, ff);
  nom_voltage : 1.5; nom_temperature : 85;
  voltage_map (VDD, 1.25); voltage_map (VSS, 0);
  lu_table_template (by_both) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("10, 30"); index_2 ("1, 2, 4"); }
  lu_table_template (by_load_first) { variable_1 : total_output_net_capacitance;
    variable_2 : input_net_transition; index_1 ("1, 2, 4"); index_2 ("10, 30"); }
  power_lut_template (by_slew) { variable_1 : input_transition_time; index_1 ("10, 30"); }
  cell (GATE) {
    area : 2.5; dont_use : true
    pg_pin (VDD) { voltage_name : VDD; pg_type : primary_power; }
    pg_pin (VSS) { voltage_name : VSS; pg_type : primary_ground; }
    cell_leakage_power : 3;
    leakage_power () { value : 4; when : "A & !B"; related_pg_pin : VDD; }
    leakage_power () { value : 5; }
    pin (A, B) { direction : input; capacitance : 1.5; rise_capacitance : 1.75;
      rise_capacitance_range (1.0, 2.5); max_transition : 300;
      internal_power () { when : "B"; rise_power (by_slew) { values ("1, 3"); } fall_power (scalar) { values (2); } }
    }
    pin (Y) { direction : output; function : "!(A*B)"; related_power_pin : VDD; max_capacitance : 50;
      timing () { related_pin : "A B"; timing_sense : negative_unate;
        cell_rise (by_both) { values ("1, 2, 3", \\
                                      "4, 5, 6"); }
        rise_transition (by_load_first) { index_2 ("20, 40"); values ("1, 4", "2, 5", "3, 6"); }
      }
      timing () { related_pin : A; timing_type : setup_rising; rise_constraint (scalar) { values ("1"); } }
      internal_power () { related_pin : "A"; related_pg_pin : VDD; rise_power (by_both) { values ("1,2,3", "4,5,6"); } }
    }
  }
  cell (FLOP) {
    ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; clear : "!R"; }
    pin (CK) { direction : input; clock : true; capacitance : 1; }
    pin (D) { direction : input; capacitance : 1; } pin (R) { direction : input; capacitance : 1; }
    pin (Q) { direction : output; function : "IQ"; }
    test_cell () { pin (Q) { direction : output; function : "wrong"; } }
  }
  type (word) { base_type : array; data_type : bit; bit_width : 3; bit_from : 2; bit_to : 0; downto : true; }
  cell (RAM) {
    memory () { type : ram; address_width : 4; word_width : 3; }
    bus (D) { bus_type : word; direction : input; capacitance : 3;
      pin (D[1]) { capacitance : 5; }
      pin (D[2:0]) { internal_power () { when : "EN"  rise_power (scalar) { values (7); } } }
    }
    pin (EN) { direction : input; capacitance : 1; }
  }
}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.lib"
    path.write_text(SMALL)
    return path


def test_everything_is_in_si_units(small):
    library = read_liberty(small)
    assert (library.name, library.voltage, library.temperature) == ("small", 1.5, 85)
    gate = library.cells["GATE"]
    assert gate.area == 2.5
    assert gate.dont_use
    assert gate.leakage == pytest.approx(3e-9)
    assert [(one.power, one.supply) for one in gate.leakages] == [
        (pytest.approx(4e-9), "VDD"),
        (pytest.approx(5e-9), ""),
    ]
    assert gate.leakages[0].when.pins == ("A", "B")
    assert gate.supplies == {"VDD": 1.25, "VSS": 0}
    pin = gate.pins["A"]
    assert (pin.rise_capacitance, pin.fall_capacitance) == pytest.approx((3.5e-15, 3e-15))
    assert (pin.upper_rise_capacitance, pin.upper_fall_capacitance) == pytest.approx((5e-15, 3e-15))
    assert pin.max_transition == pytest.approx(300e-12)
    assert pin.power[0].rise(20e-12, 0) == pytest.approx(2 * 2e-15)
    assert pin.power[0].fall(1, 1) == pytest.approx(2 * 2e-15)
    out = gate.pins["Y"]
    assert out.voltage == 1.25
    assert out.max_capacitance == pytest.approx(100e-15)
    assert [arc.related for arc in out.timing] == ["A", "B"]
    assert gate.inputs == ("A", "B")
    assert gate.outputs == ("Y",)


def test_tables_interpolate_and_extend(small):
    arc = read_liberty(small).cells["GATE"].pins["Y"].timing[0]
    slews, loads = np.array([10, 20, 30, 50, 0]) * 1e-12, np.array([2, 6, 8, 16, 0]) * 1e-15
    np.testing.assert_allclose(arc.delay_rise(slews, loads) * 1e12, [1, 4, 6, 11, -1.5])
    np.testing.assert_allclose(arc.slew_rise(slews, loads) * 1e12, [-0.5, 2.5, 4.5, 9.5, -3])
    assert arc.delay_fall is None


def test_flip_flops_and_memories(small):
    cells = read_liberty(small).cells
    (state,) = cells["FLOP"].sequentials
    assert (state.kind, state.state, state.inverse) == ("ff", "IQ", "IQN")
    assert (state.clear.text, state.preset) == ("!R", None)
    assert cells["FLOP"].pins["Q"].function.text == "IQ"
    ram = cells["RAM"]
    assert (ram.memory.kind, ram.memory.address_width, ram.memory.word_width) == ("ram", 4, 3)
    assert list(ram.pins) == ["D[0]", "D[1]", "D[2]", "EN"]
    assert [ram.pins[f"D[{bit}]"].rise_capacitance for bit in range(3)] == pytest.approx([6e-15, 10e-15, 6e-15])
    assert all(ram.pins[f"D[{bit}]"].power[0].when.text == "EN" for bit in range(3))


def test_compressed_files_and_the_cache_give_the_same(small, tmp_path, cache, monkeypatch):
    packed = tmp_path / "small.lib.gz"
    packed.write_bytes(gzip.compress(SMALL.encode()))
    first = read_liberty(small)
    assert len(list((cache / "lmu-hw" / "liberty").iterdir())) == 1
    monkeypatch.setattr(liberty, "parse_groups", lambda text, where: pytest.fail("was read again"))
    second = read_liberty(packed)
    assert first.hashes == second.hashes
    assert second.cells["GATE"].pins["Y"].power[0].rise(10e-12, 2e-15) == pytest.approx(2e-15)


def test_a_broken_cache_file_is_replaced(small, cache):
    read_liberty(small)
    (stored,) = (cache / "lmu-hw" / "liberty").iterdir()
    stored.write_bytes(b"PK nothing")
    assert read_liberty(small).cells["GATE"].area == 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module x; endmodule", r"x\.lib:1: is not a Liberty file that can be read: a statement was expected"),
        ("library (a) { cell (b) { area : 1; }", "is not a Liberty file that can be read"),
        (SMALL.replace("(2, ff)", '(1, "mf")'), "cannot read capacitive_load_unit"),
        ("cell (a) { }", "has no library group"),
        (
            SMALL.replace('values ("1, 3")', 'values ("1, 3, 4")'),
            "a table has 3 values for 2 transition times and 1 loads",
        ),
    ],
)
def test_what_is_not_liberty_is_refused(tmp_path, text, message):
    path = tmp_path / "x.lib"
    path.write_text(text)
    with pytest.raises(LibertyError, match=message):
        read_liberty(path)


def test_files_of_two_corners_are_refused(small, tmp_path):
    other = tmp_path / "other.lib"
    other.write_text(SMALL.replace("nom_voltage : 1.5", "nom_voltage : 1.2").replace("GATE", "GATE2"))
    with pytest.raises(LibertyError, match=r"other\.lib: is for 1\.2 V, .*small\.lib for 1\.5 V"):
        read_liberty([small, other])
    with pytest.raises(LibertyError, match="no Liberty file was given"):
        read_liberty([])
    with pytest.raises(LibertyError, match="cannot be read"):
        read_liberty(tmp_path / "missing.lib")


REAL = {
    "ihp-sg13g2": (84, 1.2), "sky130A": (428, 1.8), "nangate45": (134, 1.1), "asap7": (202, 0.7), "osu018": (32, 1.8)
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_libraries_are_read(pdk, name):
    library = read_liberty(pdk(name).cells)
    assert (len(library.cells), library.voltage) == REAL[name]
    logic = [cell for cell in library.cells.values() if cell.sequentials]
    assert logic
    assert all(pin.function is None or pin.function.pins is not None for c in logic for pin in c.pins.values())
    powers = [one for cell in library.cells.values() for pin in cell.pins.values() for one in pin.power]
    assert all(one.when is None or one.when.pins for one in powers)
    energies = [float(one.rise(2e-11, 1e-15)) for one in powers if one.rise is not None]
    assert 1e-17 < np.median(np.abs(energies)) < 1e-13


def test_memory_macros_are_read(pdk):
    path = next(path for path in pdk("ihp-sg13g2").macros if "1P_1024x64_" in path.name)
    (cell,) = read_liberty(path).cells.values()
    assert (cell.memory.address_width, cell.memory.word_width) == (10, 64)
    reads = [one for one in cell.pins["A_CLK"].power if one.when is not None and "A_REN" in one.when.pins]
    assert 20e-12 < max(float(one.rise(1e-10, 0)) for one in reads) < 500e-12
    assert sum(name.startswith("A_DOUT[") for name in cell.pins) == 64


def test_pdk_folders_are_found(pdk):
    ihp = pdk("ihp-sg13g2")
    assert ihp.node == 130
    assert len(ihp.cells) == 1
    assert len(ihp.macros) >= 18
    assert ihp.models is not None
    assert len(pdk("asap7").cells) == 5


def test_pdk_folders_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("PDK_ROOT", raising=False)
    with pytest.raises(PdkError, match="PDK_ROOT must name the folder that holds sky130A"):
        find_pdk("sky130A")
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    with pytest.raises(PdkError, match=r"the folder .*sky130A was expected, PDK_ROOT holds nothing"):
        find_pdk("sky130A")
    (tmp_path / "sky130A").mkdir()
    with pytest.raises(
        PdkError, match=r"Liberty files \(\*\.lib, \*\.lib\.gz\) were expected in .*sky130_fd_sc_hd/lib"
    ):
        find_pdk("sky130A")
    cells = tmp_path / "ihp-sg13g2/libs.ref/sg13g2_stdcell/lib"
    cells.mkdir(parents=True)
    (cells / "sg13g2_stdcell_typ_1p20V_25C.lib").write_text(SMALL)
    with pytest.raises(PdkError, match=r"is for the corner 'slow', there are sg13g2_stdcell_typ_1p20V_25C"):
        find_pdk("ihp-sg13g2", tmp_path, corner="slow")
    flat = tmp_path / "mine"
    flat.mkdir()
    (flat / "cells.lib").write_text(SMALL)
    assert find_pdk("mine").cells == (flat / "cells.lib",)
    monkeypatch.setattr("lmu_hw.cells.pdk.OSU_FILE", tmp_path / "osu.lib")
    with pytest.raises(PdkError, match="apt-get install qflow-tech-osu018"):
        find_pdk()


@pytest.mark.parametrize(
    ("name", "corner"), [("ihp-sg13g2", "typ_1p20V_25C"), ("sky130A", "tt_025C_1v80"), ("asap7", "RVT_TT")]
)
def test_corners_of_published_kits_are_found(pdk, name, corner):
    root = pdk(name).cells[0].parents[3 if name != "asap7" else 1].parent
    assert corner in find_corners(name, root)


def test_corners_are_told_apart(tmp_path):
    assert find_corners() == ()
    cells, macros = (tmp_path / "ihp-sg13g2/libs.ref" / name / "lib" for name in ("sg13g2_stdcell", "sg13g2_sram"))
    for folder in (cells, macros):
        folder.mkdir(parents=True)
    names = ("fast_1p32V_m40C", "slow_1p08V_125C", "slow_1p35V_125C", "typ_1p20V_25C")
    for name in names:
        text = SMALL.replace("nom_voltage", f"default_operating_conditions : {name}; nom_process : 2; nom_voltage")
        (cells / f"sg13g2_stdcell_{name}.lib").write_text(text)
    for name in names[1:]:
        (macros / f"RM_IHPSG13_1P_64x64_c2_bm_bist_{name}.lib").write_text(SMALL)
    assert find_corners("ihp-sg13g2", tmp_path) == names
    pdk = find_pdk("ihp-sg13g2", tmp_path, "slow_1p08V_125C")
    assert [path.name for path in pdk.cells] == ["sg13g2_stdcell_slow_1p08V_125C.lib"]
    assert len(pdk.macros) == 1
    library = read_liberty(pdk.cells)
    assert (library.corner, library.process, library.voltage, library.temperature) == ("slow_1p08V_125C", 2, 1.5, 85)
    with pytest.raises(PdkError, match="'slow' may be any of the corners slow_1p08V_125C, slow_1p35V_125C of ihp"):
        find_pdk("ihp-sg13g2", tmp_path, "slow")
    with pytest.raises(PdkError, match=r"no macro in .*sg13g2_sram/lib is for the corner 'fast_1p32V_m40C'"):
        find_pdk("ihp-sg13g2", tmp_path, "fast_1p32V_m40C")
    with pytest.raises(PdkError, match="osu018 has one corner only, not 'slow'"):
        find_pdk(corner="slow")


def test_the_description_is_plain_json(small):
    reader = LibertyReader(parse_groups(SMALL, "x"))
    assert json.loads(json.dumps(reader.read()))["name"] == "small"
