"""List the shipped networks: size, accuracy, and what one network costs per 20 ms of audio.

Accuracies are those of `lmu-hw evaluate --data` on the official test clips, as they were written with --json when the
network was added; --json gives their 95 % Wilson intervals too. Multiplications and weight bits are counted in the
integers that the hardware runs: every product of one frame, those with the memory matrices too, and every bit of a
trained weight that is read for it, layers at a fraction of the frame rate in proportion.

--add puts a finished run of `lmu-hw train` into the zoo: it copies the run's files, measures the float parent and the
integers on the official test clips, and writes the card. Of a run of another kind of network (GRU, LSTM, DS-CNN), and
with --compare of any, it keeps the result and the log, to compare with.

--figure draws accuracy against kbit, with the other kinds and the published LMUs; and against multiplications and
weight bits, in a second picture with -cost in its name.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_kit.cli.console import CommandError, console, stages, table
from lmu_kit.cli.evaluate import print_score
from lmu_kit.figures.zoo import draw_zoo
from lmu_kit.inputs import writable
from lmu_kit.zoo_add import Addition, add_peer, add_to_zoo, is_peer
from lmu_quantize import zoo
from lmu_quantize.zoo.cost import block_rows, cost
from lmu_quantize.zoo.peers import Peer, peers
from lmu_quantize.zoo.seeds import load_seeds, spread_over_seeds

SUMMARY = "list the shipped networks, or add one"
EXAMPLE = "lmu-hw zoo --add build/training --data recordings"


@dataclass(frozen=True)
class Entry:
    """What the list says of a network.

    Parameters
    ----------
    name : str
        As commands take it.
    labels : tuple of str
        Names of the outputs.
    kbits : float
        Thousands of bits of trained weights, biases not counted; of a pruned network those that are stored.
    index_kbits : float
        Thousands of bits of the index beside them, 0 where nothing is pruned.
    float_accuracy, golden_accuracy : float or None
        Of the float parent and of the integers, 0 to 1; None where no measurement is shipped.
    float_interval, golden_interval : tuple of float or None
        Their 95 % Wilson intervals.
    clips : int or None
        Test clips of the latter.
    multiplications, weight_bits : float
        Per 20 ms of audio.
    seeds : dict or None
        ``count`` of them, and ``mean``, ``deviation``, ``low``, ``high`` of the integers' accuracy, in ``text`` too;
        None for one seed.
    """

    name: str
    labels: tuple[str, ...]
    kbits: float
    index_kbits: float
    float_accuracy: float | None
    float_interval: tuple[float, float] | None
    golden_accuracy: float | None
    golden_interval: tuple[float, float] | None
    clips: int | None
    multiplications: float
    weight_bits: float
    seeds: dict[str, Any] | None


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("--figure", metavar="FILE", type=Path, help="draw the list, SVG or PNG by the name's end")
    group = command.add_argument_group("add a network")
    group.add_argument("--add", metavar="RUN", type=Path, help="folder of a finished run of a shipped recipe")
    group.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder with the official test set")
    group.add_argument(
        "--seeds", metavar="RUN", type=Path, nargs="+", default=[], help="runs of the recipe with other seeds"
    )
    group.add_argument("--compare", action="store_true", help="keep the result only, beside those of other kinds")
    group.add_argument("--remarks", metavar="FILE", type=Path, help="Markdown text for the limits on the card")
    group.add_argument("--replace", action="store_true", help="put the run in the place of a network of its name")
    group.add_argument(
        "--into", metavar="FOLDER", type=Path, default=zoo.ROOT, help="another zoo than the installed package's"
    )


def entry(name: str) -> Entry:
    """Read a shipped network and its measurements."""
    model = program_file.load(zoo.path(name, "quantized.safetensors"))
    scores: dict[str, dict[str, Any]] = {}
    for engine in ("float", "golden"):
        path = zoo.path(name, f"{engine}.json")
        scores[engine] = json.loads(path.read_text()) if path.is_file() else {}
    intervals = {
        engine: tuple(score["interval"]) if "interval" in score else None for engine, score in scores.items()
    }
    rows = block_rows(model)
    multiplications, weight_bits = cost(model, rows)
    stored = None if rows is None else stored_bits(model, rows)
    return Entry(
        name=name,
        labels=model.labels,
        kbits=(model.weight_bits if stored is None else stored.weights) / 1000,
        index_kbits=0 if stored is None else stored.index / 1000,
        float_accuracy=scores["float"].get("accuracy"),
        float_interval=intervals["float"],
        golden_accuracy=scores["golden"].get("accuracy"),
        golden_interval=intervals["golden"],
        clips=scores["golden"].get("clips"),
        multiplications=multiplications,
        weight_bits=weight_bits,
        seeds=_seeds(zoo.path(name, "seeds.json")),
    )


def _seeds(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    results = load_seeds(path)
    found = spread_over_seeds([result.golden for result in results])
    return {"count": len(results), **asdict(found), "text": str(found)}


def _accuracy(value: float | None, interval: tuple[float, float] | None) -> str:
    """Percent, with its interval on a second line."""
    if value is None:
        return "-"
    shown = f"{100 * value:.2f}"
    return shown if interval is None else f"{shown}\n{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"


def _print(entries: list[Entry], others: list[Peer]) -> None:
    shown = table("network", "labels", "kbit", "float %", "golden %", "products\n/ 1000", "bits\n/ 1000")
    shown.columns[0].no_wrap = True
    for each in entries:
        shown.add_row(
            each.name,
            str(len(each.labels)),
            f"{each.kbits:.1f}" + (f"\n+{each.index_kbits:.1f}" if each.index_kbits else ""),
            _accuracy(each.float_accuracy, each.float_interval),
            _accuracy(each.golden_accuracy, each.golden_interval),
            f"{each.multiplications / 1000:.1f}",
            f"{each.weight_bits / 1000:.1f}",
        )
    for other in others:
        accuracies = (
            _accuracy(other.float_accuracy, other.float_interval),
            _accuracy(other.quantized_accuracy, other.quantized_interval),
        )
        costs = f"{other.multiplications / 1000:.1f}", f"{other.weight_bits / 1000:.1f}"
        shown.add_row(f"{other.name} *", "", f"{other.kbits:.1f}", *accuracies, *costs)
    console.print(shown)
    if others:
        console.print("* to compare with, trained alike; kinds other than LMU: fake quantization instead of golden")
    if any(each.index_kbits for each in entries):
        console.print("kbit of pruned networks: weights that are stored, + their index")
    console.print("accuracies: official test clips, with 95 % Wilson intervals")
    console.print("products and bits of weights read: per 20 ms of audio")
    for each in entries:
        if each.seeds is not None:
            console.print(f"{each.name}, golden over {each.seeds['count']} seeds: {each.seeds['text']}", markup=False)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print the list, or add a network."""
    if args.add is not None and (args.compare or is_peer(args.add)):
        peer, kept = add_peer(args.add, args.into, args.replace)
        console.print(f"{kept}: {100 * peer.quantized_accuracy:.2f} % of {peer.clips} clips", markup=False)
        return asdict(peer)
    if args.add is not None:
        if args.data is None:
            raise CommandError("--add measures the network: give --data, the Speech Commands folder")
        addition = Addition(args.add, args.data, args.into, tuple(args.seeds), args.remarks, args.replace)
        with stages() as tell:
            added = add_to_zoo(addition, progress=tell)
        for engine, evaluation in added.evaluations.items():
            print_score(evaluation.score, f"{added.name}, {engine}")
        console.print(f"{added.folder}: {len(list(added.folder.iterdir()))} files", markup=False)
        return added.to_dict()
    if args.figure is not None and args.figure.suffix not in (".svg", ".png"):
        raise CommandError(f"--figure must end in .svg or .png, not {str(args.figure)!r}")
    for option in ("data", "seeds", "remarks", "replace", "compare"):
        if getattr(args, option):
            raise CommandError(f"--{option} goes with --add")
    entries = [entry(name) for name in zoo.names()]
    others = peers()
    _print(entries, others)
    if args.figure is not None:
        writable(args.figure)
        for picture in draw_zoo(entries, others, args.figure):
            console.print(str(picture), markup=False)
    return {"networks": [asdict(each) for each in entries], "peers": [asdict(each) for each in others]}
