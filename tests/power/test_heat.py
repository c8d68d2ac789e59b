"""Leakage at other temperatures: from Liberty, by a rule, or refused."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.corners import files_at, parse_corner, sibling_corners
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import Activity
from lmu_hw.power.clock_tree import ClockTree
from lmu_hw.power.heat import LeakageRefused, find_heat, find_rule, heat_by_rule
from lmu_kit.estimate import estimate_power
from lmu_quantize import zoo
from tests.conftest import data_folder, missing
from tests.power.test_report import a_report

NO_TREE = {"speech": ClockTree(0.0, 0.0, 0.0, "BUF", 0, 0.0)}


def liberty(celsius: float, low: float, high: float, buffer: float, *, voltage: float = 1.8, rom: str = "") -> str:
    """An inverter that leaks `low` nW with A at 0 and `high` with A at 1, and a buffer."""
    return f"""
library (hand) {{
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff);
  nom_voltage : {voltage}; nom_temperature : {celsius};
  cell (INV) {{ area : 1;
    leakage_power () {{ value : {low}; when : "!A"; }} leakage_power () {{ value : {high}; when : "A"; }}
    pin (A) {{ direction : input; capacitance : 2; }} pin (Y) {{ direction : output; function : "!A"; }} }}
  cell (BUF) {{ area : 1; cell_leakage_power : {buffer};
    pin (A) {{ direction : input; capacitance : 2; }} pin (Y) {{ direction : output; function : "A"; }} }}
  {rom}
}}
"""


ROM = "cell (ROM) { area : 9; cell_leakage_power : 7; memory () { type : rom; address_width : 1; word_width : 1; } }"


def write(folder, corner: str, *figures, name: str = "hand", **options):
    path = folder / f"{name}_{corner}.lib"
    path.write_text(liberty(*figures, **options))
    return path


def one_inverter(library, duty: float = 0.25, extra: str = ""):
    """An inverter whose input is high for a part of the time."""
    instances = [Instance("i", "", library.cells["INV"], {"A": 2, "Y": 3})]
    if extra:
        instances.append(Instance("m", "", library.cells[extra], {}))
    netlist = Netlist("top", {"a": (2,)}, {"y": (3,)}, tuple(instances), 4, {})
    duties = np.array([0, 1, duty, 1 - duty])
    known = np.ones(4, dtype=bool)
    return netlist, {"speech": Activity(1e-6, 100, np.array([0.0, 0, 0.1, 0.1]), duties, known, "by hand")}


def test_each_instance_leaks_by_its_states_at_both_temperatures(tmp_path):
    cold = write(tmp_path, "tt_025C_1v80", 25, 1, 2, 10)
    write(tmp_path, "tt_100C_1v80", 100, 100, 600, 3000)
    library = read_liberty(cold)
    netlist, activities = one_inverter(library)
    trees = {"speech": ClockTree(0.0, 0.0, 0.0, "BUF", 3, 0.0)}
    heat = find_heat(netlist, library, activities, trees)
    inverter, buffers = (0.75 * 1 + 0.25 * 2, 0.75 * 100 + 0.25 * 600), (3 * 10, 3 * 3000)
    assert heat.at("speech", 25) == pytest.approx((inverter[0] + buffers[0]) * 1e-9)
    for celsius, part in (55, 30 / 75), (85, 60 / 75):
        expected = sum(low ** (1 - part) * high**part for low, high in (inverter, buffers))
        assert heat.at("speech", celsius) == pytest.approx(expected * 1e-9)
    assert heat.source == (
        "each instance from the Liberty files at 25, 100 °C (hand_tt_025C_1v80.lib, hand_tt_100C_1v80.lib), "
        "exponential between"
    )
    assert not heat.refused
    assert heat.memories == ""
    assert heat.to_dict(50)["leakage_nJ_per_frame"]["speech"]["25"] == pytest.approx((1.25 + 30) / 50)


def test_the_hot_file_may_be_given(tmp_path):
    library = read_liberty(write(tmp_path, "tt_025C_1v80", 25, 1, 2, 10))
    netlist, activities = one_inverter(library, 0.0)
    hot = write(tmp_path, "hot", 60, 8, 8, 10)
    heat = find_heat(netlist, library, activities, NO_TREE, [hot])
    assert heat.at("speech", 55) == pytest.approx(8 ** (30 / 35) * 1e-9)
    with pytest.raises(LeakageRefused, match="no leakage at 85 °C: the Liberty files are for 25 and 60 °C"):
        heat.at("speech", 85)
    with pytest.raises(LeakageRefused, match="leakage was computed at 25, 55 °C, not at 40 °C"):
        heat.at("speech", 40)
    for wrong, message in (
        (write(tmp_path, "low", 60, 1, 1, 1, voltage=1.6), "has voltage 1.6, .* 1.8: leakage at other temperatures"),
        (write(tmp_path, "cold", 25, 1, 1, 1), "are both for 25 °C: another temperature is needed"),
    ):
        with pytest.raises(LibertyError, match=message):
            find_heat(netlist, library, activities, NO_TREE, [wrong])


def test_macros_without_a_hot_file_do_not_grow_and_the_report_says_so(tmp_path):
    cold = write(tmp_path, "tt_025C_1v80", 25, 1, 1, 1, rom=ROM)
    for rom, leakage, text in ("", 7.0, "not scaled: no Liberty file at the other temperature for ROM"), (
        ROM.replace("7", "700"),
        700.0,
        "from their own Liberty files",
    ):
        write(tmp_path, "tt_085C_1v80", 85, 50, 50, 1, rom=rom)
        library = read_liberty(cold)
        netlist, activities = one_inverter(library, extra="ROM")
        heat = find_heat(netlist, library, activities, NO_TREE)
        assert heat.at("speech", 85) == pytest.approx((50 + leakage) * 1e-9)
        assert heat.memories == text


def test_leakage_without_a_hot_corner_is_refused(tmp_path):
    library = read_liberty(write(tmp_path, "typ_1p80V_25C", 25, 1, 2, 10))
    write(tmp_path, "slow_1p62V_125C", 125, 40, 40, 10, voltage=1.62)
    write(tmp_path, "fast_1p98V_125C", 125, 90, 90, 10, voltage=1.98)
    write(tmp_path, "slow_1p62V_m40C", -40, 0.1, 0.1, 1, voltage=1.62)
    netlist, activities = one_inverter(library, 0.0)
    heat = find_heat(netlist, library, activities, NO_TREE)
    assert heat.at("speech", 25) == pytest.approx(1e-9)
    reason = "no Liberty file of the same process corner and voltage is beside hand_typ_1p80V_25C.lib"
    with pytest.raises(LeakageRefused, match=reason):
        heat.at("speech", 55)
    # The nearest voltage decides, then the name; it is shown as what it is, and is no figure of this corner.
    assert heat.corner.corner == "fast, 1.98 V, 125 °C"
    assert heat.corner.watts["speech"] == pytest.approx(90e-9)
    assert heat.to_dict(50)["other_corner"]["corner"] == "fast, 1.98 V, 125 °C"


def test_sky130_has_a_rule():
    rule = find_rule("sky130_fd_sc_hd__tt_025C_1v80", 1.8)
    assert rule is find_rule("sky130A", 1.8) is not None
    assert find_rule("sky130A", 1.6) is find_rule("sky130_fd_sc_hd__ss_100C_1v60", 1.6) is None
    assert rule.factor(25, 100) == 317
    assert rule.factor(25, 35) == pytest.approx(2.155, abs=1e-3)
    assert rule.factor(100, 25) == pytest.approx(1 / 317)
    with pytest.raises(LeakageRefused, match="holds from 25 to 100 °C, not at 125"):
        rule.factor(25, 125)
    heat = heat_by_rule({"speech": 1e-9}, 25.0, rule, macros=True)
    assert heat.at("speech", 85) == pytest.approx(317**0.8 * 1e-9)
    assert "317 times from 25 to 100 °C, 2.16 for each 10 °C" in heat.source
    assert heat.memories == "as the standard cells, by the same rule"
    cold = heat_by_rule({"speech": 1e-9}, -40.0, rule)
    assert len(cold.refused) == 3


def test_the_rule_agrees_with_the_published_leakage():
    """Cells of logic and flip-flops that netlists of ours are made of, against SkyWater's own figures."""
    path = data_folder("PDK_ROOT", "pdk") / "sky130A/libs.ref/sky130_fd_sc_hd/leakage_nW_by_corner.csv"
    if not path.is_file():
        missing(f"no {path}: SkyWater publishes Liberty of both corners, which the table is from")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    cold, hot = lines[0].index("tt_025C_1v80"), lines[0].index("tt_100C_1v80")
    ratios = {line[0].removeprefix("sky130_fd_sc_hd__"): float(line[hot]) / float(line[cold]) for line in lines[1:]}
    rule = find_rule("sky130A", 1.8)
    for name in ("dfxtp_1", "dlclkp_1", "nand2_1", "nor2_1", "a21oi_1", "o21ai_1", "mux2_1", "fa_1"):
        assert ratios[name] == pytest.approx(rule.factor(25, 100), rel=0.16)
    assert ratios["inv_1"] == pytest.approx(217, abs=1)
    assert ratios["clkinv_1"] == pytest.approx(500, abs=1)


