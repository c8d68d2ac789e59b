"""The replay bundle: passes with a make and a simulator but no Python, and fails when any part of it is changed."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.export.bundle import bundle, write_bundle
from lmu_hw.model import program_file
from lmu_hw.model.gate import Gate
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_icarus, find_verilator
from lmu_kit.cli.main import main
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames
from lmu_sim.faults import flip_bit
from lmu_sim.runner import Simulator
from lmu_sim.stimulus import reference, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

CASES = {
    "rom": (1, ("lmu", "dense"), {"lanes": 4}),
    "tanh": (2, ("lmu", "lmu", "dense"), {"lanes": 3, "weights": "ram", "state": "pulse"}),
    "utterance": (4, ("dense", "lmu"), {"lanes": 8, "state": "utterance", "weights": "ram"}),
    "dense": (7, ("dense",), {"lanes": 1, "state": "pulse"}),
    "separable": (3, ("separable", "dense"), {"lanes": 4, "state": "utterance"}),
    "axi": (2, ("lmu", "lmu", "dense"), {"lanes": 3, "weights": "ram", "state": "pulse", "interface": "axi"}),
    "axi utterance": (4, ("dense", "lmu"), {"lanes": 8, "state": "utterance", "interface": "axi"}),
    "spi": (2, ("lmu", "dense"), {"lanes": 3, "weights": "ram", "state": "pulse", "interface": "spi"}),
    "spi utterance": (4, ("dense", "lmu"), {"lanes": 8, "state": "utterance", "interface": "spi"}),
    "asleep": (5, ("lmu", "dense"), {"lanes": 4, "state": "pulse"}),
}


@functools.cache
def case(name):
    seed, layers, config = CASES[name]
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=layers)
    frames = random_frames(rng, model, 3, 7)
    if name == "asleep":
        low, high = model.inputs * model.input.min, model.inputs * model.input.max
        model = replace(model, gate=Gate((high - low) // 8, 1, 6, 2, low))
        frames[:, 0], frames[:, 2:5] = model.input.max, model.input.min
        assert [int(model.gate.awake(clip).sum()) for clip in frames] != [7, 7, 7]
    return make_plan(model, AcceleratorConfig(**config)), frames


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """An environment with every program of the system, and Verilator, but no Python."""
    folder = tmp_path_factory.mktemp("programs")
    python = re.compile(r"(python|pydoc|pip|py3)")
    for place in ("/usr/bin", "/bin", *(str(Path(find_icarus().command[0]).parent),)):
        for program in Path(place).iterdir():
            link = folder / program.name
            if not python.match(program.name) and not link.is_symlink():
                link.symlink_to(program)
    verilator = find_verilator()
    root = verilator.env.get("VERILATOR_ROOT")
    path = f"{folder}{os.pathsep}{Path(verilator.command[0]).parent}"
    assert shutil.which("python3", path=path) is None
    assert shutil.which("python", path=path) is None
    return {"PATH": path, **({} if root is None else {"VERILATOR_ROOT": root})}


@functools.cache
def files(name):
    return bundle(*case(name))


def write(name, folder):
    """Write the bundle of a case; its plan and frames."""
    for file, text in files(name).items():
        (folder / file).write_text(text)
    return case(name)


@pytest.fixture
def make(environment):
    def run(folder, target, *arguments):
        done = subprocess.run(
            ["make", target, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def count(plan, utterances):
    """Values that a bundle compares: words of constants, elements, logits, decisions."""
    expected = reference(plan.model, stimulus(plan, utterances)).expected
    constants = sum(len(words) for words in plan.images().values())
    elements = sum(value.size for one in expected for name, value in one.values.items() if name != "logits")
    giving = sum(output_name(plan.model) in one.values for one in expected)
    return constants + elements + giving * (plan.model.outputs + 1)


def passes(plan, utterances, output):
    return f"\n{count(plan, utterances)} values compared, 0 differ\n" in output and "arning" not in output


def corrupt(path, line, digit=-1):
    """Change the lowest bit of a digit of a line of a hexadecimal file."""
    lines = path.read_text().split("\n")
    digits = list(lines[line])
    digits[digit] = f"{int(digits[digit], 16) ^ 1:x}"
    lines[line] = "".join(digits)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("name", CASES)
def test_icarus_passes(name, tmp_path, make):
    plan, utterances = case(name)
    write_bundle(plan, utterances, tmp_path, "spotter")
    for arguments in ((), ("PLUSARGS=+stall",)):
        status, output = make(tmp_path, "icarus", *arguments)
        assert status == 0, output
        assert passes(plan, utterances, output), output


def test_verilator_passes_and_fails(tmp_path, make):
    plan, utterances = write("tanh", tmp_path)
    status, output = make(tmp_path, "all")
    assert status == 0, output
    assert output.count(f"{count(plan, utterances)} values compared, 0 differ") == 2
    assert "%Warning" not in output
    status, output = make(tmp_path, "verilator", "PLUSARGS=+stall")
    assert status == 0, output
    for file in ("elements.hex", "logits.hex", "decisions.hex", "memory_tanh.hex", "weights.hex"):
        text = (tmp_path / file).read_text()
        corrupt(tmp_path / file, 5, -3 if file == "weights.hex" else -1)  # a bit of the word, not of its address
        status, output = make(tmp_path, "verilator")
        assert status != 0, file
        assert "FAIL" in output
        assert "0 differ" not in output
        (tmp_path / file).write_text(text[: len(text) // 2])
        status, output = make(tmp_path, "verilator")
        assert status != 0, file
        assert "a file is cut short" in output, output
        (tmp_path / file).unlink()
        assert make(tmp_path, "verilator")[0] != 0, file
        (tmp_path / file).write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["axi", "spi utterance"])
def test_verilator_passes_with_a_wrapper(name, tmp_path, make):
    plan, utterances = write(name, tmp_path)
    for plusargs in ("", "+stall"):
        status, output = make(tmp_path, "verilator", f"PLUSARGS={plusargs}")
        assert status == 0, output
        assert passes(plan, utterances, output), output


@pytest.mark.parametrize(("file", "message"), [("weights.hex", "memory"), ("adapter.vh", "refused")])
def test_weights_that_a_wrapper_refuses_fail(file, message, tmp_path, make):
    write("axi", tmp_path)
    if file == "adapter.vh":
        path = tmp_path / file
        path.write_text(re.sub(r"SHAPE_ID = 32'd\d+", "SHAPE_ID = 32'd1", path.read_text()))
    else:
        corrupt(tmp_path / file, 5, -3)
    status, output = make(tmp_path, "icarus")
    assert status != 0
    assert message in output
    assert "FAIL" in output


@pytest.mark.parametrize("file", ["elements.hex", "logits.hex", "decisions.hex", "memory_parameters.hex"])
@pytest.mark.parametrize("name", ["rom", "tanh", "axi", "spi"])
def test_a_corrupted_expectation_fails(name, file, tmp_path, make):
    write(name, tmp_path)
    corrupt(tmp_path / file, 5)
    status, output = make(tmp_path, "icarus")
    assert status != 0
    assert "expected" in output
    assert "0 differ" not in output


@pytest.mark.parametrize("file", ["elements.hex", "logits.hex", "decisions.hex", "inputs.hex", "memory_weights"])
def test_a_file_cut_short_or_missing_fails(file, tmp_path, make):
    write("rom", tmp_path)
    file = next(tmp_path.glob("memory_weights*")) if "weights" in file else tmp_path / file
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[: len(lines) // 2]))
    assert make(tmp_path, "icarus")[0] != 0
    file.unlink()
    assert make(tmp_path, "icarus")[0] != 0


def test_a_corrupted_weight_fails(tmp_path, make):
    plan, _ = write("rom", tmp_path)
    source = tmp_path / "lmu_accelerator.v"
    memory = plan.weight_memories[0].name
    source.write_text(flip_bit(source.read_text(), f"memory_{memory}", 1, 0))
    status, output = make(tmp_path, "icarus")
    assert status != 0
    assert f"word 1 of memory {memory}: expected" in output
    corrupt(tmp_path / f"memory_{memory}.hex", 1)
    status, output = make(tmp_path, "icarus")
    assert status != 0
    assert re.search(r"layer\d\.[umh]\[\d+\] of frame \d+: expected \w+, got \w+ \(cycle \d+, after \d+ equal", output)


def test_the_first_mismatch_is_named(tmp_path, make):
    plan, utterances = write("rom", tmp_path)
    frame, name = 9, "layer0.m"
    golden = Golden(plan.model)
    per_frame = [
        (number, op.target, element)
        for number, one in enumerate(reference(plan.model, stimulus(plan, utterances)).expected)
        for op in golden.operations
        if op.target in one.values
        for element in range(op.start, op.start + op.repeat * op.rows)
    ]
    corrupt(tmp_path / "elements.hex", per_frame.index((frame, name, 0)))
    assert f"\n{name}[0] of frame {frame}: expected" in make(tmp_path, "icarus")[1]


def test_equal_arguments_give_equal_bytes(tmp_path):
    plan, utterances = case("tanh")
    first, second = files("tanh"), bundle(plan, utterances)
    assert first == second
    paths = write_bundle(plan, list(utterances), tmp_path / "new" / "folder")
    assert {path.name: path.read_text() for path in paths} == first
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(first)
    manifest = json.loads(first["manifest.json"])
    assert manifest["files"] == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in first.items() if name != "manifest.json"
    }
    assert not any(re.search(r"[\s\"'(](/[a-z]\w*){2,}", text) for name, text in first.items() if name != "tb.v")
    assert len(first["README.md"].splitlines()) <= 10


def test_frames_that_do_not_fit_are_refused():
    plan, utterances = case("rom")
    with pytest.raises(ValueError, match=r"integers of shape \(T, \d+\), not int64 of \(7, \d+\)"):
        bundle(plan, utterances[:, :, 1:])
    with pytest.raises(ValueError, match=r"integers of shape \(T, \d+\), not float64"):
        bundle(plan, utterances * 1.0)
    with pytest.raises(ValueError, match="frame values must be in"):
        bundle(plan, utterances + 1000)
    with pytest.raises(ValueError, match="at least one utterance"):
        bundle(plan, [])
    with pytest.raises(ValueError, match="must not be named 'tb'"):
        bundle(plan, utterances, "tb")


def test_frames_before_the_first_logits_pass(tmp_path, make):
    rng = np.random.default_rng(3)
    model = random_model(rng, layers=("lmu", "dense"), stride=3)
    plan, utterances = make_plan(model), random_frames(rng, model, 1, 2)
    write_bundle(plan, utterances, tmp_path)
    status, output = make(tmp_path, "icarus")
    assert status == 0, output
    assert "0 logits, 0 decisions" in output
    assert passes(plan, utterances, output)


def test_the_spotter_from_the_command_line(tmp_path, make, capsys):
    frames = zoo.path("kws361", "test.safetensors")
    arguments = ["verilog", "kws361", "--bundle", str(tmp_path), "--frames", str(frames), "--clips", "2"]
    assert main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    assert str(tmp_path / "elements.hex") in json.loads((tmp_path / "r.json").read_text())["files"]
    assert main(["verilog", "kws361"]) == 1
    assert main(["verilog", "kws361", "--out", str(tmp_path), "--clips", "3"]) == 1
    assert "--frames and --clips belong to --bundle" in capsys.readouterr().err
    assert len((tmp_path / "decisions.hex").read_text().splitlines()) == 2 * 49 + 1


@pytest.fixture(scope="session")
def spotter():
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    return make_plan(model, AcceleratorConfig(lanes=8)), load_frames(zoo.path("kws361", "test.safetensors")).frames


def test_the_spotter_passes(spotter, tmp_path, make):
    plan, frames = spotter
    write_bundle(plan, frames[:1, 20:23], tmp_path)
    status, output = make(tmp_path, "icarus")
    assert status == 0, output
    assert passes(plan, frames[:1, 20:23], output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulator", "length"), [(Simulator.ICARUS, 12), (Simulator.VERILATOR, 49)]
)  # Icarus takes seconds for a frame
def test_a_clip_of_the_spotter_passes_until_a_weight_is_changed(spotter, simulator, length, tmp_path, make):
    plan, frames = spotter
    clip = frames[:1, -length:]
    write_bundle(plan, clip, tmp_path)
    status, output = make(tmp_path, simulator.value)
    assert status == 0, output
    assert passes(plan, clip, output)
    source = tmp_path / "lmu_accelerator.v"
    memory = plan.weight_memories[0].name
    source.write_text(flip_bit(source.read_text(), f"memory_{memory}", 100, 3))
    status, output = make(tmp_path, simulator.value)
    assert status != 0
    assert f"word 100 of memory {memory}: expected" in output
