"""A small network, its sweep, and what runs it."""

import numpy as np
import pytest

from lmu_hw.explore.points import Network
from lmu_hw.explore.sweep import Sweep
from lmu_hw.model import program_file
from lmu_hw.power.technology import load_technology
from lmu_sim.testing.random_models import random_model


@pytest.fixture(scope="session")
def network():
    model = random_model(np.random.default_rng(5), layers=("lmu", "dense"))
    return Network("small", program_file.digest(model), model)


@pytest.fixture(scope="session")
def technologies():
    return {name: load_technology(name) for name in ("ihp-sg13g2", "sky130A")}


@pytest.fixture
def sweep():
    lists = {"lanes": (2, 3, 4), "weights": ("rom", "ram")}
    return Sweep(("small",), lists, ("ihp-sg13g2", "sky130A"), ("auto", 1e6))
