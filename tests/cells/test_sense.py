"""Libraries that make no sense are refused by file, line and attribute; what is legal, if rare, is read."""

import gzip
import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from lmu_hw import files
from lmu_hw.cells import liberty
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError, LibertyFileError
from lmu_hw.cells.special import mean_leakage
from lmu_hw.cells.sram import has_macros, why_unusable
from lmu_hw.cells.sram_model import add_sram_model
from lmu_kit.estimate import open_library

PLAIN = """library (t) {
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; capacitive_load_unit (1,pf);
  leakage_power_unit : "1nW";
  nom_process : 1; nom_temperature : 25; nom_voltage : 1.2;
  lu_table_template (t2) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0.1, 0.2"); index_2 ("0.01, 0.02"); }
  cell (INV) { area : 1; cell_leakage_power : 4;
    pin (A) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : "A"; cell_rise (t2) { values ("1, 2", "3, 4"); } }
      internal_power () { related_pin : "A"; when : "A"; rise_power (t2) { values ("1, 2", "3, 4"); } } } }
}
"""

CELLS = """
  cell (NAND) { area : 2; cell_leakage_power : 5;
    pin (A) { direction : input; capacitance : 0.002; } pin (B) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "!(A B)";
      timing () { related_pin : "A B"; cell_rise (t2) { values ("1, 2", "3, 4"); }
        rise_transition (t2) { values ("1, 2", "3, 4"); } } } }
  cell (DFF) { area : 5; cell_leakage_power : 9;
    ff (IQ, IQN) { next_state : "D"; clocked_on : "C"; }
    pin (D) { direction : input; capacitance : 0.002; }
    pin (C) { direction : input; clock : true; capacitance : 0.002; }
    pin (Q) { direction : output; function : "IQ"; } }
}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(tmp_path, text, name="x.lib"):
    path = tmp_path / name
    path.write_text(text)
    return read_liberty(path)


def without(pattern, put=""):
    assert re.search(pattern, PLAIN), pattern
    return re.sub(pattern, put, PLAIN, count=1)


REFUSED = {
    "no time unit": (without("time_unit : [^;]*;"), "x.lib:1: library (t): time_unit is missing"),
    "no voltage unit": (without("voltage_unit : [^;]*;"), "x.lib:1: library (t): voltage_unit is missing"),
    "no leakage unit": (without("leakage_power_unit : [^;]*;"), "x.lib:1: library (t): leakage_power_unit is missing"),
    "no load unit": (without("capacitive_load_unit [^;]*;"), "x.lib:1: library (t): capacitive_load_unit is missing"),
    "unit of nothing": (without('"1nW"', '"0nW"'), "cannot read leakage_power_unit '0nW'"),
    "unit of another kind": (without('"1nW"', '"1nA"'), "cannot read leakage_power_unit '1nA'"),
    "no voltage": (without("nom_voltage : 1.2;"), "nom_voltage is missing, and there are no operating_conditions with"),
    "voltage 0": (without("nom_voltage : 1.2", "nom_voltage : 0"), "voltage must be above 0 and at most 20 V, not 0 V"),
    "millivolts": (without("nom_voltage : 1.2", "nom_voltage : 1200"), "above 0 and at most 20 V, not 1200 V"),
    "two conditions": (
        without("nom_voltage : 1.2;", "operating_conditions (a) { voltage : 1; } operating_conditions (b) { }"),
        "nom_voltage is missing",
    ),
    "conditions that are not there": (
        without("nom_voltage : 1.2;", "default_operating_conditions : typ;"), "no operating_conditions 'typ' with one"
    ),
    "no capacitance": (
        without("capacitance : 0.002;"), "x.lib:8: cell (INV): capacitance of input A (rise and fall) must be above"
    ),
    "capacitance 0": (without("capacitance : 0.002", "capacitance : 0"), "must be above 0, not 0 F and 0 F"),
    "half a capacitance": (
        without("capacitance : 0.002", "rise_capacitance : 0.002"), "must be above 0, not 2e-15 F and none"
    ),
    "no leakage": (without("cell_leakage_power : 4;"), "the inverter INV leaks 0 W; 1e-18 to 0.001 W was expected"),
    "milliwatts": (without('"1nW"', '"1mW"'), "the inverter INV leaks 0.004 W; 1e-18 to 0.001 W was expected"),
    "leaks less than nothing": (without("power : 4", "power : -4"), "cell INV leaks -4e-09 W; at least 0 was expected"),
    "not a number": (without("area : 1", "area : big"), "x.lib:8: cell (INV): area must be a finite number, not 'big'"),
    "not finite": (without("power : 4", "power : nan"), "cell_leakage_power must be a finite number, not 'nan'"),
    "table of words": (
        without('"1, 2", "3, 4"', '"1, 2", "3, x"'), "x.lib:11: cell_rise (t2): values must be finite numbers"
    ),
    "table of another size": (
        without('"1, 2", "3, 4"', '"1, 2"'), "cell_rise (t2): a table has 2 values for 2 transition times and 2 loads"
    ),
    "axis that falls": (without('index_1 ."0.1, 0.2"', 'index_1 ("0.2, 0.1"'), "index_1 must rise, not '\"0.2, 0.1\"'"),
    "function": (without('"!A"', '"!(A"'), "x.lib:10: pin (Y): function must be a Boolean expression, not '!(A'"),
    "deep function": (without('"!A"', '"' + "(" * 10**5 + '"'), "function must be a Boolean expression, not '((((("),
    "condition": (without('when : "A"', 'when : "A %"'), "x.lib:12: internal_power (): when must be a Boolean"),
    "two tables": (
        without(r"(cell_rise \(t2\) \{[^}]*\})", r"\1 \1"), "x.lib:11: cell_rise (t2): is the second cell_rise"
    ),
    "two libraries": (PLAIN + PLAIN, "x.lib:14: library (t): is the second library where one was expected"),
    "two cells of a name": (without("cell .INV. {", "cell (INV) { } cell (INV) {"), "cell (INV): is the second cell"),
    "comment without an end": (PLAIN + "/* x", "x.lib:14: a comment has no end"),
    "cut short": (PLAIN[:-30], "x.lib:12: is not a Liberty file that can be read: a statement in rise_power (t2)"),
    "parenthesis without an end": ("library (" + "x" * 5000, "x.lib:1: is not a Liberty file that can be read"),
    "supply that is not there": (
        without("cell_leakage_power : 4;", "leakage_power () { value : 4; related_pg_pin : VX; }"),
        "x.lib:8: leakage_power (): related_pg_pin 'VX' is no pg_pin of the cell and not in voltage_map",
    ),
    "leakage without a value": (
        without("cell_leakage_power : 4;", "leakage_power () { }"), "leakage_power (): value is missing"
    ),
    "memory without a size": (
        without("area : 1;", "memory () { type : ram; word_width : 8; }"), "address_width must be an integer in 1 to 32"
    ),
    "endless bus": (
        without("pin .A.", "bus (A[0:999999999])"), "A has 1000000000 bits; at most 65536 are read"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(tmp_path, case):
    text, message = REFUSED[case]
    with pytest.raises(LibertyFileError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert caught.value.path == tmp_path / "x.lib"


READ = {
    "a blank behind a continuation": without('"1, 2", "3, 4"', '"1, 2", \\ \t\n "3, 4"'),
    "continuation in a string": without('"1, 2", "3, 4"', '"1, 2, \\\n 3, 4"'),
    "a line comment": "// Copyright \N{COPYRIGHT SIGN} /* of a foundry\n" + PLAIN,
    "comments everywhere": PLAIN.replace("\n", " // { ( \"\n").replace(";", "; /* } */"),
    "slashes in a string": without("delay_model", 'comment : "http://x /* y"; delay_model'),
    "byte order mark": "\ufeff" + PLAIN,
    "other line ends": PLAIN.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_legal_is_read(tmp_path, case):
    cell = read(tmp_path, READ[case]).cells["INV"]
    arc = cell.pins["Y"].timing[0]
    np.testing.assert_allclose(arc.delay_rise.values, [[1e-9, 2e-9], [3e-9, 4e-9]])
    assert (cell.area, cell.leakage) == (1, pytest.approx(4e-9))


def test_lines_are_counted_over_comments_and_continuations(tmp_path):
    text = "/* a\nb */ // c\n" + without('"1, 2", "3, 4"', '"1, 2", \\\n "3, 4"').replace("area : 1", "area : x")
    with pytest.raises(LibertyFileError, match=r"x\.lib:10: cell \(INV\): area") as caught:
        read(tmp_path, text)
    assert caught.value.line == 10


def test_comments_are_not_obeyed(tmp_path):
    text = without("nom_voltage : 1.2;", "nom_voltage : 1.2; /* voltage_map (VDD, 9); */ voltage_map (VDD, 1.1);\n//")
    text = text.replace("cell (INV) {", "cell (INV) { // voltage_map (VDD, 8);\n pg_pin (P) { voltage_name : VDD; }")
    text = '// time_unit : "1ps";\n' + text
    library = read(tmp_path, text.replace("//  lu", "\n lu"))
    assert library.cells["INV"].supplies == {"P": 1.1}
    assert library.time_unit == 1e-9


@pytest.mark.parametrize(
    ("conditions", "volts", "celsius"),
    [
        ("operating_conditions (typ) { temperature : 85; voltage : 1.1; }", 1.1, 25),
        ('operating_conditions ("t") { temperature : 85; voltage : 1.1; } default_operating_conditions :"t";', 1.1, 85),
        ("operating_conditions (t) { temperature : 85; } default_operating_conditions :t; nom_voltage : 1.3;", 1.3, 85),
        ("operating_conditions (typ) { voltage : 1.1; } nom_voltage : 1.3;", 1.3, 25),
    ],
)  # fmt: skip
def test_the_voltage_is_that_of_the_conditions(tmp_path, conditions, volts, celsius):
    library = read(tmp_path, without("nom_voltage : 1.2;", conditions))
    assert (library.voltage, library.temperature) == (volts, celsius)


@pytest.mark.parametrize(
    ("defaults", "leakage"),
    [
        ("default_cell_leakage_power : 7;", 7e-9),
        ("default_leakage_power_density : 3;", 6e-9),
        ("default_cell_leakage_power : 0; default_leakage_power_density : 3;", 6e-9),
    ],
)
def test_defaults_of_the_library_are_applied(tmp_path, defaults, leakage):
    text = without("cell_leakage_power : 4;").replace("area : 1", "area : 2").replace("capacitance : 0.002;", "")
    cell = read(tmp_path, text.replace("cell (", f"{defaults} default_input_pin_cap : 0.003; cell (")).cells["INV"]
    assert mean_leakage(cell) == pytest.approx(leakage)
    assert cell.pins["A"].fall_capacitance == pytest.approx(3e-15)


def test_leakage_is_that_of_the_supplies_above_zero(tmp_path):
    supplies = (
        "pg_pin (P) { voltage_name : P; pg_type : primary_power; } pg_pin (G) { voltage_name : G; pg_type : "
        "primary_ground; } pg_pin (B) { voltage_name : B; pg_type : backup_power; }"
    )
    states = "".join(
        f'leakage_power () {{ value : {value}; when : "{state}"; related_pg_pin : {supply}; }}'
        for supply, low, high in (("P", 2, 4), ("G", 2, 4), ("B", 10, 20))
        for value, state in ((low, "!A"), (high, "A"))
    )
    cell = read(tmp_path, without("cell_leakage_power : 4;", supplies + states)).cells["INV"]
    assert cell.supplies == {"P": 1.2, "G": 0.0, "B": 1.2}
    assert mean_leakage(cell) == pytest.approx(3e-9 + 15e-9)


def test_supplies_of_leakage_may_stand_in_the_map_only(tmp_path):
    text = without("cell_leakage_power : 4;", "".join(
        f"leakage_power () {{ value : 4; related_pg_pin : {supply}; }}" for supply in ("VDD", "VSS")
    ))  # fmt: skip
    cell = read(tmp_path, text.replace("cell (", "voltage_map (VDD, 1.2); voltage_map (VSS, 0); cell (")).cells["INV"]
    assert mean_leakage(cell) == pytest.approx(4e-9)


def other(tmp_path, name, old="", new=""):
    path = tmp_path / name
    path.write_text(PLAIN.replace("INV", "INV2").replace(old, new))
    return path


def test_cells_of_two_corners_are_refused(tmp_path):
    first = other(tmp_path, "a_tt_1p20V_25C.lib", "INV2", "INV")
    for name, old, new, message in (
        ("b.lib", "nom_temperature : 25", "nom_temperature : 100", "b.lib: is for 100 °C, "),
        ("c.lib", "nom_process : 1", "nom_process : 2", "c.lib: is for 2 as process factor, "),
        ("d.lib", "nom_voltage : 1.2", "nom_voltage : 1.1", "d.lib: is for 1.1 V, "),
        ("e_ss_1p20V_25C.lib", "", "", "e_ss_1p20V_25C.lib: is for the process corner ss, "),
    ):
        with pytest.raises(LibertyError, match=re.escape(message) + ".*a_tt_1p20V_25C.*give files of one corner"):
            read_liberty([first, other(tmp_path, name, old, new)])
    assert read_liberty([first, other(tmp_path, "f_tt_1p20V_25C.lib")]).remarks == ()


def test_cells_that_are_in_two_files_are_told(tmp_path):
    first, second = other(tmp_path, "a.lib"), other(tmp_path, "b.lib", "area : 1", "area : 3")
    library = read_liberty([first, second])
    assert library.cells["INV2"].area == 1
    assert library.remarks == (f"{second}: 1 of its cells are not used, such as INV2, which {first} has too",)


MACRO = PLAIN[: PLAIN.index("  cell")].replace("nom_temperature : 25", "nom_temperature : 100") + """
  cell (ram_4x1) { area : 100; cell_leakage_power : 30; memory () { type : ram; address_width : 2; word_width : 1; }
    pin (clk) { direction : input; clock : true; capacitance : 0.02; } }
}
"""


def test_a_macro_that_cannot_be_used_is_named_and_the_model_stays(tmp_path):
    cells, macro = tmp_path / "cells.lib", tmp_path / "macro.lib"
    slews = 'rise_transition (t2) { values ("1, 2", "3, 4"); } }'
    cells.write_text(PLAIN.replace('); } }\n      internal', f'); }} {slews}\n      internal').rstrip()[:-1] + CELLS)
    macro.write_text(MACRO)
    for files_given in ([cells, macro], [macro, cells]):
        library = read_liberty(files_given)
        assert (library.name, library.temperature) == ("t", 25)
        assert not has_macros(library)
        reason = "it lacks the pins A_CLK, A_MEN, A_REN, A_WEN and others"
        assert why_unusable(library) == {"ram_4x1": reason}
        modelled, described = open_library(liberty=files_given, macros="model")
        assert described["macros_are_a_model"]
        assert has_macros(modelled)
        assert described["remarks"] == [
            f"{macro}: is for 100 °C, {cells} for 25 °C; its macros are taken as they are",
            f"memory macro ram_4x1 is not used: {reason}",
        ]
    assert add_sram_model(modelled) is modelled


def test_an_altered_cache_is_made_anew(tmp_path, cache):
    read(tmp_path, PLAIN)
    (stored,) = (cache / "lmu-hw" / "liberty").iterdir()
    with np.load(stored) as arrays:
        altered = dict(arrays)
    altered["numbers"] = altered["numbers"] * 2
    np.savez(stored, **altered)
    again = read(tmp_path, PLAIN)
    np.testing.assert_allclose(again.cells["INV"].pins["Y"].timing[0].delay_rise.values, [[1e-9, 2e-9], [3e-9, 4e-9]])
    stored.write_bytes(stored.read_bytes()[:-7])
    assert read(tmp_path, PLAIN).cells["INV"].area == 1


def test_an_archive_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.lib.gz"
    path.write_bytes(gzip.compress(bytes(1 << 22)))
    monkeypatch.setattr(liberty, "MOST_TEXT", 1 << 20)
    with pytest.raises(LibertyFileError, match=r"x\.lib\.gz: cannot be read: has over 1 MiB when unpacked"):
        read_liberty(path)
    path.write_bytes(gzip.compress(PLAIN.encode())[:-20])
    with pytest.raises(LibertyFileError, match=r"x\.lib\.gz: cannot be read: "):
        read_liberty(path)
    assert files.MOST_TEXT == 1 << 28


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(
    strategies.lists(
        strategies.tuples(
            strategies.integers(0, len(PLAIN)),
            strategies.integers(0, 12),
            strategies.text('"\\{}();:,/*!A10.-e\n', max_size=4),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_damaged_library_is_read_or_refused_with_its_file(tmp_path_factory, read_or_refuse, changes):
    text = PLAIN
    for position, length, put in changes:
        text = text[:position] + put + text[position + length :]
    path = tmp_path_factory.mktemp("damaged") / "x.lib"
    path.write_text(text)
    read_or_refuse(read_liberty, path, LibertyFileError)


def test_handed_libraries(handed_cases):
    folder = handed_cases / "liberty"
    with pytest.raises(LibertyFileError, match=r"no_leak_unit\.lib:1: library \(t\): leakage_power_unit is missing"):
        read_liberty(folder / "no_leak_unit.lib")
    plain = read_liberty(folder / "plain.lib")
    assert read_liberty(folder / "no_nom_volt_oc.lib").voltage == plain.voltage == 1.2
    assert mean_leakage(read_liberty(folder / "default_leak.lib").cells["INV"]) == pytest.approx(7e-9)
    for name in ("bs_space.lib", "comment_line.lib"):
        table = read_liberty(folder / name).cells["INV"].pins["Y"].timing[0].delay_rise
        np.testing.assert_array_equal(table.values, plain.cells["INV"].pins["Y"].timing[0].delay_rise.values)


def test_a_handed_macro_beside_cells_leaves_the_model(handed_cases, standard_cells, tmp_path):
    macro = handed_cases / "liberty" / "foreign_macro.lib"
    library, described = open_library(liberty=[*standard_cells.files, macro], macros="model")
    assert described["macros_are_a_model"]
    assert has_macros(library)
    assert any("memory macro other_ram_256x32 is not used" in remark for remark in described["remarks"])
    assert any("100 °C" in remark for remark in described["remarks"])
