"""`lmu-hw power` and `lmu-hw characterise`: figures, files, refusals."""

import json
import time
from dataclasses import replace

import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.power.designs import FRUGAL, Cut, cut
from lmu_hw.power.rows import ROWS
from lmu_hw.power.technology import load_technology, save_technology
from lmu_kit.cli.console import significant
from lmu_kit.cli.main import main
from lmu_kit.estimate import open_library
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames, save_frames


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network cut from the shipped one, and frames for it: speech and noise."""
    folder = tmp_path_factory.mktemp("small")
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    program_file.save(cut(model, Cut(1, 6, 1, 4)), folder / "small.safetensors")
    frames = load_frames(zoo.path("kws361", "test.safetensors"))
    chosen = slice(None, None, 19)
    save_frames(
        replace(frames, frames=frames.frames[chosen, :12, :6], truth=frames.truth[chosen]),
        folder / "frames.safetensors",
    )
    return folder


def figures(tmp_path, *arguments):
    path = tmp_path / "result.json"
    assert main(["power", *map(str, arguments), "--json", str(path)]) == 0
    return json.loads(path.read_text())


def check_sums(found):
    for sound in found["sounds"].values():
        assert set(ROWS) <= set(sound["rows"])
        for name in ("nJ_per_frame", "dynamic_nJ_per_frame", "leakage_nJ_per_frame", "average_uW"):
            rows = sum(row[name] for row in sound["rows"].values())
            assert rows == pytest.approx(sound["total_with_estimates"][name])
        total = sound["total_with_estimates"]
        assert total["nJ_per_decision"] == pytest.approx(total["nJ_per_frame"] * found["frame_rate_hz"])


def test_the_table_answers_at_once_with_its_error_band(tmp_path, capsys):
    start = time.process_time()
    found = figures(tmp_path, "kws361", "--lanes", "16")
    assert time.process_time() - start < 10
    assert list(found["sounds"]) == ["speech", "silence", "noise"]
    check_sums(found)
    band = load_technology("ihp-sg13g2").energies(AcceleratorConfig.frugal()).band("table")
    assert found["error_band"] == band
    assert f"± {100 * band:.0f} %" in capsys.readouterr().out
    assert found["clock_hz"] == pytest.approx(50 * (found["busy_cycles_per_frame"] + found["idle_cycles_per_frame"]))
    assert not found["frames_wait"]


def test_leakage_is_printed_at_three_temperatures_or_refused(tmp_path, capsys):
    warm = figures(tmp_path, "kws49", "--pdk", "sky130A")
    printed = capsys.readouterr().out
    leakage = warm["heat"]["leakage_nJ_per_frame"]["speech"]
    assert list(leakage) == ["25", "55", "85"]
    assert leakage["25"] == pytest.approx(warm["sounds"]["speech"]["total_with_estimates"]["leakage_nJ_per_frame"])
    assert leakage["85"] / leakage["25"] == pytest.approx(317**0.8)
    dynamic = warm["sounds"]["noise"]["total_with_estimates"]["dynamic_nJ_per_frame"]
    (line,) = [line.split() for line in printed.splitlines() if line.startswith("85 °C")]
    assert float(line[2]) == pytest.approx(leakage["85"], rel=1e-3)
    assert float(line[-1]) == pytest.approx(dynamic + warm["heat"]["leakage_nJ_per_frame"]["noise"]["85"], rel=1e-3)
    assert "a rule, as the hot Liberty file was not found" in " ".join(printed.split())
    cold = figures(tmp_path, "kws49")
    assert list(cold["heat"]["leakage_nJ_per_frame"]["speech"]) == ["25"]
    assert "refused at 55 and 85 °C: the table has leakage at 25 °C only, and IHP publishes no hot" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_clock_runs_on_between_frames(tmp_path):
    slow = figures(tmp_path, "kws361", "--levers", "plain")
    fast = figures(tmp_path, "kws361", "--levers", "plain", "--clock", "1M")
    assert slow["idle_cycles_per_frame"] == 0
    assert fast["idle_cycles_per_frame"] == pytest.approx(20000 - fast["busy_cycles_per_frame"])
    rows = [one["sounds"]["speech"]["rows"]["clock"]["dynamic_nJ_per_frame"] for one in (slow, fast)]
    assert rows[1] > rows[0]


def test_a_configuration_is_read_from_a_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"lanes": 4, "weights": "ram", "state": "keep"}')
    found = figures(tmp_path, "kws361", "--config", path)
    assert found["config"] == {"lanes": 4, "weights": "ram", "state": "keep"}
    assert found == figures(tmp_path, "kws361", "--levers", "plain", "--lanes", 4, "--weights", "ram")


def test_scaled_figures_stay_apart(tmp_path, capsys):
    plain = figures(tmp_path, "kws361")
    scaled = figures(tmp_path, "kws361", "--scale-to", "22nm")
    assert scaled.pop("scaled")["factor"] < 0.1
    assert scaled == plain
    assert "scaled by Stillmaker and Baas" in capsys.readouterr().out


def test_the_comparison_says_what_each_figure_covers(tmp_path, capsys):
    found = figures(tmp_path, "kws361", "--compare", "--scale-to", "22nm@0.8V")
    out = capsys.readouterr().out
    assert "LMU-2" in out
    assert "Measured on silicon, which ours is not" in out
    assert len(found["published"]) > 10


def test_rtl_uses_the_frames_that_it_is_given(small, tmp_path):
    model, frames = small / "small.safetensors", small / "frames.safetensors"
    found = figures(tmp_path, model, "--tier", "rtl", "--frames", frames, "--lanes", 2)
    assert list(found["sounds"]) == ["speech", "noise"]
    check_sums(found)
    speech, noise = (one["total"]["dynamic_nJ_per_frame"] for one in found["sounds"].values())
    assert speech != noise


@pytest.mark.parametrize("tier", ["table", "rtl"])
def test_tables_know_levers_that_go_together(tier, tmp_path):
    frugal = [f"--{name.replace('_', '-')}" for name in FRUGAL.levers]
    plain, some, every = (
        figures(tmp_path, "kws105", "--lanes", 16, "--tier", tier, "--levers", "plain", *levers)
        for levers in ((), frugal, (*frugal, "--skip-zero-elements"))
    )
    for found in (plain, some, every):
        check_sums(found)
    energies = [one["sounds"]["speech"]["total"]["dynamic_nJ_per_frame"] for one in (plain, some, every)]
    assert energies == sorted(energies, reverse=True)
    assert plain["error_band"] != some["error_band"] == every["error_band"]
    gates = 187  # by tier gates with the same options, clock tree counted
    assert every["sounds"]["speech"]["total_with_estimates"]["dynamic_nJ_per_frame"] == pytest.approx(gates, rel=0.1)


def test_it_says_whether_the_clock_stops(tmp_path, capsys):
    frugal = [f"--{name.replace('_', '-')}" for name in FRUGAL.levers]
    for levers, word, between in ((), "running", 0), (frugal, "stopped", 84):
        found = figures(tmp_path, "kws105", "--lanes", 16, "--levers", "plain", *levers)
        assert found["idle_cycles_per_frame"] == pytest.approx(between)
        printed = " ".join(capsys.readouterr().out.split())
        assert f"1919 cycles per frame, {between} between frames with the clock {word}; 50 frames per second" in printed


@pytest.mark.parametrize("name", ["ihp-sg13g2", "osu018"])
def test_gates_write_report_pictures_and_the_check(pdk_in_environment, small, tmp_path, capsys, name):
    pdk_in_environment(name)
    model, frames, out = small / "small.safetensors", small / "frames.safetensors", tmp_path / "out"
    found = figures(
        tmp_path, model, "--tier", "gates", "--pdk", name, "--frames", frames, "--lanes", 2, "--out", out
    )
    check_sums(found)
    assert bool(found["flip_flops_for_want_of_macros"]) == (name == "osu018")
    synthesis = ["synth", str(model), "--target", "asic", "--pdk", name, "--lanes", "2", "--json"]
    assert main([*synthesis, str(tmp_path / "synth.json")]) == 0
    assert json.loads((tmp_path / "synth.json").read_text())["netlist"] == found["netlist"]
    assert found["values_compared_with_golden"] > 0
    assert found["achievable_clock_hz"] > 1e6
    assert found["area"]["um2"] > found["area"]["macros_um2"] >= 0
    assert json.loads((out / "report.json").read_text()) == found
    assert (out / "power.svg").read_text().startswith("<?xml")
    assert (out / "power.png").read_bytes().startswith(b"\x89PNG")
    steps = found["check"]["speech"]
    total = found["sounds"]["speech"]["total_with_estimates"]
    assert steps[0]["rule"] == "OpenSTA 2.0.17"
    assert steps[-1]["nJ_per_frame"] == pytest.approx(total["nJ_per_frame"])
    assert (out / "check" / "check.tcl").is_file()
    assert "from OpenSTA's rules to the figure, speech" in capsys.readouterr().out


def test_frames_are_drawn_until_the_mean_is_known(pdk_in_environment, small, tmp_path, capsys):
    pdk_in_environment("osu018")
    model, frames = small / "small.safetensors", small / "frames.safetensors"
    command = [model, "--tier", "gates", "--pdk", "osu018", "--frames", frames, "--lanes", 2]
    for options, most in (([], 0.02), (["--clips", 3, "--interval", 30, "--settled"], 0.3)):
        found = figures(tmp_path, *command, *options)
        drawn = found["frames_drawn"]
        assert drawn["seed"] == 0
        printed = " ".join(capsys.readouterr().out.split())
        for sound, interval in drawn["interval"].items():
            assert 0 <= interval <= most
            frames, clips = found["frames"][sound], drawn["clips"][sound]
            assert f"{sound}: {frames} frames drawn at random from {clips} clips" in printed


def test_glitches_are_a_column_and_can_be_left_out(pdk_in_environment, small, tmp_path, capsys):
    pdk_in_environment("osu018")
    model, frames = small / "small.safetensors", small / "frames.safetensors"
    command = [model, "--tier", "gates", "--pdk", "osu018", "--frames", frames, "--lanes", 2, "--clips", 1]
    found, printed = figures(tmp_path, *command), capsys.readouterr().out
    settled, shorter = figures(tmp_path, *command, "--settled"), capsys.readouterr().out
    assert "glitches in" in printed
    assert "glitches in" not in shorter
    assert "not included: detours of wires" in printed
    assert "not included: glitches" in shorter
    assert (found["missing"], settled["missing"]) == ([], ["glitches"])
    assert 1 < found["settled_after_ns"] < 1000
    assert settled["settled_after_ns"] is None
    whole = found["dynamic_nJ_per_frame_with_whole_swings"]
    assert settled["dynamic_nJ_per_frame_with_whole_swings"] == {}
    assert "if they were whole, the dynamic total would be speech" in " ".join(printed.split())
    for kind, sums in found["sounds"].items():
        assert whole[kind] > sums["total"]["dynamic_nJ_per_frame"]
        for name, row in (*sums["rows"].items(), ("total", sums["total"])):
            other = settled["sounds"][kind]["rows"].get(name, settled["sounds"][kind]["total"])
            assert other["glitches_nJ_per_frame"] is None
            without = row["dynamic_nJ_per_frame"] - row["glitches_nJ_per_frame"]
            assert without == pytest.approx(other["dynamic_nJ_per_frame"], rel=1e-9)
    assert found["frames_drawn"] is None
    glitches = found["sounds"]["speech"]["rows"]["multipliers"]["glitches_nJ_per_frame"]
    assert glitches > 0.2 * found["sounds"]["speech"]["rows"]["multipliers"]["dynamic_nJ_per_frame"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levers", "plain", "--clock", "100k"], "--clock: clock must be at least 272050 Hz for 50 frames of 5441"),
        (["--pdk", "nowhere"], "nowhere: no such table; these ship with the product: asap7"),
        (["--liberty", "x.lib"], "--liberty, --corner and --macros belong to tier gates"),
        (["--settled"], "--settled and --interval belong to tier gates"),
        (["--interval", "2"], "--settled and --interval belong to tier gates"),
        (["--tier", "gates", "--interval", "100"], "--interval must be above 0 and below 100 percent, not 100"),
        (["--hot-liberty", "x.lib"], "--hot-liberty belongs to tier gates"),
        (["--place"], "--place belongs to tier gates: the other tiers have no netlist"),
        (["--tier", "rtl", "--def", "x.def"], "--def belongs to tier gates: the other tiers have no netlist"),
        (["--tier", "gates", "--density", "0.5"], "--density belongs to --place"),
        (["--tier", "gates", "--netlist", "x", "--spef", "x", "--place-seed", "2"], "--place-seed belongs to --place"),
        (["--tier", "gates", "--lef", "x.lef"], "--lef belongs to --place or --def"),
        (["--tier", "gates", "--netlist", "x.v"], "--netlist needs --spef, --def or --place, for its wires"),
        (["--tier", "gates", "--place", "--spef", "x.spef"], "--place makes a placement, --spef and --def bring one"),
        (["--tier", "gates", "--spef", "x.spef"], "SPEF and DEF belong to a netlist: give its Verilog too"),
        (["--tier", "gates", "--netlist", "x.v", "--spef", "x", "--def", "y"], "give SPEF or DEF, not both"),
        (["--tier", "gates", "--place", "--density", "2"], "--place: density must be a finite number in 0.05 to 0.95"),
        (["--pdk", "asap7", "--table", "x.json"], "give --pdk or --table, not both"),
        (["--table", "x.json", "--tier", "gates"], "--table belongs to the tiers table and rtl"),
        (["--wav", "x.wav"], "--frames and --wav belong to the tiers rtl and gates"),
        (["--scale-to", "3nm"], "the node must be in 7 to 180 nm, not 3 nm"),
        (["--tier", "gates", "--liberty", "x.lib", "--pdk", "asap7"], "leave the PDK and the corner out"),
        (["--config", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--levers", "plain", "--control-reset"], "ihp-sg13g2 does not know the levers control_reset, but none; or"),
        (["--levers", "plain", "--control-reset", "--pdk", "asap7"], "asap7 does not know the levers control_reset"),
    ],
)
def test_what_does_not_fit_is_refused(refused, arguments, message):
    assert message in refused("power", "kws361", *arguments)


def test_a_folder_with_other_files_is_refused_before_any_work(refused, tmp_path):
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "notes.txt").touch()
    line = refused("power", "kws49", "--tier", "gates", "--out", tmp_path)
    assert "check: holds other files than an earlier check; it would be replaced as a whole" in line


def test_an_unknown_pdk_is_refused_before_any_work(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    out = tmp_path / "out"
    line = refused("power", "kws361", "--tier", "gates", "--pdk", "none", "--out", out)
    assert "was expected, PDK_ROOT holds" in line
    assert not out.exists()
    assert "was expected" in refused("characterise", "--pdk", "none", "--out", tmp_path / "table.json")
    assert not (tmp_path / "table.json").exists()


def test_sets_of_one_library_are_not_kept_with_those_of_another(refused, tmp_path):
    path = tmp_path / "table.json"
    save_technology(load_technology("sky130A"), path)
    before = path.read_bytes()
    line = refused("characterise", "--pdk", "osu018", "--levers", "frugal", "--out", path)
    assert "sky130A: this table was made from other Liberty files" in line
    assert path.read_bytes() == before


def test_sets_without_glitches_are_not_kept_with_those_that_have_them(refused, pdk_in_environment, tmp_path):
    pdk_in_environment("nangate45")
    path, table = tmp_path / "table.json", load_technology("nangate45")
    _, described = open_library("nangate45", macros="model")
    sets = tuple(replace(energies, glitches=False) for energies in table.sets)
    provenance = table.provenance | {"files": described["files"]}
    save_technology(replace(table, provenance=provenance, sets=sets), path)
    line = refused("characterise", "--pdk", "nangate45", "--levers", "frugal", "--out", path)
    assert "nangate45: this table has no glitches in it; measure all sets anew" in line


def test_a_model_without_frames_needs_some(refused, small):
    assert "give frames or recordings" in refused("power", small / "small.safetensors", "--tier", "rtl")


def test_wrong_frequencies_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["power", "kws361", "--clock", "fast"])
    assert "must be a frequency above 0, such as 500kHz, 1.5MHz, 250k or 250000, not 'fast'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (52183.7, "52180"), (251000.0, "251000"), (8.79, "8.79"), (0.0123456, "0.01235")]
)
def test_numbers_are_printed_to_four_digits(value: float, text: str):
    assert significant(value) == text


def test_accuracy_of_a_shipped_network_is_the_measured_one(capsys: pytest.CaptureFixture[str]):
    assert main(["power", "kws361", "--compare"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("More accurate on its task")]
    assert "LMU-2" in line
    assert "UltraTrail" not in line


def test_a_placement_is_written_and_its_files_read_back(pdk_in_environment, coloquinte, small, tmp_path, capsys):
    pdk_in_environment("ihp-sg13g2")
    model, frames, out = small / "small.safetensors", small / "frames.safetensors", tmp_path / "out"
    options = [model, "--tier", "gates", "--settled", "--pdk", "ihp-sg13g2", "--frames", frames, "--lanes", 2]
    placed = figures(tmp_path, *options, "--place", "--density", 0.6, "--place-seed", 3, "--out", out)
    check_sums(placed)
    names = ["check", "layout.def", "layout.spef", "layout.v", "placement.png", "placement.svg", "power.png"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "power.svg", "report.json"]
    assert (out / "layout.v").read_text() == (out / "check" / "netlist.v").read_text()
    assert (out / "placement.png").read_bytes().startswith(b"\x89PNG")
    picture = (out / "placement.svg").read_text()
    assert picture.startswith("<?xml")
    assert placed["wires"].startswith("placed by coloquinte, rows 60% full, height 1 times the width, ")
    assert ", seed 3; Steiner trees of " in placed["wires"]
    sides = placed["sides_of_the_mean_cell_per_reader"]
    assert sides["rule"] == pytest.approx(0.2 * placed["cells"] ** (1 / 3), rel=0.01)  # macros count as no cells
    assert 1 < sides["placed"] < 10
    assert placed["wire_to_substrate_fF_per_um"]["Metal2"] == pytest.approx(0.093, abs=5e-4)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"wires: {placed['wires']}" in printed
    assert f"cell: {sides['placed']:.2f}, weighted by toggles {sides['placed_by_toggles']:.2f}; the rule" in printed
    again = figures(tmp_path, *options, "--netlist", out / "layout.v", "--spef", out / "layout.spef")
    for sound, found in placed["sounds"].items():
        total = found["total_with_estimates"]["nJ_per_frame"]
        assert again["sounds"][sound]["total_with_estimates"]["nJ_per_frame"] == pytest.approx(total, rel=1e-9)
