"""Scores label by label and over seeds."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmu_kit.cli.main import main
from lmu_kit.figures.score import draw_confusion
from lmu_quantize.score import Score, wilson_interval
from lmu_quantize.score_table import label_rows, to_csv, to_markdown
from lmu_quantize.zoo.seeds import SeedResult, load_seeds, save_seeds, spread_over_seeds

SCORE = Score(("a", "b", "c", "d", "e"), np.array([
    [6, 1, 3, 2, 1], [0, 4, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 8, 0], [0, 0, 0, 0, 0],
]))  # fmt: skip

ROW = {"seed": 0, "float": 0.9, "golden": 0.9, "validation": 0.9}


def test_rows_count_clips_decisions_and_mistakes():
    first, second, third, fourth, _ = label_rows(SCORE)
    assert (first.clips, first.correct, first.decided) == (13, 6, 7)
    assert first.mistakes == (("c", 3), ("d", 2), ("b", 1))
    assert first.interval == wilson_interval(6, 13)
    assert (first.recall, first.precision) == (6 / 13, 6 / 7)
    assert (second.recall, second.precision, second.mistakes) == (1.0, 4 / 6, ())
    assert (third.recall, third.precision, third.interval) == (0.0, 0.0, (0.0, 1.0))
    assert fourth.mistakes == (("a", 1), ("b", 1))


def test_tables_hold_the_rows():
    assert to_csv(SCORE).splitlines()[:3] == [
        "label,clips,correct,recall,low,high,precision,mistakes",
        "a,13,6,0.461538,0.232058,0.708566,0.857143,c:3 d:2 b:1",
        "b,4,4,1.000000,0.510100,1.000000,0.666667,",
    ]
    lines = to_markdown(SCORE).splitlines()
    assert lines[2] == "| a | 13 | 46.2 | 23.2 to 70.9 | 85.7 | c 3, d 2, b 1 |"
    assert lines[3] == "| b | 4 | 100.0 | 51.0 to 100.0 | 66.7 | - |"
    assert len(lines) == 2 + len(SCORE.labels)


def test_evaluate_writes_the_report(tmp_path: Path):
    options = ["--out", tmp_path / "new" / "report", "--json", tmp_path / "e.json"]
    assert main([str(word) for word in ("evaluate", "kws361", "--clips", 20, *options)]) == 0
    measured = json.loads((tmp_path / "e.json").read_text())
    score = Score(tuple(measured["labels"]), np.array(measured["confusion"]))
    folder = tmp_path / "new" / "report"
    assert (folder / "labels.csv").read_text() == to_csv(score)
    assert (folder / "labels.md").read_text() == to_markdown(score)
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_one_score_are_the_same_bytes(tmp_path: Path):
    for number in range(2):
        draw_confusion(SCORE, "title", tmp_path / f"{number}.svg")
    first, second = (tmp_path / "0.svg").read_bytes(), (tmp_path / "1.svg").read_bytes()
    assert first == second
    assert b"<!-- 46.2 (23.2 to 70.9) -->" in first
    other = Score(SCORE.labels, SCORE.confusion.T)
    draw_confusion(other, "title", tmp_path / "1.svg")
    assert (tmp_path / "1.svg").read_bytes() != first


def test_a_report_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert main(["evaluate", "kws361", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.endswith("file: is a file; --out takes a folder\n")


def test_spread_over_seeds(tmp_path: Path):
    results = [SeedResult(2, 0.95, 0.94, 0.96), SeedResult(0, 0.94, 0.92, 0.95), SeedResult(1, 0.96, 0.93, 0.94)]
    save_seeds(results, tmp_path / "seeds.json")
    assert set(json.loads((tmp_path / "seeds.json").read_text())[0]) == {"seed", "float", "golden", "validation"}
    assert load_seeds(tmp_path / "seeds.json") == tuple(sorted(results, key=lambda each: each.seed))
    found = spread_over_seeds([each.golden for each in results])
    assert found.mean == pytest.approx(0.93)
    assert found.deviation == pytest.approx(0.01)
    assert (found.low, found.high) == (0.92, 0.94)
    assert str(found) == "93.00 ± 1.00 % (92.00 to 94.00 %)"
    assert spread_over_seeds([0.5]).deviation == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"must hold results of one or more different seeds$"),
        ([ROW, ROW], r"must hold results of one or more different seeds$"),
        ([{"seed": 0}], r"must hold a list of results by seed \('float'\)$"),
        (3, r"must hold a list of results by seed \("),
        ([ROW | {"seed": -1}], r"seed must be at least 0, not -1\)$"),
        ([ROW | {"float": 93}], r"parent accuracy of seed 0 must be a finite number in 0 to 1, not 93\)$"),
    ],
)
def test_results_by_seed_are_checked(rows: object, message: str, tmp_path: Path):
    (tmp_path / "seeds.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        load_seeds(tmp_path / "seeds.json")
