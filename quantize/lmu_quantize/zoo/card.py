"""The card of a network in the zoo, written from the network, its training run and its measurements."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.sparsity import stored_bits
from lmu_quantize.model import DenseLayer, FloatModel, Layer, LMULayer, MemoryLayer, SeparableLayer
from lmu_quantize.score import Score
from lmu_quantize.score_table import label_rows, to_markdown
from lmu_quantize.zoo.cost import SpanCost, block_rows, cost
from lmu_quantize.zoo.seeds import SeedResult, spread_over_seeds

__all__ = ["CardFacts", "card_text"]

FEW_CLIPS = 100
"""Fewer training clips of a label than this are named in the limits."""
WIDTH = 120
"""Longest line of a paragraph."""
CONSTANT_BITS = 16
"""Bits that an element of a bias or of a memory matrix is counted with."""


@dataclass(frozen=True, eq=False)
class CardFacts:
    """What a card is written from.

    Parameters
    ----------
    name : str
        Of the network, and of its recipe.
    floats : FloatModel
        The fine-tuned network.
    model : QuantizedModel
        Its integers.
    parent, golden : Score
        Of the float parent and of the integers on the official test clips.
    result : mapping
        ``result.json`` of the run.
    history : sequence of mapping
        Rows of ``train.csv``.
    seeds : sequence of SeedResult
        Runs of the recipe with other seeds, this one among them; empty for one seed.
    remarks : str
        What a person has to say on the limits, Markdown; may be empty.
    """

    name: str
    floats: FloatModel
    model: QuantizedModel
    parent: Score
    golden: Score
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, str]]
    seeds: Sequence[SeedResult] = ()
    remarks: str = ""


def card_text(facts: CardFacts) -> str:
    """Markdown text of a card."""
    parts = (_head(facts), _accuracy(facts), _recipe(facts), _limits(facts))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _head(facts: CardFacts) -> str:
    labels = facts.model.labels
    *layers, _ = facts.floats.layers
    rows = [("input", _input(facts.model))]
    rows += [(f"layer {index}", _layer(layer)) for index, layer in enumerate(layers)]
    rows += [("output", f"dense layer of {len(labels)}"), ("parameters", f"{facts.floats.parameters:,}")]
    rows += [("weights", _weights(facts)), ("formats", _formats(facts.model))]
    pruned = block_rows(facts.model)
    if pruned is not None:
        rows.append(("pruned", _pruned(facts.model, pruned)))
    taken = cost(facts.model, pruned)
    skipped = "" if pruned is None else ", blocks of zeros skipped"
    rows.append(
        ("per 20 ms of audio", f"{taken.products:,.0f} products, {taken.weight_bits:,.0f} weight bits read{skipped}")
    )
    rows += _products(taken)
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# {facts.name}

A keyword spotter of {_count(layers)} for {len(labels)} labels: {", ".join(labels)}.

| | |
|---|---|
{table}
"""


def _count(layers: Sequence[Layer]) -> str:
    """Number of the layers below the logits, by type."""
    names = {SeparableLayer: "separable", LMULayer: "LMU", DenseLayer: "dense"}
    counts = {name: sum(isinstance(layer, each) for layer in layers) for each, name in names.items()}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    if len(layers) == 1:
        return f"one {parts[0].removeprefix('1 ')} layer"
    return f"{parts[0]} layers" if len(parts) == 1 else f"{len(layers)} layers ({', '.join(parts)})"


def _input(model: QuantizedModel) -> str:
    end = model.front_end or {}
    named = {"log-mel": ("n_mels", "log-mel bands"), "mfcc": ("n_coefficients", "MFCC")}
    key, noun = named.get(end.get("kind", ""), ("", "elements"))
    times = [f"{1000 * end[name] / end['sample_rate']:g} ms {name}" for name in ("window", "hop") if name in end]
    return ", ".join([f"{end.get(key, model.inputs)} {noun}", *times]) + f"; {model.input.width}-bit integers"


def _layer(layer: Layer) -> str:
    if isinstance(layer, DenseLayer):
        return f"dense; {layer.units} {layer.activation} units; `W`{', bias' if layer.b is not None else ''}"
    stride = f", every {layer.stride} frames" if layer.stride > 1 else ""
    units = f"{_memories(layer)}; {layer.units} {layer.activation} units{stride}"
    if isinstance(layer, SeparableLayer):
        filters = "one filter" if layer.filters == 1 else f"{layer.filters} filters"
        encoder = "`e_x`, " if layer.e_x is not None else "a memory for each input, "
        added = ", the input added" if layer.residual else ""
        return f"separable; {units}; {encoder}{filters} a memory (`W_m`), `W_f`{added}, biases"
    named = {"e_x": "`e_x`", "w_x": "`W_x`", "w_m": "`W_m`", "w_h": "`W_h`", "e_h": "`e_h`", "e_m": "`e_m`"}
    weights = ", ".join(text for name, text in named.items() if name in layer.tensors)
    return f"{units}; {weights}, bias"


