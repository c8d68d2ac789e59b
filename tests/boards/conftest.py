"""What the tests of the boards share."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from lmu_hw.boards import BOARDS, board_verilog
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.serial_bridge import SerialBridge
from lmu_sim.testing.random_models import random_model


@pytest.fixture
def simulate():
    """Run testbenches to their end, which must come within a number of cycles; the others run beside them."""

    def run(dut, *testbenches, background=(), cycles=200_000):
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        for testbench in background:
            simulator.add_testbench(testbench, background=True)

        async def deadline(ctx):
            for _ in range(cycles):
                await ctx.tick()
            raise TimeoutError(f"the simulation did not end within {cycles} cycles")

        simulator.add_testbench(deadline, background=True)
        for testbench in testbenches:
            simulator.add_testbench(testbench)
        simulator.run()

    return run


def small_plan(weights="rom", stride=1, seed=2, **options):
    """Accelerator of a small random network."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=("lmu", "dense"), inputs=3, units=4, stride=stride, activation="relu")
    return make_plan(model, AcceleratorConfig(lanes=2, weights=weights, **options))


@pytest.fixture(scope="session")
def plan_of():
    """`small_plan`."""
    return small_plan


@pytest.fixture(scope="session")
def rom_plan():
    return small_plan()


@pytest.fixture(scope="session")
def ram_plan():
    """Logits every second frame only; two chunks of weights."""
    return small_plan("ram", stride=2, seed=4)


@pytest.fixture(scope="session")
def tops(rom_plan):
    """Verilog and name of the top of each board."""
    return {board: board_verilog(rom_plan, board) for board in BOARDS}


@pytest.fixture(scope="session")
def ram_board(ram_plan):
    """An iCEBreaker in simulation, for `ram_plan`."""
    return SerialBridge(ram_plan)


@pytest.fixture(scope="session")
def rom_board(rom_plan):
    """A Tang Nano 9K in simulation, for `rom_plan`: its lights are lit by a 0."""
    return SerialBridge(rom_plan, "tangnano9k")
