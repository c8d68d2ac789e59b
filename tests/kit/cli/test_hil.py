"""Hardware in the loop: the command against a board in simulation, over good and bad lines."""

import dataclasses
import json
import os
import pty
import tty
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.host.link import image_chunks
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.main import main
from lmu_quantize.frames_file import FrameSet, save_frames
from lmu_sim.serial_bridge import LineFaults, SerialBridge
from lmu_sim.testing.random_models import random_frames, random_model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder with a model and frames; a board in simulation."""
    folder = tmp_path_factory.mktemp("hil")
    rng = np.random.default_rng(2)
    model = random_model(rng, layers=("lmu", "dense"), inputs=3, units=4, stride=2, activation="relu")
    model = dataclasses.replace(model, labels=tuple(f"word{n}" for n in range(model.outputs)))
    program_file.save(model, folder / "model")
    frames = random_frames(rng, model, 3, 6)
    save_frames(FrameSet(frames, np.zeros(3, np.int64), model.input, model.labels, {}, "made up"), folder / "frames")
    return folder, SerialBridge(make_plan(model, AcceleratorConfig(lanes=2, weights="ram")))


def command(folder, port, *more, option="--port"):
    words = ["hil", folder / "model", option, port, "--frames", folder / "frames", "--lanes", 2, "--weights", "ram"]
    return [str(word) for word in (*words, *more)]


def test_a_board_that_is_exact(small, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, board = small
    with board as bridge:
        assert main(command(folder, bridge.port, "--timeout", 20, "--json", tmp_path / "h.json")) == 0
    result = json.loads((tmp_path / "h.json").read_text())
    labels = board.plan.model.outputs
    assert (result["clips"], result["frames"], result["compared"]) == (3, 18, 3 * 3 * (labels + 2))
    assert (result["differing"], result["first"]) == (0, None)
    assert (result["repeated"], result["lost"], result["damaged_replies"]) == (0, 0, 0)
    assert result["frames_per_second"] > 0
    assert f"{result['compared']} values compared, 0 differ" in capsys.readouterr().out


def test_a_bad_line_costs_time_only(small, tmp_path: Path):
    """With the command's own simulator."""
    folder, _ = small
    more = ["--faults", 0.005, "--timeout", 0.1, "--attempts", 200, "--json", tmp_path / "h.json"]
    assert main(command(folder, "icebreaker", *more, option="--simulate")) == 0
    result = json.loads((tmp_path / "h.json").read_text())
    assert (result["differing"], result["clips"]) == (0, 3)
    assert result["repeated"] > 0
    assert result["lost"] + result["damaged_replies"] > 0


def test_a_line_that_is_too_bad_is_an_error(small, refused, monkeypatch: pytest.MonkeyPatch):
    folder, board = small
    monkeypatch.setattr(board, "faults", LineFaults(flip=0.9))
    with board as bridge:
        line = refused(*command(folder, bridge.port, "--timeout", 0.05, "--attempts", 3))
    assert "no reply to STATUS after 3 attempts of 0.05 s each" in line


def test_a_board_that_differs_is_told_and_written(small, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch):
    folder, board = small
    broken = [bytes(byte ^ 1 for byte in chunk) for chunk in image_chunks(board.plan)]
    monkeypatch.setattr("lmu_kit.board_run.image_chunks", lambda _: broken)
    with board as bridge:
        line = refused(*command(folder, bridge.port, "--timeout", 20, "--json", tmp_path / "h.json"))
    assert "the board and the golden model differ: clip 0, frame 1, " in line
    result = json.loads((tmp_path / "h.json").read_text())
    assert result["differing"] > 0
    assert result["first"] in result["error"]


def test_a_board_with_another_design(small, refused):
    folder, board = small
    with board as bridge:
        line = refused(*command(folder, bridge.port, "--timeout", 20, "--state", "pulse"))
    assert "the board holds design " in line
    assert "give lanes, weights and state policy as flashed" in line


def test_ports_that_are_none(small, tmp_path: Path, refused):
    folder, _ = small
    (tmp_path / "file").write_text("")
    for name in (tmp_path / "none", tmp_path / "file"):
        assert f"{name}: cannot be opened as a serial port" in refused(*command(folder, name))


def test_a_port_where_nothing_answers(small, refused):
    folder, _ = small
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        line = refused(*command(folder, os.ttyname(slave), "--timeout", 0.05, "--attempts", 2))
    finally:
        os.close(master)
        os.close(slave)
    assert "no reply to STATUS after 2 attempts of 0.05 s each" in line


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["rom", "ram"])
def test_the_shipped_network_on_a_simulated_icebreaker(weights, tmp_path: Path):
    words = ["hil", "kws361", "--simulate", "icebreaker", "--weights", weights, "--clips", 2, "--faults", 0.0002]
    more = ["--timeout", 0.5, "--json", tmp_path / "h.json"]
    assert main([str(word) for word in (*words, *more)]) == 0
    result = json.loads((tmp_path / "h.json").read_text())
    assert (result["clips"], result["compared"], result["differing"]) == (2, 2 * 49 * 12, 0)
    assert result["repeated"] > 0
