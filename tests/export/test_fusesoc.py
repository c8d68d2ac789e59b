"""FuseSoC finds the cores by name, lints them, and gives their files to a project that depends on them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lmu_hw.export.emit import emit
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_verilator
from lmu_hw.version import VERSION
from lmu_sim.testing.random_models import random_model

RTL = Path(__file__).parents[2] / "rtl"
PROJECT = """\
CAPI=2:
name: test:project:chip:1.0.0
filesets:
  rtl:
    depend: ["lmu-hw:accelerators:kws"]
targets:
  default:
    filesets: [rtl]
    flow: lint
    flow_options: {tool: verilator}
    toplevel: kws_spi
"""


@pytest.fixture
def fusesoc(tmp_path):
    def run(root, *arguments):
        environment = {**find_verilator().env, "XDG_CONFIG_HOME": str(tmp_path), "HOME": os.environ.get("HOME", "/")}
        command = [sys.executable, "-c", "from fusesoc.main import main; main()", "--cores-root", str(root)]
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def emitted(tmp_path):
    model = random_model(np.random.default_rng(4), layers=("lmu", "dense"))
    plan = make_plan(model, AcceleratorConfig(lanes=2, weights="ram", state="pulse", interface="spi"))
    emit(plan, tmp_path / "cores", "kws")
    return tmp_path / "cores"


def test_the_reference_accelerators_are_listed(fusesoc):
    status, output = fusesoc(RTL, "core", "list")
    assert status == 0, output
    for path in RTL.glob("*.core"):
        assert f"lmu-hw:accelerators:{path.stem}:{VERSION}" in output
    status, output = fusesoc(RTL, "core", "show", "lmu-hw:accelerators:lmu_kws361_8_ram")
    assert status == 0, output
    assert "Keyword spotter kws361, 8 lanes, weights in RAM" in output
    assert fusesoc(RTL, "core", "show", "lmu-hw:accelerators:kws9")[0] != 0


def test_verilator_lints_a_core(fusesoc, emitted):
    status, output = fusesoc(emitted, "run", "--target", "lint", "lmu-hw:accelerators:kws")
    assert status == 0, output
    assert "%Warning" not in output
    (emitted / "kws_spi.v").write_text("module kws_spi(input a, output b); assign b = c; endmodule\n")
    assert fusesoc(emitted, "run", "--target", "lint", "lmu-hw:accelerators:kws")[0] != 0


def test_a_project_gets_the_files_by_name(fusesoc, emitted, tmp_path):
    (emitted / "chip.core").write_text(PROJECT)
    status, output = fusesoc(emitted, "run", "--setup", "--build-root", str(tmp_path / "build"), "test:project:chip")
    assert status == 0, output
    described = yaml.safe_load(next((tmp_path / "build").rglob("*.eda.yml")).read_text())
    names = {Path(one["name"]).name: one["file_type"] for one in described["files"]}
    assert names == {"kws.v": "verilogSource", "kws_spi.v": "verilogSource", "kws.weights": "user"}
