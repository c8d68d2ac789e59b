"""Names of modules: what Verilog does not take is refused by every function that takes a name."""

import gc
import os

import numpy as np
import pytest

from lmu_hw.boards import BOARDS
from lmu_hw.boards.top import BoardTop
from lmu_hw.export.bundle import bundle, write_bundle
from lmu_hw.export.emit import convert, emit, manifest, to_verilog, wrapper_verilog
from lmu_hw.export.fusesoc import core_file
from lmu_hw.export.ipxact import component
from lmu_hw.export.names import KEYWORDS, check_module_name, wrapper_name
from lmu_hw.gateware.accelerator import Accelerator
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.testing.random_models import random_model

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

NAMES = ["module", "logic", "größe", "1a", "a-b", "a b", "", "a$", "a\n", "3 bad name", None]


@pytest.fixture(scope="module")
def plan():
    return make_plan(random_model(np.random.default_rng(1)), AcceleratorConfig(lanes=2))


@pytest.fixture(scope="module")
def wrapped():
    return make_plan(random_model(np.random.default_rng(1)), AcceleratorConfig(lanes=2, interface="axi"))


def test_keywords_are_words():
    assert all(word.replace("_", "").isalnum() and word.islower() for word in KEYWORDS)


@pytest.mark.parametrize("name", NAMES)
def test_the_message_names_the_value(name):
    with pytest.raises(ValueError, match="plain Verilog identifier and no keyword") as error:
        check_module_name(name)
    assert str(error.value).endswith(f", not {name!r}")


@pytest.mark.parametrize("name", ["a", "_", "A9_b", "lmu_accelerator"])
def test_plain_identifiers_are_returned(name):
    assert check_module_name(name) == name


def test_every_function_refuses_a_wrong_name(plan, wrapped, tmp_path):
    name, clip = "3 bad name", np.zeros((1, plan.model.inputs), np.int64)
    wrong = {**manifest(plan, {}), "top": name}
    calls = [
        lambda: to_verilog(plan, name),
        lambda: convert(Accelerator(plan), name),
        lambda: wrapper_verilog(wrapped, name),
        lambda: manifest(plan, {}, name),
        lambda: emit(plan, tmp_path / "emit", name),
        lambda: emit(wrapped, tmp_path / "emit", name),
        lambda: bundle(plan, [clip], name),
        lambda: write_bundle(plan, [clip], tmp_path / "bundle", name),
        lambda: core_file(wrong),
        lambda: component(plan, wrong),
        lambda: BoardTop(plan, BOARDS["icebreaker"], name, 0, 8),
        lambda: wrapper_name(plan, name),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="no keyword, not '3 bad name'"):
            call()
    assert list(tmp_path.iterdir()) == []
    del calls, call
    gc.collect()  # components that no one elaborates warn when they go, which must be in this test


@pytest.mark.parametrize("before", [None, "system"])
def test_the_choice_of_yosys_ends_with_the_conversion(plan, monkeypatch, before):
    monkeypatch.delenv("AMARANTH_USE_YOSYS", raising=False)
    if before is not None:
        monkeypatch.setenv("AMARANTH_USE_YOSYS", before)
    to_verilog(plan)
    assert os.environ.get("AMARANTH_USE_YOSYS") == before
