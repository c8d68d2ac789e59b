"""Options that commands share, and the argument types of the others.

Nothing here imports the library before a command runs, so that ``--help`` and shell completion stay quick: the choices
are written down, and a test compares them with the library.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmu_hw.progress import Progress

if TYPE_CHECKING:
    from lmu_hw.model.program import QuantizedModel
    from lmu_hw.model.smoothing import Smoothing
    from lmu_hw.plan.config import AcceleratorConfig
    from lmu_quantize.frames_file import FrameSet
    from lmu_quantize.model import FloatModel

__all__ = [
    "BAUD",
    "BOARDS",
    "CHOICES",
    "DEVICES",
    "ENGINES",
    "FEATURE_KINDS",
    "INTERFACES",
    "LEVER_HELP",
    "LEVER_SETS",
    "MACROS",
    "SIMULATORS",
    "SPLITS",
    "STALLS",
    "STATE_POLICIES",
    "STEPS",
    "TIERS",
    "WEIGHT_STORES",
    "accelerator_arguments",
    "accelerator_config",
    "baud_argument",
    "clips_argument",
    "description_arguments",
    "frames_argument",
    "hours_argument",
    "jobs_argument",
    "library_arguments",
    "macros_argument",
    "model_argument",
    "natural",
    "not_negative",
    "open_clips",
    "open_described",
    "open_float",
    "open_test_clips",
    "parse_value",
    "positive",
    "read_smoothing",
    "seconds",
    "simulator_argument",
    "smoothing_argument",
]

BOARDS = ("icebreaker", "ulx3s", "tangnano9k", "artya7")
DEVICES = ("ice40-up5k", "ecp5-25k", "gw1nr-9")
ENGINES = ("float", "golden", "rtl")
FEATURE_KINDS = ("log-mel", "mfcc")
INTERFACES = ("stream", "axi", "spi")
LEVER_SETS = ("frugal", "plain")
MACROS = ("kit", "model")
SIMULATORS = ("icarus", "verilator")
STALLS = ("none", "alternate", "random")
SPLITS = ("train", "validation", "test")
STEPS = ("train", "quantize", "evaluate", "verilog", "cosim", "power", "report")
STATE_POLICIES = ("keep", "pulse", "utterance")
TIERS = ("table", "rtl", "gates")
WEIGHT_STORES = ("rom", "ram")

BAUD = 115_200
"""Bits per second of a board's serial line."""

LEVER_HELP = {
    "skip_zero_blocks": "do not store or multiply blocks of weights that are zero (one column, as many rows as lanes)",
    "skip_zero_elements": "do not multiply elements that a ReLU set to zero; cycles per frame then depend on the data",
    "isolate_operands": "build lanes for standard cells, not DSP blocks: what a weight does not need rests",
    "control_reset": "reset control registers only, so that data registers can be clock gated",
    "stop_clock": "stop the core's clock while no frame is received, computed or delivered",
    "gate_blocks": "clock gate the memories, input, output and finish blocks while they are idle",
}
"""What each of `lmu_hw.plan.config.LEVERS` does."""

CHOICES = (
    "lanes", "weights", "state", "interface", "frames_per_fetch", "memories_at_once", "bank_words", "state_bank_words"
)  # fmt: skip
"""Other fields of `AcceleratorConfig` that have an option of their name."""


def _number(parse: Callable[[str], Any], allowed: Callable[[Any], bool], expected: str) -> Callable[[str], Any]:
    """Argument type: a number that is allowed; `expected` describes it in the error."""

    def number(text: str) -> Any:
        try:
            value = parse(text)
            if allowed(value):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}")

    return number


positive = _number(int, lambda value: value > 0, "a positive integer")
natural = _number(int, lambda value: value >= 0, "an integer of 0 or more")
not_negative = _number(float, lambda value: 0 <= value < math.inf, "a number of 0 or more")
seconds = _number(float, lambda value: 0 < value < math.inf, "a number of seconds above 0")


