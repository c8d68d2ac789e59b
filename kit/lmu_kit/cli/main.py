"""The command ``lmu-hw``.

Only the chosen command's module is imported, and that imports the library when it runs: ``--help``, ``--version`` and
shell completion take a fraction of the time that the library takes to load.
"""

import argparse
import functools
import importlib
import json
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lmu_hw.version import VERSION
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import add_project, fill_from_project, write_beside

__all__ = ["COMMANDS", "main", "parser"]

COMMANDS = {
    "init": "write a project file for recordings of your own",
    "run": "follow a project from recordings to Verilog and joules",
    "demo": "run the whole flow on a shipped network",
    "quantize": "turn a float model into integers",
    "gate": "let a network sleep while nothing is said",
    "evaluate": "measure accuracy: float, golden or rtl",
    "verilog": "write the accelerator as Verilog",
    "weights": "write the weight image of another network of the same shape",
    "cosim": "compare the Verilog with the golden model, bit for bit",
    "synth": "build for an FPGA board or an ASIC process",
    "hil": "run a flashed board on real frames and compare it with the golden model",
    "power": "estimate the energy of an inference",
    "levers": "measure what each lever saves",
    "explore": "sweep configurations, technologies and clocks, and pick the best design",
    "characterise": "measure the energy table of a technology",
    "floors": "measure the coefficients of the energy floor",
    "sram": "fit the SRAM model to the macros of IHP SG13G2",
    "faults": "test the co-simulation itself with injected faults",
    "train": "train a float network on recordings",
    "search": "search for network shapes with low cost",
    "zoo": "list the shipped networks, or add one",
    "frames": "turn recordings into a file of integer frames",
    "doctor": "list the installed tools and what is missing",
    "completion": "print the script for shell completion",
}
"""Name and summary of every command; its module has the same name."""

EPILOG = """\
A typical session:
  lmu-hw demo                         (the whole flow on a shipped network)
  lmu-hw init words.toml --data recordings && lmu-hw run words.toml
  lmu-hw quantize net.keras --data DATA --out q.safetensors
  lmu-hw verilog q.safetensors --lanes 16 --out rtl
  lmu-hw cosim q.safetensors --lanes 16 --frames test.safetensors

A MODEL is a file or the name of a shipped network (kws361). `lmu-hw COMMAND --help` shows the options.
"""

EXPECTED = (RuntimeError, OSError, ValueError, TypeError, MemoryError)
"""Errors of users, tools and the system; any other is reported as a defect of this program."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT."""


class _Help(argparse.HelpFormatter):
    """Help whose paragraphs fill the terminal; paragraphs with indented lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n " in f"\n{paragraph}" else textwrap.fill(paragraph, width, break_on_hyphens=False)
            for paragraph in paragraphs
        )


def parser(chosen: Sequence[str] | None = None, *, with_project: bool = False) -> argparse.ArgumentParser:
    """Parser of the command line.

    Parameters
    ----------
    chosen : sequence of str, optional
        Commands whose arguments are wanted, all by default; the others are known by name only.
    with_project : bool
        Whether the command line has ``--project``, which supplies arguments that are needed otherwise.
    """
    top = argparse.ArgumentParser(
        prog="lmu-hw",
        description="From a trained Legendre Memory Unit keyword spotter to bit-exact Verilog.",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    top.add_argument("--version", action="version", version=f"lmu-hw {VERSION}")
    _common(top, default=False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if chosen is not None and name not in chosen:
            commands.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"lmu_kit.cli.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=_Help,
        )
        module.add_arguments(command)
        if hasattr(module, "PROJECT"):
            add_project(command, module, with_project)
        command.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON (-: standard output)")
        # Without a default, so that the options before the command stand.
        _common(command, default=argparse.SUPPRESS)
        command.set_defaults(run=_with_project(module) if hasattr(module, "PROJECT") else module.run)
    return top


def _with_project(module: ModuleType) -> Callable[[argparse.Namespace], dict[str, Any]]:
    """Give the function of a command, with the settings of a project where one is given."""

    @functools.wraps(module.run)
    def run(args: argparse.Namespace) -> dict[str, Any]:
        if args.project is None:
            result: dict[str, Any] = module.run(args)
            return result
        fill_from_project(args, module)
        result = module.run(args)
        resolved = write_beside(args)
        if resolved is not None:
            console.written(resolved)
        return result

    return run


def _common(command: argparse.ArgumentParser, default: Any) -> None:
    command.add_argument("--quiet", action="store_true", default=default, help="print errors and warnings only")
    command.add_argument(
        "--traceback", action="store_true", default=default, help="show where in the code an error arose"
    )


def _write_json(result: dict[str, Any], path: Path) -> None:
    from lmu_hw.files import write_whole

    text = json.dumps(result, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    console.written(path)


def _run(args: argparse.Namespace) -> None:
    """Run the command and write its result; that of a failed check too."""
    if args.json is None:
        args.run(args)
        return
    if str(args.json) != "-":
        from lmu_hw.files import check_writable

        check_writable(args.json)
    try:
        result = args.run(args)
    except Exception as error:
        failed = getattr(error, "result", None)
        if failed is not None:
            content = failed if isinstance(failed, dict) else failed.report()
            _write_json(content | {"error": _line(error)}, args.json)
        raise
    _write_json(result, args.json)


def _line(error: Exception) -> str:
    """One line for the user."""
    text = " ".join(str(error).split())
    if isinstance(error, EXPECTED) or hasattr(error, "result"):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (unexpected here; --traceback shows where)"


def _chosen(words: Sequence[str]) -> list[str]:
    """The command that a command line names first, if any."""
    return [word for word in words if word in COMMANDS][:1]


def _complete() -> None:
    """Answer a shell that asks for completions, and exit."""
    import argcomplete

    argcomplete.autocomplete(parser(_chosen(os.environ.get("COMP_LINE", "").split())))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line; that of the process if not given.

    Returns
    -------
    int
        0 on success, 1 after an error (one line on the standard error; of a project one for each problem), 130 after
        Ctrl-C; the parser exits with 2 if the command line is wrong.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    traceback = False
    try:
        if "_ARGCOMPLETE" in os.environ:
            _complete()
        with_project = any(word == "--project" or word.startswith("--project=") for word in words)
        args = parser(_chosen(words), with_project=with_project).parse_args(words, argparse.Namespace(words=words))
        console.quiet, console.to_stderr = args.quiet, str(args.json) == "-"
        traceback = args.traceback
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: console.warning(" ".join(str(message).split()))
            _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if traceback:
            raise
        for line in getattr(error, "lines", None) or [_line(error)]:
            console.error(line)
        return 1
    finally:
        console.quiet = console.to_stderr = False
    return 0


if __name__ == "__main__":
    sys.exit(main())
