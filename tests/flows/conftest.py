"""Accelerators as Verilog of any kind (netlists, with macros), run in Icarus against the golden model."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.export.emit import weight_image
from lmu_hw.export.names import TOP
from lmu_hw.gateware.layouts import load_layout
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig, WeightStore
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.tools import find_icarus
from lmu_sim.testing.random_models import random_frames, random_model

BENCH = Path(__file__).with_name("netlist_bench.v")

FRAMES = 6


@pytest.fixture(scope="session")
def small_model() -> QuantizedModel:
    """One LMU and one dense layer."""
    return random_model(
        np.random.default_rng(5), layers=("lmu", "dense"), inputs=4, units=6, memories=[(4, 8.0)], e_h=False, e_m=False,
        w_x=True, w_h=False, activation="relu", u_activation="linear", stride=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_plan(small_model: QuantizedModel) -> Callable[..., Plan]:
    """Plan of the small model."""

    def plan(lanes: int = 2, weights: str = "ram", **options: bool) -> Plan:
        return make_plan(small_model, AcceleratorConfig(lanes=lanes, weights=weights, **options))

    return plan


def _hex(folder: Path, name: str, words: list[int]) -> None:
    (folder / name).write_text("".join(f"{word:x}\n" for word in words or [0]))


def _loads(plan: Plan) -> tuple[int, list[int]]:
    """Width and words of the load port."""
    if plan.config.weights is WeightStore.ROM:
        return 1, []
    layout = load_layout(plan)
    address, data = layout["address"].offset, layout["data"].offset
    lines = [line.split() for line in weight_image(plan).splitlines() if not line.startswith("#")]
    return layout.size, [int(m, 16) | int(a, 16) << address | int(d, 16) << data for m, a, d in lines]


def _vectors(plan: Plan, folder: Path) -> dict[str, int]:
    model = plan.model
    frames = random_frames(np.random.default_rng(1), model, 1, FRAMES)
    logits = Golden(model).run(frames)["logits"][0]
    known = vectors(model)[output_name(model)]
    width, mask = known.format.width, (1 << known.format.width) - 1
    label_bits = max(1, (model.outputs - 1).bit_length())
    wide = model.input.width
    inputs = [
        int(value) & ((1 << wide) - 1) | (place == model.inputs - 1) << wide
        for frame in frames[0]
        for place, value in enumerate(frame)
    ]
    words = [int(value) & mask | (n == model.outputs - 1) << width for row in logits for n, value in enumerate(row)]
    decisions = [int(np.argmax(row)) | (int(row.max()) & mask) << label_bits for row in logits]
    load_width, loads = _loads(plan)
    for name, found in (("inputs", inputs), ("logits", words), ("decisions", decisions), ("loads", loads)):
        _hex(folder, f"{name}.hex", found)
    return {
        "INPUT_WIDTH": wide + 1, "LOGIT_WIDTH": width + 1, "DECISION_WIDTH": label_bits + width,
        "LOAD_WIDTH": load_width, "INPUTS": len(inputs), "LOGITS": len(words), "DECISIONS": len(decisions),
        "LOADS": len(loads),
    }  # fmt: skip


def _header(plan: Plan, parameters: dict[str, int]) -> str:
    ports = [
        ".clk(clk), .rst(rst), .i__payload(i), .i__valid(i_valid), .i__ready(i_ready)",
        ".o_logits__payload(logit), .o_logits__valid(logit_valid), .o_logits__ready(1'b1)",
        ".o_decision__payload(decision), .o_decision__valid(decision_valid), .o_decision__ready(1'b1)",
        ".frame_error(frame_error)",
    ]
    if plan.config.weights is WeightStore.RAM:
        ports.append(".i_load__payload(load), .i_load__valid(load_valid), .i_load__ready(load_ready)")
    lines = [f"localparam {name} = {value};" for name, value in parameters.items()]
    return "\n".join([*lines, f"`define INSTANCE {TOP} dut ({', '.join(ports)});", ""])


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., str]:
    """Run Verilog of an accelerator; the bench's last line, and the line of a run without a difference."""

    def run(plan: Plan, verilog: str, *models: Path, defines: tuple[str, ...] = ()) -> tuple[str, str]:
        parameters = _vectors(plan, tmp_path)
        (tmp_path / "bench.vh").write_text(_header(plan, parameters))
        (tmp_path / "design.v").write_text(verilog)
        shutil.copy(BENCH, tmp_path)
        command = [*find_icarus().command, "-g2012", "-s", "bench", "-o", "bench.vvp"]
        command += [f"-D{name}" for name in defines]
        command += ["netlist_bench.v", "design.v", *map(str, models)]
        for step in (command, ["vvp", "-n", "bench.vvp"]):
            done = subprocess.run(step, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
        equal = f"{parameters['LOGITS']} logits, {parameters['DECISIONS']} decisions, 0 wrong"
        return done.stdout.strip().splitlines()[-1], equal

    return run