def _networks(prefix: str, **_: Any) -> list[str]:
    """Completions of a model: the shipped networks, and files."""
    from argcomplete.completers import FilesCompleter

    from lmu_quantize import zoo

    return [*zoo.names(), *FilesCompleter()(prefix)]


def model_argument(
    command: argparse.ArgumentParser,
    name: str = "model",
    *,
    nargs: str | None = None,
    kind: str = "quantized",
    default: str | None = None,
) -> None:
    """Add the argument that names a model, with completion of the shipped networks."""
    known = "" if default is None else f" (default {default})"
    text = f"{kind} model file, or the name of a shipped network{known}"
    action = command.add_argument(name, metavar="MODEL", nargs=nargs, default=default, help=text)
    action.completer = _networks  # type: ignore[attr-defined]


def frames_argument(command: Any, text: str = "a frames file (default: the clips shipped with the network)") -> None:
    """Add ``--frames`` to a parser, a group or a mutually exclusive group."""
    command.add_argument("--frames", metavar="FILE", type=Path, help=text)


def clips_argument(command: Any, text: str, default: int | None = None) -> None:
    """Add ``--clips``, the number of clips; `text` says which, and gets the default."""
    known = "" if default is None else f" (default {default})"
    command.add_argument("--clips", metavar="N", type=positive, default=default, help=text + known)


def jobs_argument(command: Any, text: str, default: int | None = None) -> None:
    """Add ``--jobs``, the number of processes that run at the same time."""
    known = "all cores" if default is None else str(default)
    command.add_argument(
        "--jobs", metavar="N", type=positive, default=default, help=f"{text} at the same time (default {known})"
    )


def simulator_argument(command: Any, default: str = "icarus") -> None:
    """Add ``--simulator``."""
    command.add_argument(
        "--simulator", choices=SIMULATORS, default=default, help=f"Verilog simulator (default {default})"
    )


def baud_argument(command: argparse.ArgumentParser, default: int | None = None) -> None:
    """Add ``--baud``."""
    text = f"bits per second of the board's serial line (default {BAUD})"
    command.add_argument("--baud", metavar="N", type=positive, default=default, help=text)


def description_arguments(command: argparse.ArgumentParser) -> None:
    """Add options for what the model files of other tools do not hold."""
    group = command.add_argument_group("model files of other tools: what they do not hold")
    group.add_argument(
        "--front-end",
        metavar="FILE",
        help=f"front end that makes the frames: its JSON, or {' or '.join(FEATURE_KINDS)} with default parameters",
    )
    group.add_argument("--labels", metavar="A,B,...", help="names of the outputs, in order")
    group.add_argument(
        "--load",
        metavar="KEY=VALUE",
        action="append",
        help="an option of the loader, for files without configuration: order=6, theta=40, discretizer=zoh, "
        "activation=relu, layers=lmu,dense; by layer: 'theta={\"lmu\": 40}'; can be repeated",
    )


def open_float(args: argparse.Namespace) -> "FloatModel":
    """Open the float model that ``args.model`` and the options of `description_arguments` describe."""
    import lmu_hw as lh
    from lmu_quantize.loaders import LayerOrderError, MissingHyperparameters

    labels = None if args.labels is None else _names(args.labels)
    try:
        return lh.open_float(args.model, labels=labels, front_end=args.front_end, **_loader_options(args.load or []))
    except MissingHyperparameters as error:
        options = " ".join(f"--load {name}=VALUE" for name in error.names)
        raise lh.InputError(f"{error.problem}; give {options}") from None
    except LayerOrderError as error:
        raise lh.InputError(f"{error.problem}; give --load layers=NAME,... in order") from None


def open_described(args: argparse.Namespace) -> "QuantizedModel":
    """Open the quantized model that ``args.model``, ``--labels`` and ``--front-end`` describe."""
    import lmu_hw as lh

    labels = None if args.labels is None else _names(args.labels)
    return lh.open_model(args.model, labels=labels, front_end=args.front_end)


