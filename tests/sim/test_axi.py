"""The AXI wrapper: bit-exact under random traffic, every register, interrupts, loading; its Verilog and its page."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.cli.main import main
from lmu_hw.config import AcceleratorConfig, Interface
from lmu_hw.emit import emit, to_verilog, weight_image, wrapper_verilog
from lmu_hw.gateware.layouts import decision_layout, load_layout, logit_layout
from lmu_hw.golden import decide
from lmu_hw.plan import make_plan
from lmu_hw.registers import REGISTERS, load_beats, markdown, present
from lmu_hw.tools import find_verilator, find_yosys, run_tool
from lmu_sim.axi import BENCH, ChannelRules, ResponseRules, bench_verilog
from lmu_sim.random_models import random_frames, random_model
from lmu_sim.runner import Simulator, SimulatorError, build, run
from lmu_sim.stimulus import reference, stimulus

TESTS = 5
CASES = {
    "rom": (11, {"units": 4, "stride": 1}, {"lanes": 4}),
    "pulse": (12, {"units": 3, "stride": 2}, {"lanes": 7, "weights": "ram", "state": "pulse"}),
    "utterance": (13, {"layers": ("dense", "dense"), "units": 5}, {"lanes": 2, "state": "utterance"}),
    "one label": (14, {"layers": ("dense",), "units": 1}, {"lanes": 1, "weights": "ram", "state": "utterance"}),
    "many labels": (15, {"layers": ("dense",), "units": 36, "inputs": 3, "bias": True}, {"lanes": 16}),
}


def plan_of(name):
    seed, options, config = CASES[name]
    rng = np.random.default_rng(seed)
    model = random_model(rng, **options)
    return make_plan(model, AcceleratorConfig(**config, interface="axi")), random_frames(rng, model, 2, 7)


def bytes_of(width):
    return 8 * -(-width // 8)


def described(name):
    """What the bench must know: frames, expected beats, registers."""
    plan, utterances = plan_of(name)
    n = plan.model.inputs
    frames = stimulus(plan, utterances, malformed={4: [[0] * (n + 1)], 8: [[1] * (2 * n + 1)]}, seed=1)
    logit, decision = logit_layout(plan), decision_layout(plan)
    width = bytes_of(logit["data"].width)
    label_width = bytes_of(decision["label"].width)
    mask = (1 << width) - 1
    logits, decisions, decided = [], [], []
    for one in reference(plan.model, frames)[0]:
        if "logits" in one.values:
            values = one.values["logits"]
            logits += [[int(v) & mask, int(place == values.size - 1)] for place, v in enumerate(values)]
            label, score = (int(v) for v in decide(values))
            decided.append([label, score])
            decisions.append([label | (score & mask) << label_width, 1])
    ram = plan.config.weights.value == "ram"
    beats = load_beats(plan) if ram else 0
    flags = ram | (plan.config.state.value == "pulse") << 1 | (plan.config.state.value == "utterance") << 2
    widths = {"THRESHOLD": 32, "IRQ_ENABLE": 2}
    widths |= {f"LABEL_MASK{k}": min(32, plan.model.outputs - 32 * k) for k in range(-(-plan.model.outputs // 32))}
    layout = load_layout(plan)
    widths |= {"LOAD_MEMORY": layout["memory"].width, "LOAD_ADDRESS": layout["address"].width}
    words = [[int(f, 16) for f in line.split()] for line in weight_image(plan).splitlines()] if ram else []
    return plan, {
        "seed": CASES[name][0],
        "inputs": n,
        "labels": plan.model.outputs,
        "frames": [{"values": list(f.values), "clear": bool(f.clear), "end": f.end} for f in frames],
        "logits": logits,
        "decisions": decisions,
        "decided": decided,
        "weights": words,
        "beats": beats,
        "features": flags | beats << 8,
        "shape": n | plan.model.outputs << 16,
        "present": [register.name for register in present(plan)],
        "widths": widths,
        "period": plan.period,
        "cycles": max(frame.interval for frame in plan.frames),
    }


def simulate(simulator, name, directory, monkeypatch, change=lambda wrapper: wrapper):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    plan, case = described(name)
    assert case["decisions"]
    wrapper = change(wrapper_verilog(plan))
    sources = {
        "core.v": to_verilog(plan),
        "wrapper.v": wrapper,
        "bench.v": bench_verilog(wrapper, "lmu_accelerator_axi"),
    }
    built = build(simulator, sources, BENCH, directory / "builds")
    path = directory / "case.json"
    path.write_text(json.dumps(case))
    run(built, "axi_bench", TESTS, directory / "run", environment={"LMU_AXI_CASE": str(path)})


@pytest.mark.parametrize("name", CASES)
def test_icarus(name, tmp_path, monkeypatch):
    simulate(Simulator.ICARUS, name, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_verilator(name, tmp_path, monkeypatch):
    simulate(Simulator.VERILATOR, name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", CASES)
def test_verilator_has_no_warning(name, tmp_path):
    emit(plan_of(name)[0], tmp_path, "spotter")
    output = run_tool(find_verilator(), ["--lint-only", "-Wall", "spotter.v", "spotter_axi.v"], tmp_path)
    assert "%Warning" not in output


def test_yosys_accepts_the_wrapper(request):
    build_folder = request.config.rootpath / "build"  # a Yosys with a `/tmp` of its own sees it too
    build_folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_folder) as folder:
        emit(plan_of("pulse")[0], folder, "spotter")
        script = (
            "read_verilog spotter.v spotter_axi.v; hierarchy -check -top spotter_axi; proc; check -assert; "
            "select -assert-none t:$dlatch* t:$adff* t:$aldff* t:$dffsr* t:$sr"
        )
        output = run_tool(find_yosys(), ["-Q", "-p", script], Path(folder))
    assert "Warning" not in output
    assert "Found and reported 0 problems" in output


def test_the_core_is_the_one_without_a_wrapper(tmp_path):
    plan, _ = plan_of("pulse")
    native = make_plan(plan.model, AcceleratorConfig(lanes=7, weights="ram", state="pulse"))
    assert to_verilog(plan) == to_verilog(native)
    assert wrapper_verilog(native) == ""
    written = [path.name for path in emit(plan, tmp_path)]
    assert written == ["lmu_accelerator.v", "lmu_accelerator_axi.v", "lmu_accelerator.weights", "lmu_accelerator.json"]
    modules = re.findall(r"^module \\?([\w.]+)", (tmp_path / written[1]).read_text(), re.MULTILINE)
    assert all(module.startswith("lmu_accelerator_axi") for module in modules)
    manifest = json.loads((tmp_path / written[-1]).read_text())
    assert manifest["config"]["interface"] == "axi"
    assert AcceleratorConfig.from_dict(manifest["config"]) == plan.config
    assert "interface" not in native.config.to_dict()
    assert AcceleratorConfig.from_dict(native.config.to_dict()).interface is Interface.STREAM
    with pytest.raises(ValueError, match="interface must be one of stream, axi, not 'wishbone'"):
        AcceleratorConfig(interface="wishbone")


def test_the_wrapper_is_the_same_in_every_run():
    assert wrapper_verilog(plan_of("pulse")[0]) == wrapper_verilog(plan_of("pulse")[0])


def test_the_command_line_writes_the_wrapper(tmp_path):
    assert main(["verilog", "kws361", "--out", str(tmp_path), "--interface", "axi"]) == 0
    assert (tmp_path / "lmu_accelerator_axi.v").is_file()


def test_what_the_registers_have_no_room_for_is_refused():
    model = random_model(np.random.default_rng(1), layers=("dense",), inputs=1, units=257)
    with pytest.raises(ValueError, match="room for 256 labels, not for 257"):
        wrapper_verilog(make_plan(model, AcceleratorConfig(interface="axi")))


def test_the_page_is_the_table(request):
    page = request.config.rootpath / "docs" / "registers.md"
    assert page.read_text() == markdown()
    assert all(len(line) <= 120 for line in markdown().splitlines())


def test_registers_do_not_overlap():
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 256 for offset in offsets)


def test_the_checker_sees_broken_rules():
    rules = ChannelRules("r")
    assert rules.step(True, False, (1,)) is None
    assert rules.step(True, True, (1,)) is None
    assert rules.step(True, True, (2,)) is None
    assert rules.step(False, False, ()) is None
    assert rules.step(True, False, (3,)) is None
    assert rules.step(False, True, ()) == "r: valid fell before ready"
    assert rules.step(True, False, (3,)) is None
    assert rules.step(True, False, (4,)) == "r: payload changed from (3,) to (4,) before ready"
    responses = ResponseRules("b", 2)
    assert responses.step((True, False), False, True) is None
    assert responses.step((False, True), True, False) == "b: response without a request"
    assert responses.step((False, False), True, True) is None
    assert responses.step((True, True), True, True) == "b: response without a request"


FAULTS = {
    "interrupt upside down": ("utterance", r"assign irq = ([^;]+);", r"assign irq = ~(\1);", 1),
    "heard without its mask": ("utterance", r"assign heard = (\S+) +& (\S+) *;", r"assign heard = \1 | \2 ;", 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_bench_sees_a_fault(fault, tmp_path, monkeypatch):
    name, pattern, replacement, failing = FAULTS[fault]

    def change(wrapper):
        changed, count = re.subn(pattern, replacement, wrapper)
        assert count == 1
        return changed

    with pytest.raises(SimulatorError, match=rf"ran {TESTS} tests of axi_bench, {failing} failed"):
        simulate(Simulator.ICARUS, name, tmp_path, monkeypatch, change)
