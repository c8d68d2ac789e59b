"""Test the checker itself: inject faults into the Verilog and the model, and see whether co-simulation notices each.

The faults are tried on small networks that ship inside the package; the table names what noticed each one.
"""

import argparse
from typing import Any

from lmu_kit.cli.console import CommandError, console, progress
from lmu_sim.faults import FAULTS, fault_table, kill_rate, try_fault
from lmu_sim.runner import Simulator

SUMMARY = "test the checker itself with injected faults"
EXAMPLE = "lmu-hw faults --simulator icarus --json faults.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument(
        "--simulator", choices=[one.value for one in Simulator], default="icarus", help="default icarus"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Try every fault, print the table."""
    trials = []
    with progress("faults", len(FAULTS)) as done:
        for fault in FAULTS:
            trials.append(try_fault(fault, args.simulator))
            done(len(trials))
    console.print(fault_table(trials), markup=False)
    killed, real = kill_rate(trials)
    result = {"noticed": killed, "faults": real, "trials": {trial.fault.name: trial.how for trial in trials}}
    if killed < real:
        raise CommandError(f"{real - killed} of {real} faults were not noticed", result)
    return result
