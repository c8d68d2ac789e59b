"""Run the whole flow on a shipped network: quantization, Verilog, co-simulation on real speech.

Quantizes a shipped float network on shipped frames of real speech, measures float and integer accuracy, and writes the
Verilog. A simulator then compares every element of every vector in every frame with the golden model.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_hw.files import write_whole
from lmu_kit.cli import options
from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw demo --lanes 8 --simulator icarus --clips 1"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command, "--model", default="kws361")
    command.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("build/demo"), help="folder for results (default build/demo)"
    )
    options.clips_argument(command, "clips to co-simulate", 4)
    options.simulator_argument(command, "verilator")
    options.accelerator_arguments(command)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run all stages, then print the summary."""
    start, out = time.perf_counter(), args.out
    config = options.accelerator_config(args)
    floats = lh.open_float(args.model)
    console.print(f"{args.model}: {floats.parameters} parameters, labels {', '.join(floats.labels)}")
    with console.stage("quantize on shipped clips of real speech"):
        quantized = lh.quantize(floats)
        lh.save_model(quantized.model, out / "quantized.safetensors")
        quantized.certificate.save(out / "certificate.json")
        write_whole(out / "quantization.txt", f"{quantized.report}\n".encode())
    with console.stage("accuracy of the float model and of the integers on official test clips") as progress:
        evaluations = [
            lh.evaluate(floats, lh.open_frames(floats), progress=progress),
            lh.evaluate(quantized.model, lh.open_frames(quantized.model), progress=progress),
        ]
    plan = lh.accelerator(quantized.model, config)
    with console.stage(f"write the Verilog, {plan.lanes} lanes"):
        files = lh.write_verilog(plan, out)
    setup = lh.CosimOptions(simulator=args.simulator, folder=out / "simulation")
    with console.stage(f"co-simulate in {args.simulator} (clips: {args.clips}), every element compared") as progress:
        frames = lh.open_frames(quantized.model, clips=args.clips).frames
        result = lh.cosimulate(plan, list(frames), setup, progress=progress).check()
    record = lh.report(plan, quantization=quantized, evaluations=evaluations, cosimulation=result)
    record.write(out)
    seconds = time.perf_counter() - start
    console.print()
    for name, value in (record.rows() | {"time": f"{seconds:.0f} s"}).items():
        console.print(f"  {name:<23} {value}")
    console.written(out)
    return record.content | {"files": [str(file) for file in files], "seconds": seconds}
