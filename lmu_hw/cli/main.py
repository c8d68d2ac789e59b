"""The command ``lmu-hw``."""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmu_hw.cli import cosim, demo, doctor, evaluate, faults, frames, quantize, train, verilog
from lmu_hw.cli.console import CommandError, fail
from lmu_sim.tools import ToolError

__all__ = ["main", "parser"]

COMMANDS = (demo, quantize, evaluate, verilog, cosim, faults, train, frames, doctor)

EPILOG = """\
A typical way through:
  lmu-hw demo                                  the whole path on the shipped network
  lmu-hw quantize float.safetensors --frames calibration.safetensors --out q.safetensors
  lmu-hw verilog q.safetensors --lanes 16 --out rtl
  lmu-hw cosim q.safetensors --lanes 16 --frames test.safetensors

A MODEL is a file or the name of a shipped network (kws361). `lmu-hw COMMAND --help` tells more.
"""


def parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="lmu-hw",
        description="From a trained Legendre Memory Unit keyword spotter to bit-exact Verilog.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lmu-hw {importlib.metadata.version('lmu-hw')}")
    top.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON (- for the screen)")
        command.set_defaults(run=module.run)
    return top


def _write_json(result: dict[str, Any], path: Path) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as handle:
        handle.write(text)
    Path(handle.name).replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line; that of the process if not given.

    Returns
    -------
    int
        0 if all is well, 1 after an error, told in one line on standard error; the parser ends the process with 2 for a
        wrong command line.
    """
    args = parser().parse_args(arguments)
    try:
        result = args.run(args)
        if args.json is not None:
            _write_json(result, args.json)
    except KeyboardInterrupt:
        return fail("interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CommandError, ToolError, OSError, ValueError, TypeError, MemoryError) as error:
        if args.traceback:
            raise
        return fail(" ".join(str(error).split()) or type(error).__name__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
