"""List the shipped networks: size, accuracy, and cost per 20 ms of audio.

Accuracies are those of `lmu-hw evaluate --data` on the official test clips, recorded when the network was added; --json
gives all their 95 % Wilson intervals. Multiplications and weight bits are counted in the integers that the hardware
runs. Every product of a frame counts, including those with the memory matrices, and every bit of a trained weight that
is read. Layers at a fraction of the frame rate count in proportion. The list counts a product of a 4-bit weight and a
7-bit operand as 1, and any other as the product of both widths over 28; cards and --json give the products by width.

--add puts a finished run of `lmu-hw train` into the zoo: it copies the run's files, measures the float parent and the
integers on the official test clips, and writes the card. For a run of another kind of network (GRU, LSTM, DS-CNN), and
for any run with --compare, only the result and the log are kept, for comparison.

--out draws accuracy against kbit, with the other kinds and the published LMUs, and against products, counted as in the
list, and weight bits in a second picture with -cost in its name.
"""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli.console import console, percent

if TYPE_CHECKING:
    from lmu_kit.zoo_list import ZooEntry
    from lmu_quantize.zoo.peers import Peer

EXAMPLE = "lmu-hw zoo --add build/training --data recordings"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("--out", metavar="FILE", type=Path, help="draw the list: a file that ends in .svg or .png")
    group = command.add_argument_group("add a network")
    group.add_argument("--add", metavar="RUN", type=Path, help="folder of a finished run of a shipped recipe")
    group.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder with the official test set")
    group.add_argument(
        "--seeds", metavar="RUN", type=Path, nargs="+", default=[], help="runs of the recipe with other seeds"
    )
    group.add_argument("--compare", action="store_true", help="keep the result only, for comparison")
    group.add_argument("--remarks", metavar="FILE", type=Path, help="Markdown text on limits, for the card")
    group.add_argument("--replace", action="store_true", help="replace a network of the same name")
    group.add_argument("--into", metavar="FOLDER", type=Path, help="another zoo than that of the installed package")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print the list, or add a network."""
    if args.add is not None:
        return _add(args)
    for option in ("data", "seeds", "remarks", "replace", "compare", "into"):
        if getattr(args, option):
            raise lh.InputError(f"--{option} goes with --add")
    if args.out is not None:
        if args.out.suffix not in (".svg", ".png"):
            raise lh.InputError(f"--out must end in .svg or .png, not {str(args.out)!r}")
        check_writable(args.out)
    from lmu_kit.zoo_list import list_zoo
    from lmu_quantize.zoo.peers import peers

    entries, others = list_zoo(), peers()
    _print(entries, others)
    if args.out is not None:
        from lmu_kit.figures.zoo import draw_zoo

        console.written(*draw_zoo(entries, others, args.out))
    return {"networks": [asdict(entry) for entry in entries], "peers": [asdict(peer) for peer in others]}


def _add(args: argparse.Namespace) -> dict[str, Any]:
    """Add a run, or keep its result for comparison."""
    from lmu_kit.zoo_add import Addition, add_peer, add_to_zoo, is_peer
    from lmu_quantize import zoo

    into = zoo.ROOT if args.into is None else args.into
    if args.compare or is_peer(args.add):
        peer, kept = add_peer(args.add, into, args.replace)
        console.print(f"{peer.name}: {percent(peer.quantized_accuracy)} % of {peer.clips} clips")
        console.written(kept)
        return asdict(peer)
    if args.data is None:
        raise lh.InputError("--add measures the network: give --data, the Speech Commands folder")
    addition = Addition(args.add, args.data, into, tuple(args.seeds), args.remarks, args.replace)
    with console.progress() as progress:
        added = add_to_zoo(addition, progress=progress)
    for engine, evaluation in added.evaluations.items():
        console.print(f"{added.name}, {engine}: {evaluation.score}")
    console.written(added.folder)
    return added.to_dict()


def _print(entries: "list[ZooEntry]", others: "list[Peer]") -> None:
    rows: list[list[str] | None] = []
    for entry in entries:
        size = f"{entry.kbits:.1f}" + (f"+{entry.index_kbits:.1f}" if entry.index_kbits else "")
        rows.append(_row(size, entry.golden_accuracy, entry.golden_interval, entry))
    if others:
        rows.append(None)
    for peer in others:
        size = f"{peer.kbits:.1f}"
        rows.append(_row(size, peer.quantized_accuracy, peer.quantized_interval, peer))
    console.table(["network", "kbit", "float %", "golden %", "95 %", "products", "bits"], rows)
    if others:
        console.print(
            "below the line: networks for comparison, trained alike; golden of other kinds than LMU: fake quantization"
        )
    if any(entry.index_kbits for entry in entries):
        console.print("kbit of pruned networks: stored weights + their index")
    console.print("accuracies: official test clips; 95 %: Wilson interval of golden")
    console.print("products, bits of weights read: thousands per 20 ms of audio")
    console.print("a product of 4 x 7 bits counts 1, others weight bits x operand bits / 28")
    for common, _ in Counter(len(entry.labels) for entry in entries).most_common(1):
        names = [f"{len(entry.labels)} of {entry.name}" for entry in entries if len(entry.labels) != common]
        console.print("; ".join([f"labels: {common}", *names]))
    for entry in entries:
        if entry.seeds is not None:
            console.print(f"{entry.name}, golden over {entry.seeds['count']} seeds: {entry.seeds['text']}")


def _row(
    size: str, golden: float | None, interval: tuple[float, float] | None, network: "ZooEntry | Peer"
) -> list[str]:
    between = "-" if interval is None else f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"
    thousands = [f"{count / 1000:.1f}" for count in (network.equivalent_products, network.weight_bits)]
    return [network.name, size, percent(network.float_accuracy), percent(golden), between, *thousands]