def open_clips(args: argparse.Namespace, model: Any, split: str, progress: Progress) -> Any:
    """Clips of ``--data`` or ``--frames``, ``--clips`` of them; those shipped with the network if neither is given."""
    import lmu_hw as lh

    if args.data is not None and not args.data.is_dir():
        raise lh.InputError(f"{args.data}: no such folder; --data takes a Speech Commands folder")
    if args.data is not None and model.front_end is None:
        raise lh.InputError(f"model {model.name!r} does not say which front end makes its frames: give --front-end")
    source, rule = args.data or args.frames, _rule(args)
    return lh.open_frames(model, source, split=split, clips=args.clips, rule=rule, progress=progress)


def open_test_clips(args: argparse.Namespace, model: "QuantizedModel", clips: int | None) -> "FrameSet":
    """Clips of ``--frames``; of the project's recordings if it is not given, or else those shipped with the network."""
    import lmu_hw as lh

    if args.frames is None and getattr(args, "project", None) is not None:
        split = args.project.flow.evaluate.split
        return lh.open_frames(model, args.project.recordings, split=split, clips=clips, rule=_rule(args))
    return lh.open_frames(model, args.frames, clips=clips)


def _rule(args: argparse.Namespace) -> Any:
    project = getattr(args, "project", None)
    return None if project is None else project.data.rule


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _loader_options(texts: list[str]) -> dict[str, Any]:
    """Options of `lmu_quantize.loaders.load_model` from KEY=VALUE: numbers and JSON are parsed, commas make lists."""
    import lmu_hw as lh

    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise lh.InputError(f"--load takes KEY=VALUE, not {text!r}")
        if key in options:
            raise lh.InputError(f"--load {key} is given twice")
        options[key] = parse_value(value)
        if key in ("layers", "labels") and not isinstance(options[key], list):
            options[key] = [value]
    return options


def parse_value(text: str) -> Any:
    """Value of a text: JSON if it is, a list if it has commas, else the text."""
    from lmu_hw.files import parse_json

    try:
        return parse_json(text)
    except ValueError:
        parts = _names(text)
        return text if len(parts) == 1 or text[0] in "{[" else [parse_value(part) if part else part for part in parts]


