"""The command ``lmu-hw``."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmu_hw.files import write_whole
from lmu_hw.version import VERSION
from lmu_kit.cli import (
    characterise,
    cosim,
    demo,
    doctor,
    evaluate,
    explore,
    faults,
    frames,
    hil,
    power,
    quantize,
    search,
    synth,
    train,
    verilog,
    weights,
    zoo,
)
from lmu_kit.cli.console import console, fail
from lmu_kit.inputs import writable

__all__ = ["main", "parser"]

COMMANDS = (
    demo, quantize, evaluate, verilog, weights, cosim, synth, hil, power, explore,
    characterise, faults, train, search, zoo, frames, doctor,
)

EPILOG = """\
A typical way through:
  lmu-hw demo                                  the whole path on the shipped network
  lmu-hw quantize float.safetensors --frames calibration.safetensors --out q.safetensors
  lmu-hw verilog q.safetensors --lanes 16 --out rtl
  lmu-hw cosim q.safetensors --lanes 16 --frames test.safetensors

A MODEL is a file or the name of a shipped network (kws361). `lmu-hw COMMAND --help` tells more.
"""

EXPECTED = (RuntimeError, OSError, ValueError, TypeError, MemoryError)
"""What refusals, tools and the system raise; anything else is told as a defect of this program."""


def parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="lmu-hw",
        description="From a trained Legendre Memory Unit keyword spotter to bit-exact Verilog.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lmu-hw {VERSION}")
    trace = {"action": "store_true", "help": "show where in the code an error arose"}
    top.add_argument("--traceback", **trace)  # type: ignore[arg-type]
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument(
            "--json", metavar="FILE", type=Path, help="write the result as JSON (-: to the standard output)"
        )
        # Without a default, so that it does not undo the option before the command.
        command.add_argument("--traceback", default=argparse.SUPPRESS, **trace)  # type: ignore[arg-type]
        command.set_defaults(run=module.run)
    return top


def _write_json(result: dict[str, Any], path: Path) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def _run(args: argparse.Namespace) -> None:
    """Run the command and write its result; that of a failed check too."""
    if args.json is None:
        args.run(args)
        return
    if str(args.json) != "-":
        writable(args.json)
    try:
        result = args.run(args)
    except Exception as error:
        found = getattr(error, "result", None)
        if found is not None:
            _write_json(found | {"error": _line(error)}, args.json)
        raise
    _write_json(result, args.json)


def _line(error: Exception) -> str:
    """One line for the user."""
    text = " ".join(str(error).split())
    if isinstance(error, EXPECTED):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (unexpected here; --traceback shows where)"


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
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(words, argparse.Namespace(words=words))
    console.stderr = str(args.json) == "-"
    try:
        _run(args)
    except KeyboardInterrupt:
        return fail("interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.traceback:
            raise
        return fail(_line(error))
    finally:
        console.stderr = False
    return 0


if __name__ == "__main__":
    sys.exit(main())