def test_tables_use_the_rule_or_refuse():
    report = a_report()
    assert report.heat is None
    with pytest.raises(LeakageRefused, match="leakage at the temperature of the library only"):
        report.leakage_at("speech", 85)
    hot = replace(report, heat=heat_by_rule({"speech": 3e-6}, 25.0, find_rule("sky130A", 1.8)))
    assert hot.leakage_at("speech", 25) == pytest.approx(report.sums("speech").leakage)
    assert hot.leakage_at("speech", 85) == pytest.approx(report.sums("speech").leakage * 317**0.8)


@pytest.mark.parametrize("name", ["sky130A", "ihp-sg13g2", "asap7"])
def test_every_table_says_what_it_knows(name):
    plan = make_plan(program_file.load(zoo.path("kws49", "quantized.safetensors")), AcceleratorConfig(lanes=4))
    report = estimate_power(plan, name)
    base = report.sums("noise").leakage
    assert report.leakage_at("noise", 25) == pytest.approx(base)
    if name == "sky130A":
        assert report.leakage_at("noise", 55) == pytest.approx(base * 317**0.4)
        assert report.to_dict()["heat"]["memories"] == "as the standard cells, by the same rule"
        return
    reason = {"ihp-sg13g2": "IHP publishes no hot typical corner", "asap7": "there is no rule for asap7"}[name]
    with pytest.raises(LeakageRefused, match=reason):
        report.leakage_at("noise", 55)


