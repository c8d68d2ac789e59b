"""Add a level gate to a quantized network, so that it sleeps while nothing is louder than the room.

The parameters are chosen on hours of audio from the validation clips of --data. Of all gates that reject hardly more
keywords than the network without one (--tolerance), the gate is taken with which the network sleeps most. --parameters
takes a JSON file instead, with margin, hold, rise, fall and floor.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli import options
from lmu_kit.cli.console import console, percent

if TYPE_CHECKING:
    from lmu_kit.gating import GatedModel

EXAMPLE = "lmu-hw gate kws105 --data recordings --out gated.safetensors"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="quantized model to write")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder; its validation split")
    source.add_argument("--parameters", metavar="FILE", type=Path, help="parameters as JSON, instead of choosing them")
    stream = command.add_argument_group("stream")
    options.hours_argument(stream)
    stream.add_argument(
        "--false-accepts",
        metavar="N",
        type=options.not_negative,
        help="compare false rejects at about N false accepts per hour (default 5)",
    )
    stream.add_argument("--seed", metavar="N", type=options.natural, help="seed of the stream (default 0)")
    stream.add_argument(
        "--tolerance",
        metavar="POINTS",
        type=options.not_negative,
        help="false rejects that the gate may add, in percentage points (default 0.2)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Choose a gate, print what was tried, write the model."""
    check_writable(args.out)
    model = lh.open_model(args.model)
    names = ("hours", "false_accepts", "seed")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.parameters is not None:
        if values or args.tolerance is not None:
            raise lh.InputError(
                "--parameters gives a gate; --hours, --false-accepts, --seed and --tolerance choose one"
            )
        gated, tried = replace(model, gate=_read(args.parameters)), {}
    else:
        chosen = {} if args.tolerance is None else {"tolerance": args.tolerance / 100}
        with console.progress() as progress:
            result = lh.add_gate(model, args.data, lh.StreamOptions(**values), **chosen, progress=progress)
        _print_trials(result)
        gated, tried = result.model, result.to_dict()
    lh.save_model(gated, args.out)
    assert gated.gate is not None
    parameters = gated.gate.to_dict()
    console.print("gate: " + ", ".join(f"{name} {value}" for name, value in parameters.items()))
    console.written(args.out)
    return {"model": str(args.out), "gate": parameters} | tried


def _read(path: Path) -> "lh.Gate":
    from lmu_kit.models import read_object

    content = "the parameters of a level gate"
    try:
        return lh.Gate.from_dict(read_object(path, content))
    except lh.InputError:
        raise
    except (ValueError, TypeError) as error:
        raise lh.InputError(f"{path}: expected {content}: {error}") from None


def _print_trials(result: "GatedModel") -> None:
    rows = []
    for trial in result.trials:
        gate = ["none", ""] if trial.gate is None else [str(trial.gate.margin), str(trial.gate.hold)]
        mark = "*" if trial == result.chosen else ""
        rows.append([*gate, percent(trial.asleep, 1), percent(trial.false_rejects, 2), mark])
    console.table(
        ["margin", "hold", "asleep %", "rejects %", "chosen"], rows, title="gates on a stream of validation clips"
    )
