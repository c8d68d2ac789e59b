"""`lmu-hw levers`: every lever alone, and frugal without each."""

import json

import pytest

import lmu_hw as lh
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.power.report import Sums
from lmu_kit import lever_costs
from lmu_kit.cli.main import main


class _Report:
    """Figures that tell which configuration they are of."""

    def __init__(self, plan):
        on = [name for name in LEVERS if getattr(plan.config, name)]
        self.technology = {"name": "osu018"}
        self.point, self.achievable_clock = type("Point", (), {"busy_cycles": 7.0}), 2e6
        self.area = type("Area", (), {"total": 3e6})
        self.energy = 1e-9 * (10 - len(on))

    def sums(self, sound):
        return Sums(dynamic=self.energy, leakage=1e-9, frame_rate=50.0, glitches=5e-10)


def test_the_table_has_every_lever_alone_and_frugal_without_it(pdk_in_environment, monkeypatch, tmp_path, capsys):
    pdk_in_environment("osu018")
    plans = []

    def estimate(plan, library, **options):
        assert options["gates"].simulation == lh.FrameSimulation(delays=True)
        assert options["sounds"]["speech"].shape[:2] == (1, 24)
        plans.append(plan.config)
        return _Report(plan)

    monkeypatch.setattr(lever_costs, "estimate_power", estimate)
    out = tmp_path / "levers.md"
    assert main(["levers", "kws49", "--pdk", "osu018", "--out", str(out), "--json", str(tmp_path / "levers.json")]) == 0
    lines = out.read_text().splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines[4:]}
    assert lines[:2] == ["**osu018**", ""]
    assert lines[2] == "| levers | cycles | dynamic | glitches | leakage | all | change | mm² | MHz |"
    options = [f"--{name.replace('_', '-')}" for name in LEVERS]
    assert rows.keys() >= {"plain", "frugal", *options, *(f"frugal without {option}" for option in options)}
    assert rows.keys() >= {"--bank-words 64", "frugal without --bank-words", "frugal without --state-bank-words"}
    assert rows.keys() >= {"--memories-at-once 4", "frugal and --memories-at-once 4"}
    assert rows["--stop-clock"] == "| --stop-clock | 7 | 9.00 | 0.50 | 1.00 | 10.00 | -9.1 % | 3.000 | 2 |"
    assert AcceleratorConfig.frugal(lanes=16, state_bank_words=16) in plans
    assert len(json.loads((tmp_path / "levers.json").read_text())["costs"]) == len(rows)
    assert len(plans) < len(rows)  # this network has no blocks of zeros: skipping them changes nothing


@pytest.mark.parametrize(
    ("libraries", "sounds", "message"),
    [
        ((), {"speech": None}, "give one cell library or more"),
        ((), {}, "levers are measured on speech, not on nothing"),
    ],
)
def test_missing_inputs_are_named(libraries, sounds, message):
    with pytest.raises(lh.InputError, match=message):
        lh.measure_levers(lh.open_model("kws49"), libraries, sounds)
