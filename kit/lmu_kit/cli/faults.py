"""Test the co-simulation itself: inject faults into the Verilog and the model, and see whether it notices each one.

The faults are tried on a small network that ships inside the package. The list says what noticed each fault.
"""

import argparse
from typing import Any

from lmu_kit.cli.console import console
from lmu_kit.cli.options import simulator_argument

EXAMPLE = "lmu-hw faults --simulator icarus --json faults.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    simulator_argument(command)


class FaultsMissed(RuntimeError):
    """The co-simulation did not notice every fault.

    Attributes
    ----------
    result : dict
        What was noticed, as JSON values.
    """

    def __init__(self, message: str, result: dict[str, Any]):
        super().__init__(message)
        self.result = result


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Try every fault, list what noticed it."""
    from lmu_sim.faults import FAULTS, kill_rate, try_fault

    trials = []
    with console.progress() as progress:
        for number, fault in enumerate(FAULTS):
            progress(fault.name, number, len(FAULTS))
            trials.append(try_fault(fault, args.simulator))
    for trial in trials:
        fault = trial.fault
        missed = f"equivalent, {fault.equivalent}" if fault.equivalent else "MISSED"
        console.print(f"{fault.name} ({fault.level}): {fault.description}")
        console.print(f"    noticed by: {trial.how if trial.noticed else missed}")
    noticed, real = kill_rate(trials)
    console.print(f"{noticed} of {real} faults noticed")
    result = {"noticed": noticed, "faults": real, "trials": {trial.fault.name: trial.how for trial in trials}}
    if noticed < real:
        raise FaultsMissed(f"{real - noticed} of {real} faults were not noticed", result)
    return result