def _memories(layer: MemoryLayer) -> str:
    shapes = dict.fromkeys((memory.order, memory.theta, memory.discretizer) for memory in layer.memories)
    memories = []
    for shape in shapes:
        order, theta, discretizer = shape
        count = sum((memory.order, memory.theta, memory.discretizer) == shape for memory in layer.memories)
        noun = "memory" if count == 1 else "memories"
        memories.append(f"{count} {noun} of order {order}, {discretizer.upper()}, θ = {theta:g} frames")
    return "; ".join(memories)


def _weights(facts: CardFacts) -> str:
    model = facts.model
    widths = _range(weights.width for layer in model.layers for weights in layer.weights.values())
    biases = sum(tensor.size for layer in facts.floats.layers for tensor in layer.tensors.values() if tensor.ndim == 1)
    memories = [layer for layer in model.layers if isinstance(layer, QuantizedMemoryLayer)]
    matrices = sum(a.size + b.size for layer in memories for a, b in zip(layer.a, layer.b, strict=True))
    total = model.weight_bits + CONSTANT_BITS * (biases + matrices)
    values = [weights.values for layer in model.layers for weights in layer.weights.values()]
    zeros = sum(int(np.count_nonzero(each == 0)) for each in values) / sum(each.size for each in values)
    return (
        f"{model.weight_bits / 1000:.1f} kbit at {widths} bits, {100 * zeros:.0f} % of them zero; "
        f"{total / 1000:.1f} kbit with biases and the memory matrices at {CONSTANT_BITS} bits"
    )


def _products(taken: SpanCost) -> list[tuple[str, str]]:
    widths = [f"{each.count:,.0f} of {each.weight_bits} x {each.operand_bits}" for each in taken.by_width]
    counted = f"{taken.equivalent_products:,.0f}, each product counted as weight bits x operand bits / 28"
    return [("products by bits", ", ".join(widths)), ("as products of 4 x 7 bits", counted)]


def _pruned(model: QuantizedModel, rows: int) -> str:
    stored = stored_bits(model, rows)
    return (
        f"blocks of {rows} rows and one column; {stored.weights / 1000:.1f} kbit of weights are stored, "
        f"{stored.total / 1000:.1f} kbit with their index"
    )


def _formats(model: QuantizedModel) -> str:
    memories = [layer for layer in model.layers if isinstance(layer, QuantizedMemoryLayer)]
    named = (("u", "u"), ("filters", "f"), ("hidden", "h"), ("memory state", "m"))
    parts = []
    for text, name in named:
        quantizers = [getattr(layer, name, None) for layer in memories]
        widths = [each.format.width for each in quantizers if each is not None]
        parts += [f"{text} {_range(widths)} bits"] if widths else []
    matrices = _range(fmt.width for each in memories for fmt in (each.a_format, each.b_format))
    return ", ".join([*parts, f"Ā and B̄ {matrices} bits"])


def _range(widths: Iterable[int]) -> str:
    distinct = sorted(set(widths))
    return str(distinct[0]) if len(distinct) == 1 else f"{distinct[0]} to {distinct[-1]}"


def _accuracy(facts: CardFacts) -> str:
    clips = facts.golden.clips
    rows = []
    for title, score, command in (
        ("float parent", facts.parent, "lmu-hw evaluate PARENT --engine float --data DATA"),
        ("integers, golden model", facts.golden, f"lmu-hw evaluate {facts.name} --data DATA"),
    ):
        low, high = score.interval
        cells = title, _percent(score.accuracy), f"{100 * low:.2f} to {_percent(high)}", _percent(score.mean_recall)
        rows.append(f"| {' | '.join(cells)} | `{command}` |")
    scores = facts.result["scores"]
    validation = {
        name: [_percent(scores[f"{phase}.validation"][name]) for phase in ("float", "quantized")]
        for name in ("accuracy", "mean_recall")
    }
    trained = scores["quantized.test"]["correct"]
    method = _paragraph(
        f"On the official v0.02 test clips of these labels ({clips:,} clips), decision at the last frame of each clip.",
        "`DATA` is a Speech Commands folder: `DATA/speech_commands/<word>/*.wav` and",
        "`DATA/speech_commands_test_set/<label>/*.wav`.",
    )
    files = _paragraph(
        "`PARENT` is `float-parent.safetensors` beside this card. `float.json` and `golden.json` hold what these",
        "commands write with `--json`.",
        f"The training code counts {trained:,} right clips, the golden model {facts.golden.correct:,}.",
        f"On validation the accuracy is {' (floats) and '.join(validation['accuracy'])} (integers), the mean recall",
        f"{' and '.join(validation['mean_recall'])}.",
    )
    table = _paragraph(
        "The golden model label by label, also in `labels.csv`;",
        f"`lmu-hw evaluate {facts.name} --data DATA --out FOLDER` writes the table and the picture.",
    )
    return f"""
## Accuracy

{method}

| network | accuracy | 95 % interval | mean recall | command |
|---|---|---|---|---|
{chr(10).join(rows)}

{files}{_seeds(facts.seeds)}

{table}

{to_markdown(facts.golden)}
![Confusion matrix](confusion.png)
"""