def test_ihps_slow_corner_is_shown_as_what_it_is(pdk, bench, tmp_path):
    """Cells and macros: IHP's own figures at 1.08 V and 125 °C, no figure at 85 °C."""
    name = "RM_IHPSG13_1P_256x8_c3_bm_bist"
    files = [*pdk("ihp-sg13g2").cells, *(path for path in pdk("ihp-sg13g2").macros if name in path.name)]
    corners = data_folder("PDK_CORNERS", "pdk_corners") / "ihp-sg13g2"
    slow = list(corners.glob("libs.ref/*/lib/*slow_1p08V_125C*")) or [
        path for file in files for path in file.parent.glob("*slow_1p08V_125C*")
    ]
    if not slow:
        missing("no Liberty of IHP's slow corner: make pdk")
    for path in (*files, *slow):
        (tmp_path / path.name).symlink_to(path)
    library = read_liberty([tmp_path / path.name for path in files])
    netlist = bench.macro_netlist(library, name)
    ones = np.ones(netlist.nets)
    activities = {"speech": Activity(1e-6, 100, 0 * ones, 0 * ones, ones > 0, "by hand")}
    trees = {"speech": ClockTree(0.0, 0.0, 0.0, "sg13g2_buf_8", 2, 0.0)}
    heat = find_heat(netlist, library, activities, trees)
    with pytest.raises(LeakageRefused, match="IHP publishes no hot typical corner of SG13G2"):
        heat.at("speech", 85)
    assert heat.corner.corner == "slow, 1.08 V, 125 °C"
    slow_library = read_liberty(files_at(library.files, sibling_corners(library.files[0])[-1], [name]))
    assert slow_library.temperature == 125
    macro = slow_library.cells[name].leakage
    assert macro > 5 * library.cells[name].leakage
    assert heat.corner.watts["speech"] > macro
    assert heat.corner.watts["speech"] > 5 * heat.at("speech", 25)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sky130_fd_sc_hd__tt_025C_1v80.lib", ("sky130_fd_sc_hd_", "tt, 1.8 V, 25 °C")),
        ("sg13g2_stdcell_fast_1p32V_m40C.lib.gz", ("sg13g2_stdcell", "fast, 1.32 V, -40 °C")),
        ("sky130_fd_sc_hd__ff_n40C_1v95_ccsnoise.lib", ("sky130_fd_sc_hd__ccsnoise", "ff, 1.95 V, -40 °C")),
        ("RM_64x64_c2_bm_bist_slow_1p08V_125C.lib", ("RM_64x64_c2_bm_bist", "slow, 1.08 V, 125 °C")),
        ("asap7sc7p5t_SIMPLE_RVT_TT_nldm_211120.lib.gz", None),
    ],
)
def test_names_of_files_give_the_corner(tmp_path, name, expected):
    parsed = parse_corner(tmp_path / name)
    assert (None if parsed is None else (parsed[0], str(parsed[1]))) == expected
    assert sibling_corners(tmp_path / name) == ()


def test_files_of_other_macros_are_left_out(tmp_path):
    for corner in ("typ_1p20V_25C", "slow_1p08V_125C"):
        for cells in ("cells", "RM_64x8_x", "RM_128x8_x"):
            (tmp_path / f"{cells}_{corner}.lib").touch()
    files = sorted(tmp_path.glob("*typ*"))
    (hot,) = sibling_corners(files[0])
    assert [path.name for path in files_at(files, hot, ["RM_64x8_x"])] == [
        "RM_64x8_x_slow_1p08V_125C.lib", "cells_slow_1p08V_125C.lib"
    ]  # fmt: skip
