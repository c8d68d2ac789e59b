"""Reports: units, sums, what is refused."""

from dataclasses import replace

import pytest

from lmu_hw.power.published import published
from lmu_hw.power.report import ESTIMATED, Area, OperatingPoint, Report, Row


def a_report(**changes) -> Report:
    rows = {
        "speech": (
            Row("weight memory", 3e-9, 2e-6, 100.0),
            Row("clock tree", 1e-9, 0.0, 0.0, ESTIMATED),
            Row("clock", 2e-9, 1e-6, 50.0),
        ),
        "silence": (
            Row("weight memory", 2e-9, 2e-6, 100.0),
            Row("clock tree", 1e-9, 0.0, 0.0, ESTIMATED),
            Row("clock", 2e-9, 1e-6, 50.0),
        ),
    }
    point = OperatingPoint(100e3, 50, 1500)
    fields = {"tier": "gates", "technology": {}, "point": point, "rows": rows, "area": Area(150.0, 0.0, 40.0)}
    return Report(**(fields | changes))


def test_rows_add_up_and_estimates_stay_apart():
    report = a_report()
    assert report.names == ("weight memory", "clock", "clock tree")
    whole, measured = report.sums("speech"), report.sums("speech", estimates=False)
    assert whole.dynamic == pytest.approx(6e-9)
    assert measured.dynamic == pytest.approx(5e-9)
    assert whole.leakage == measured.leakage == pytest.approx(3e-6 / 50)
    parts = [report.sums("speech", name) for name in report.names]
    assert sum(one.frame for one in parts) == pytest.approx(whole.frame)


def test_a_decision_is_a_second_of_audio():
    one = a_report().sums("speech")
    assert one.frame == pytest.approx(66e-9)
    assert one.decision == pytest.approx(50 * 66e-9)
    assert one.power == pytest.approx(50 * 66e-9)
    assert one.to_dict()["average_uW"] == pytest.approx(3.3)
    assert one.to_dict()["nJ_per_frame"] == pytest.approx(66)


def test_glitches_are_a_part_of_the_dynamic_energy():
    assert a_report().sums("speech").glitches is None
    assert a_report().to_dict()["sounds"]["speech"]["total"]["glitches_nJ_per_frame"] is None
    rows = {
        kind: tuple(replace(row, glitches=part * row.frame) for row in rows)
        for (kind, rows), part in zip(a_report().rows.items(), (0.5, 0.1), strict=True)
    }
    report = a_report(rows={"speech": rows["speech"], "noise": rows["silence"]})
    assert report.sums("speech", "clock").glitches == pytest.approx(1e-9)
    assert report.sums("speech").glitches == pytest.approx(3e-9)
    assert report.mixed().glitches == pytest.approx(0.1 * 3e-9 + 0.9 * 0.5e-9)
    form = report.to_dict()["sounds"]["speech"]
    assert form["rows"]["clock"]["glitches_nJ_per_frame"] == pytest.approx(1)
    assert form["total_with_estimates"]["glitches_nJ_per_frame"] == pytest.approx(3)


def test_a_day_is_one_part_of_speech_to_nine_of_noise():
    assert a_report().mixed() is None
    assert a_report().to_dict()["mixed"] is None
    rows = dict(a_report().rows)
    report = a_report(rows={"speech": rows["speech"], "noise": rows["silence"]})
    assert report.mixed().dynamic == pytest.approx(0.1 * 6e-9 + 0.9 * 5e-9)
    assert report.mixed().leakage == report.sums("noise").leakage
    assert report.to_dict()["mixed"]["parts"] == {"speech": 1, "noise": 9}


def test_json_holds_every_row_and_where_it_comes_from():
    found = a_report(band=0.1).to_dict()
    assert found["sounds"]["speech"]["rows"]["clock tree"]["origin"] == "estimated"
    rows = found["sounds"]["silence"]["rows"].values()
    total = found["sounds"]["silence"]["total_with_estimates"]
    assert sum(row["nJ_per_frame"] for row in rows) == pytest.approx(total["nJ_per_frame"])
    assert found["error_band"] == 0.1
    assert found["idle_cycles_per_frame"] == 500


def test_every_sound_has_the_same_rows():
    rows = dict(a_report().rows)
    with pytest.raises(ValueError, match="every kind of sound must have the same rows"):
        a_report(rows=rows | {"noise": rows["speech"][:1]})


def test_idle_cycles_and_the_slowest_clock():
    point = OperatingPoint(100e3, 50, 1500)
    assert point.slowest_clock == 75e3
    assert point.idle_cycles == 500
    assert OperatingPoint(75e3, 50, 1500).idle_cycles == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((70e3, 50, 1500), "clock must be at least 75000 Hz for 50 frames of 1500 cycles a second, not 70000 Hz"),
        ((0, 50, 1500), "clock must be a number above 0, not 0"),
        ((1e6, float("nan"), 1500), "frame_rate must be a number above 0, not nan"),
        ((1e6, 50, -1), "busy_cycles must be a number above 0, not -1"),
    ],
)
def test_impossible_operating_points_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        OperatingPoint(*values)


def test_published_figures_say_what_they_cover():
    figures = published()
    assert any(one.design.startswith("LMU-2") and one.method == "estimated" for one in figures)
    assert all(one.scope and one.method and one.front_end and one.source for one in figures)
    assert all(one.power_uW or one.energy_nJ for one in figures)
    assert all(bool(one.per) == (one.energy_nJ is not None) for one in figures)
