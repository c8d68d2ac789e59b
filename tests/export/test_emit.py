"""The emitted files: the same bytes every time, clean under Verilator and Yosys, written whole."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.export import emit as emit_module
from lmu_hw.export.emit import LINT_WAIVERS, emit, to_verilog, weight_image
from lmu_hw.files import is_sealed
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_verilator, find_yosys, run_tool
from lmu_sim.testing.random_models import random_model

CONFIGS = {
    "rom": {"lanes": 4},
    "ram_pulse": {"lanes": 3, "weights": "ram", "state": "pulse"},
    "utterance": {"lanes": 8, "state": "utterance"},
    "one_lane": {"lanes": 1, "state": "utterance", "weights": "ram"},
}
LAYERS = [("dense",), ("lmu", "lmu", "dense"), ("lmu",), ("dense", "lmu")]
CASES = [*zip(CONFIGS, LAYERS, strict=True), *zip(CONFIGS, [LAYERS[1], LAYERS[2], LAYERS[3], LAYERS[0]], strict=True)]

GATEWARE = Path(emit_module.__file__).parents[1] / "gateware"


def plan_of(seed, layers=("lmu", "dense"), **config):
    return make_plan(random_model(np.random.default_rng(seed), layers=layers), AcceleratorConfig(**config))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'+'.join(case[1])}")
def verilog(request):
    name, layers = request.param
    return to_verilog(plan_of(CASES.index(request.param), layers, **CONFIGS[name]))


@pytest.fixture
def seen_by_yosys(request, tmp_path_factory):
    """A folder that a Yosys with a `/tmp` of its own sees too."""
    build = request.config.rootpath / "build"
    build.mkdir(exist_ok=True)
    folder = build / f"yosys-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_verilator_has_no_warning(verilog, tmp_path):
    (tmp_path / "design.v").write_text(verilog)
    output = run_tool(find_verilator(), ["--lint-only", "-Wall", "design.v"], tmp_path)
    assert "%Warning" not in output


def test_every_waiver_is_needed_and_has_a_reason(tmp_path):
    text = to_verilog(plan_of(0, LAYERS[1], lanes=8))
    for code, reason in LINT_WAIVERS.items():
        waiver = f"/* verilator lint_off {code} */  // {reason}\n"
        assert waiver in text
        (tmp_path / f"{code}.v").write_text(text.replace(waiver, ""))
        arguments = ["--lint-only", "-Wall", "-Wno-fatal", f"{code}.v"]
        assert f"%Warning-{code}:" in run_tool(find_verilator(), arguments, tmp_path)
        assert len(reason.split()) > 3


def test_yosys_accepts_the_verilog(verilog, seen_by_yosys):
    (seen_by_yosys / "design.v").write_text(verilog)
    script = (
        "read_verilog design.v; hierarchy -check -top lmu_accelerator; proc; check -assert; "
        "select -assert-none t:$dlatch* t:$adff* t:$aldff* t:$dffsr* t:$sr"
    )
    output = run_tool(find_yosys(), ["-Q", "-p", script], seen_by_yosys)
    assert "Warning" not in output
    assert "Found and reported 0 problems" in output


def test_the_verilog_names_no_place_on_the_disk(verilog):
    assert ".py" not in verilog
    assert not re.search(r"[\s\"'(](/[a-z]\w*){2,}", verilog)


SCRIPT = """
import numpy as np
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.export.emit import to_verilog, weight_image
from lmu_hw.plan.plan import make_plan
from lmu_sim.testing.random_models import random_model
import sys
plan = make_plan(random_model(np.random.default_rng(5), layers=("lmu", "lmu", "dense")), AcceleratorConfig(4, "ram"))
sys.stdout.write(to_verilog(plan) + weight_image(plan))
"""


def test_the_bytes_do_not_depend_on_the_process():
    digests = set()
    for seed in ("0", "1", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, check=True, timeout=120)
        assert len(done.stdout) > 10_000
        digests.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(digests) == 1


def test_the_top_module_has_the_name_asked_for(tmp_path):
    plan = plan_of(1, lanes=2)
    ends = (".v", ".core", ".xml", ".json")
    assert [path.name for path in emit(plan, tmp_path, "spotter8")] == [f"spotter8{end}" for end in ends]
    modules = re.findall(r"^module \\?([\w.]+)", (tmp_path / "spotter8.v").read_text(), re.MULTILINE)
    assert "spotter8" in modules
    assert all(module == "spotter8" or module.startswith("spotter8.") for module in modules)


def test_the_manifest_has_the_hashes_of_the_files(tmp_path):
    plan = plan_of(2, lanes=2, weights="ram")
    written = emit(plan, tmp_path / "new" / "folder")
    ends = (".v", ".weights", ".core", ".xml", ".json")
    assert [path.name for path in written] == [f"lmu_accelerator{end}" for end in ends]
    manifest = json.loads(written[-1].read_text())
    for path in written[:2]:
        assert manifest["files"][path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert AcceleratorConfig.from_dict(manifest["config"]) == plan.config
    assert manifest["plan"]["memory_bits"] == plan.memory_bits
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(path.name for path in written)
    assert written[0].stat().st_mode & 0o777 == 0o644


def test_the_weight_image_has_every_word_once():
    plan = plan_of(3, lanes=3, weights="ram")
    memories = (*plan.weight_memories, plan.parameters)
    words = [tuple(int(field, 16) for field in line.split()) for line in weight_image(plan).splitlines()]
    assert len(words) == sum(memory.depth for memory in memories)
    assert len({word[:2] for word in words}) == len(words)
    for index, address, data in words:
        assert address < memories[index].depth
        assert data < 1 << memories[index].width
        assert plan.images()[memories[index].name][address] == data


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    plan = plan_of(4, lanes=2, weights="ram")
    emit(plan, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(emit_module, "make_image", broken)
    with pytest.raises(OSError, match="disk full"):
        emit(plan_of(5, lanes=4, weights="ram"), tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    (tmp_path / "lmu_accelerator.weights").unlink()
    (tmp_path / "lmu_accelerator.weights").mkdir()
    with pytest.raises(OSError, match=r"lmu_accelerator\.weights"):
        emit(plan, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(before)


def test_ninety_thousand_weights_are_emitted_in_seconds(published_size_spotter):
    assert published_size_spotter.weight_bits >= 4 * 90_000
    begun = time.process_time()
    text = to_verilog(make_plan(published_size_spotter, AcceleratorConfig(lanes=8)))
    assert len(text) > 300_000
    assert time.process_time() - begun < 10


def test_verilator_has_no_warning_for_the_spotter(spotter, tmp_path):
    (tmp_path / "design.v").write_text(to_verilog(make_plan(spotter, AcceleratorConfig(lanes=16))))
    assert "%Warning" not in run_tool(find_verilator(), ["--lint-only", "-Wall", "design.v"], tmp_path)


@pytest.mark.slow
def test_yosys_accepts_the_spotter(spotter, seen_by_yosys):
    (seen_by_yosys / "design.v").write_text(to_verilog(make_plan(spotter, AcceleratorConfig(lanes=16))))
    script = "read_verilog design.v; hierarchy -check -top lmu_accelerator; proc; check -assert"
    assert "Warning" not in run_tool(find_yosys(), ["-Q", "-p", script], seen_by_yosys)


def test_no_name_depends_on_the_version_of_python():
    """Amaranth takes names from bytecode, and what it finds for a tuple of targets changed with Python 3.13."""
    for path in sorted(GATEWARE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                made = ast.unparse(node.value)
                unnamed = re.search(r"Signal\((?![^)]*name=)|_port\(", made)
                assert unnamed is None, f"{path.name}:{node.lineno}: give each signal its own line, not {made}"


def test_files_of_an_earlier_accelerator_are_removed(tmp_path):
    wrapped = {"weights": "ram", "interface": "axi"}
    names = {path.name for path in emit(plan_of(1, lanes=2, **wrapped), tmp_path, "kws")}
    assert {path.name for path in tmp_path.iterdir()} == names == {
        "kws.v", "kws_axi.v", "kws.weights", "kws.core", "kws.xml", "kws.json"
    }  # fmt: skip
    (tmp_path / "other_axi.v").write_text("// of another accelerator")
    plain = emit(plan_of(2, lanes=2), tmp_path, "kws")
    assert {path.name for path in tmp_path.iterdir()} == {"kws.v", "kws.core", "kws.xml", "kws.json", "other_axi.v"}
    again = emit(plan_of(2, lanes=2), tmp_path / "new", "kws")
    assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in again]


def test_a_generated_file_of_a_killed_run_is_removed_and_one_of_the_user_refused(tmp_path):
    emit(plan_of(1, lanes=2, interface="spi"), tmp_path, "kws")
    (tmp_path / "kws.json").unlink()
    emit(plan_of(2, lanes=2), tmp_path, "kws")
    assert not (tmp_path / "kws_spi.v").exists()
    (tmp_path / "kws_spi.v").write_text("module mine; endmodule")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"kws_spi\.v: is not of the accelerator .* nor the file that kws\.json lists"):
        emit(plan_of(3, lanes=2), tmp_path, "kws")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_manifest_carries_a_hash_over_itself(tmp_path):
    emit(plan_of(1, lanes=2, weights="ram"), tmp_path, "kws")
    manifest = json.loads((tmp_path / "kws.json").read_text())
    assert is_sealed(manifest)
    for name in ("top", "config", "files", "shape", "tools"):
        assert not is_sealed(manifest | {name: "x"})