def _paragraph(*sentences: str) -> str:
    """One paragraph of Markdown, wrapped; empty sentences are left out."""
    text = " ".join(sentence for sentence in sentences if sentence)
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _seeds(seeds: Sequence[SeedResult]) -> str:
    if not seeds:
        return ""
    rows = [
        f"| {each.seed} | {_percent(each.parent)} | {_percent(each.golden)} | {_percent(each.validation)} |"
        for each in seeds
    ]
    columns = [[getattr(each, name) for each in seeds] for name in ("parent", "golden", "validation")]
    means = " | ".join(str(spread_over_seeds(column)) for column in columns)
    return f"""

Over {len(seeds)} seeds (`seeds.json`), mean ± standard deviation, smallest and largest last:

| seed | float parent | integers | integers, validation |
|---|---|---|---|
{chr(10).join(rows)}
| all | {means} |"""


def _recipe(facts: CardFacts) -> str:
    recipe, clips = facts.result["recipe"], facts.result["training_clips"]
    best = [_best(facts.history, phase) for phase in ("float", "quantized")]
    minutes = sum(float(row["seconds"]) for row in facts.history) / 60
    words = [count for label, count in clips.items() if label not in ("unknown", "silence")]
    training = _paragraph(
        f"Seed {recipe['seed']}. {recipe['epochs']} float epochs{_start(recipe)}, and {recipe['quantized_epochs']} in",
        "which the forward pass is the golden model bit for bit; `docs/training.md` describes the parts of the recipe.",
        f"Epochs were chosen by mean recall on the validation split ({best[0]} and {best[1]}).",
        _shift(facts.result.get("unknown_offset")),
        f"`train.csv` is the log; its epochs took {minutes:.0f} minutes.",
    )
    data = _paragraph(
        f"Training clips: {min(words):,} to {max(words):,} of a keyword, {clips.get('unknown', 0):,} of unknown,",
        f"{clips.get('silence', 0):,} of silence, from Speech Commands by P. Warden (arXiv:1804.03209), CC BY 4.0;",
        "so are `calibration.safetensors` (100 validation clips as integer frames) and `test.safetensors`",
        "(200 official test clips).",
    )
    return f"""
## Recipe

    lmu-hw train --data DATA --out RUN --recipe {facts.name}
    lmu-hw zoo --add RUN --data DATA

{training}

{data}
"""


def _start(recipe: Mapping[str, Any]) -> str:
    """Say what the float epochs start and learn from."""
    text, teacher = "", recipe["teacher"]
    if recipe["init"]:
        text += f", which start from the float parent of `{recipe['init']}`"
    if teacher:
        text += f", which learn from the float parent of `{teacher['model']}` besides the labels"
    return text


def _shift(offsets: Mapping[str, float] | None) -> str:
    if not offsets:
        return ""
    shifts = f"{offsets['float']:g} (floats) and {offsets['quantized']:g} (integers)"
    return f"The logit of unknown is shifted by {shifts}, chosen on validation."


def _best(history: Sequence[Mapping[str, str]], phase: str) -> int:
    """Number of the epoch of a phase with the best validation; among equal ones the first."""
    rows = [row for row in history if row["phase"] == phase]
    return int(max(rows, key=lambda row: float(row["validation_mean_recall"]))["epoch"])


def _limits(facts: CardFacts) -> str:
    rows = sorted(label_rows(facts.golden), key=lambda row: row.recall)[:3]
    weakest = ", ".join(f'"{row.label}" {100 * row.recall:.1f} %' for row in rows)
    loss = 100 * (facts.parent.accuracy - facts.golden.accuracy)
    gap = 100 * (facts.result["scores"]["quantized.validation"]["accuracy"] - facts.golden.accuracy)
    few = {label: count for label, count in facts.result["training_clips"].items() if count < FEW_CLIPS}
    lines = [
        f"- Labels with the lowest recall: {weakest}.",
        f"- The integers are {abs(loss):.2f} points {'below' if loss >= 0 else 'above'} their float parent.",
        f"- Validation is {abs(gap):.2f} points {'above' if gap >= 0 else 'below'} the test.",
    ]
    if few:
        counts = ", ".join(f'{count} of "{label}"' for label, count in few.items())
        lines.append(f"- Few training clips here: {counts}.")
    if len(facts.seeds) < 2:
        lines.append(f"- One seed ({facts.result['recipe']['seed']}).")
    text = "\n".join(lines)
    return f"\n## Limits\n\n{text}\n" + (f"\n{facts.remarks.strip()}\n" if facts.remarks.strip() else "")
