"""What a user gives may be anything: each command answers with one line that names the file, and leaves no output."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmu_kit.cli.main import main
from lmu_kit.evaluation import Evaluation
from lmu_quantize.score import score_decisions

ROOT = Path(__file__).parents[3]

FILES = {
    "garbage": np.random.default_rng(3).bytes(1000),
    "list.json": b"[1, 2]",
    "nan.json": b'{"a": NaN}',
    "deep.json": b"[" * 100_000,
    "twice.json": b'{"a": 1, "a": 2}',
}

COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "float model": lambda file, out: ["quantize", file, "--out", out],
    "quantized model": lambda file, out: ["verilog", file, "--out", out],
    "frames": lambda file, out: ["quantize", "kws49", "--frames", file, "--out", out],
    "recording": lambda file, out: ["cosim", "kws49", "--wav", file],
    "formats": lambda file, out: ["quantize", "kws49", "--formats", file, "--out", out],
    "quantization": lambda file, out: ["quantize", "kws49", "--quantization", file, "--out", out],
    "front end": lambda file, out: ["quantize", "kws49", "--front-end", file, "--out", out],
    "smoothing": lambda file, out: ["verilog", "kws49", "--smoothing", file, "--out", out],
    "manifest": lambda file, out: ["weights", "kws49", "--for", file, "--out", out],
    "image": lambda file, out: ["weights", "--for", str(ROOT / "rtl/lmu_kws361_8_ram.json"), "--check", file],
    "table": lambda file, out: ["power", "kws49", "--table", file],
    "library": lambda file, out: ["power", "kws49", "--tier", "gates", "--liberty", file],
    "recipe": lambda file, out: ["train", "--recipe", file, "--data", str(ROOT), "--out", out],
    "search": lambda file, out: ["search", file, "--data", str(ROOT), "--out", out],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_something_else_is_refused_in_one_line(tmp_path, capsys, command):
    for name, content in FILES.items():
        path, out = tmp_path / name, tmp_path / "out"
        path.write_bytes(content)
        assert main(COMMANDS[command](str(path), str(out))) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("lmu-hw: error: ")
        assert str(path) in lines[0]
        assert "unexpected here" not in lines[0]
        assert not out.exists()


@pytest.mark.parametrize("command", ["quantized model", "frames", "recording", "image", "table", "library"])
def test_a_file_without_end_is_not_read_to_its_end(tmp_path, capsys, monkeypatch, command):
    for name in ("model.program_file", "plan.weight_file", "power.technology"):
        monkeypatch.setattr(f"lmu_hw.{name}.MOST_BYTES", 1 << 20)
    for name in ("quantize.audio.MOST_BYTES", "quantize.frames_file.MOST_BYTES", "hw.cells.liberty.MOST_TEXT"):
        monkeypatch.setattr(f"lmu_{name}", 1 << 20)
    assert main(COMMANDS[command]("/dev/zero", str(tmp_path / "out"))) == 1
    assert "/dev/zero: " in capsys.readouterr().err


def test_a_json_file_may_start_with_a_byte_order_mark(tmp_path, capsys):
    path = tmp_path / "smoothing.json"
    smoothing = json.loads((ROOT / "tests/data/v0_1/smoothing.json").read_text())
    path.write_text(json.dumps(smoothing | {"nothing": 1}), "utf-8-sig")
    assert main(["verilog", "kws49", "--smoothing", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "smoothing.json: unknown key 'nothing'" in capsys.readouterr().err


def test_an_accuracy_that_says_nothing_is_warned_of():
    truth = np.arange(40) % 4
    labels = ("a", "b", "c", "d")

    def warnings(decisions: np.ndarray) -> tuple[str, ...]:
        return Evaluation("golden", score_decisions(decisions, truth, labels)).warnings

    assert warnings(truth) == ()
    assert warnings(np.full(40, 2)) == (
        "every clip is decided as 'c'",
        "accuracy 0.250; decisions by chance among 4 labels are as good",
    )
    assert warnings((truth + 1) % 4) == ("accuracy 0.000; decisions by chance among 4 labels are as good",)
