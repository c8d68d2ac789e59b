"""The part of a cosimulation that runs inside the simulator: hands the bench one frame after another."""

import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First

__all__ = ["run_frames"]

DEPOSITS = "LMU_SIM_DEPOSITS"
"""Environment variable with the file of deposits: one hexadecimal number a line, `Frame.deposit` without the turn."""


@cocotb.test()
async def run_frames(dut) -> None:  # type: ignore[no-untyped-def]
    """Deposit every frame, each as soon as the bench took the one before; end when the bench says that all is quiet."""
    deposits = [int(line, 16) for line in Path(os.environ[DEPOSITS]).read_text().split()]
    Clock(dut.clk, 10, unit="ns", impl="gpi").start(start_high=False)
    turn = 0
    for deposit in deposits:
        turn ^= 1
        dut.slot.value = deposit | turn
        while str(dut.taken.value) != str(turn):
            await First(dut.taken.value_change, dut.stopped.value_change)
            if str(dut.stopped.value) == "1":
                return
    while str(dut.stopped.value) != "1":
        await dut.stopped.value_change