def library_arguments(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that name a cell library; the group they are in."""
    group = command.add_argument_group("technology")
    group.add_argument("--pdk", metavar="NAME", help="folder under PDK_ROOT: ihp-sg13g2, sky130A, nangate45, asap7")
    group.add_argument("--liberty", metavar="FILE", type=Path, nargs="+", help="Liberty files of one corner")
    group.add_argument("--corner", metavar="TEXT", help="part of the names of the PDK's Liberty files (voltage)")
    return group


def macros_argument(group: argparse._ArgumentGroup) -> None:
    """Add ``--macros``."""
    group.add_argument(
        "--macros",
        choices=MACROS,
        help="SRAM macros: only those of the kit, or a model, which no foundry confirms, for a kit without (default "
        "kit: without macros, memories become flip-flops)",
    )


def hours_argument(group: argparse._ArgumentGroup) -> None:
    """Add ``--hours``, the length of a stream."""
    group.add_argument("--hours", metavar="H", type=_hours, help="length of the audio (default 1)")


def _hours(text: str) -> float:
    """Argument type: hours, from which a stream of some clips can be made."""
    value = not_negative(text)
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be in 0.01 to 100, not {text!r}")
    return value


def smoothing_argument(command: argparse.ArgumentParser | argparse._ArgumentGroup, text: str) -> None:
    """Add the option that takes a file of `Smoothing`; `text` says what it is for."""
    command.add_argument(
        "--smoothing", metavar="FILE", type=Path, help=f"{text}: JSON, as written by evaluate --stream --out"
    )


def accelerator_arguments(command: argparse.ArgumentParser, title: str = "accelerator") -> argparse._ArgumentGroup:
    """Add the options of `AcceleratorConfig`; the group they are in."""
    group = command.add_argument_group(title)
    group.add_argument(
        "--config", metavar="FILE", type=Path, help="accelerator configuration as JSON; the options below override it"
    )
    group.add_argument("--lanes", metavar="N", type=positive, help="multipliers, 1 to 64 (default 16)")
    group.add_argument(
        "--weights", choices=WEIGHT_STORES, help="weights as constants, or in RAM with a load port (default rom)"
    )
    group.add_argument(
        "--state",
        choices=STATE_POLICIES,
        help="when the state is cleared: never, on a pulse, at the end of an utterance (default keep)",
    )
    group.add_argument(
        "--levers",
        choices=LEVER_SETS,
        help="levers to start from: frugal, those that save energy in most networks on a chip, or plain, none (default "
        "frugal; plain for FPGAs and with --config)",
    )
    for name, text in LEVER_HELP.items():
        group.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, help=text)
    group.add_argument(
        "--frames-per-fetch",
        metavar="N",
        type=positive,
        help="fetch each weight once per batch of N frames (1, 2, 4 or 8); the whole batch is buffered first, so its "
        "first frame waits for its last",
    )
    group.add_argument(
        "--memories-at-once",
        metavar="N",
        type=positive,
        help="update N memories at once, in an engine of their own (1, 2, 4, 8 or 16; 1 for none, in the lanes)",
    )
    group.add_argument(
        "--bank-words",
        metavar="N",
        type=natural,
        help="split constant weight memories into banks of N words; a read activates one bank (power of two, 8 to "
        "4096; 0 for none)",
    )
    group.add_argument(
        "--state-bank-words",
        metavar="N",
        type=natural,
        help="build data memories of registers, in banks of N words; an access activates one bank (power of two, 4 to "
        "256; 0 for none)",
    )
    return group


def accelerator_config(
    args: argparse.Namespace, levers: str = "frugal", *, macros: bool = True
) -> "AcceleratorConfig":
    """Configuration of the project, or from ``--config``, then the options of `accelerator_arguments` that are given.

    Parameters
    ----------
    args : argparse.Namespace
        Options.
    levers : str
        Set of levers where neither ``--levers`` nor ``--config`` is given.
    macros : bool
        Whether the process has SRAM macros.

    Raises
    ------
    InputError
        If a file cannot be used, or the choices exclude each other.
    """
    import lmu_hw as lh
    from lmu_hw.plan.config import choose_levers
    from lmu_kit.models import read_object

    if getattr(args, "project", None) is not None:
        config: lh.AcceleratorConfig = args.project.accelerator
        return config
    path: Path | None = args.config
    data = {} if path is None else read_object(path, "the configuration of an accelerator")
    options = {name: value for name in (*CHOICES, *LEVER_HELP) if (value := getattr(args, name, None)) is not None}
    smoothing = read_smoothing(getattr(args, "smoothing", None))
    if smoothing is not None:
        options["smoothing"] = smoothing.to_dict()
    chosen = args.levers or ("plain" if path is not None else levers)
    data = {key: value for key, value in data.items() if args.levers is None or key != "levers"}
    try:
        return lh.AcceleratorConfig.from_dict(choose_levers(chosen, data | options, macros=macros) | data | options)
    except (TypeError, ValueError) as error:
        raise lh.InputError(str(error) if path is None else f"{path}: {error}") from None


def read_smoothing(path: Path | None) -> "Smoothing | None":
    """Decision smoothing from its JSON file; None without a file."""
    import lmu_hw as lh
    from lmu_kit.models import read_object

    if path is None:
        return None
    data = read_object(path, "the parameters of decision smoothing")
    try:
        return lh.Smoothing.from_dict(data)
    except (TypeError, ValueError) as error:
        raise lh.InputError(f"{path}: {error}") from None
