"""The replay bundle: an accelerator with recorded frames and expected values, for any simulator, without Python."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from amaranth.utils import bits_for
from numpy.typing import ArrayLike, NDArray

from lmu_hw.export.emit import manifest, to_verilog, wrapper_verilog
from lmu_hw.export.names import TOP, check_module_name, wrapper_name
from lmu_hw.export.written import write_files
from lmu_hw.gateware.layouts import (
    decision_layout,
    feature_layout,
    group_layout,
    load_layout,
    logit_layout,
    whole_bytes,
)
from lmu_hw.host.spi import CS_HIGH_CYCLES, HALF_PERIOD_CYCLES
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.operations import Operation
from lmu_hw.plan.config import Interface, StatePolicy, WeightStore
from lmu_hw.plan.load_port import load_beats, load_words
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.shape import identification, shape, shape_digest

__all__ = ["bundle", "write_bundle"]

IntArray = NDArray[np.int64]

TEST_BENCH = "tb"
"""Module of the test bench, and name of its file."""

DRAIN = 64
"""Cycles of rest, beyond the longest that a frame can take, after which a replay ends."""

MAKEFILE = """\
# Replays the recorded frames. Needs make and a simulator (Icarus Verilog from 11, Verilator from 5.036), no Python.
# `make icarus PLUSARGS=+stall` stalls all streams at random.
IVERILOG ?= iverilog
VVP ?= vvp
VERILATOR ?= verilator
# For g++: how it includes headers and compiles coroutines. Every file is compiled by itself: joining them needs Python.
VERILATOR_CFLAGS ?= -std=gnu++20 -fcoroutines
VERILATOR_MAKE ?= CXX=g++ LINK=g++ AR=ar CFG_CXXFLAGS_PCH_I=-include VM_PARALLEL_BUILDS=1 \\
  OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0
PLUSARGS ?=
SOURCES = {sources}

.PHONY: all icarus verilator clean
all: icarus verilator

icarus: build/icarus/tb
\t$(VVP) -N build/icarus/tb $(PLUSARGS)

verilator: build/verilator/Vtb
\tbuild/verilator/Vtb $(PLUSARGS)

build/icarus/tb: $(SOURCES) $(wildcard *.vh)
\tmkdir -p build/icarus
\t$(IVERILOG) -g2001 -Wall -Wno-timescale -s tb -o $@ $(SOURCES)

build/verilator/Vtb: $(SOURCES) $(wildcard *.vh)
\tmkdir -p build
\t$(VERILATOR) --binary -Wno-fatal --top-module tb -Mdir build/verilator -CFLAGS '$(VERILATOR_CFLAGS)' \\
\t  -MAKEFLAGS '$(VERILATOR_MAKE)' $(SOURCES)

clean:
\trm -rf build
"""

README = """\
# Replay of {name}

`make` runs {frames} recorded frames through the accelerator of `{model}` in Icarus Verilog and in Verilator. It
compares the constants in its memories and every value that it computes: each run ends with "N values compared, 0
differ", or shows the first difference and fails. `make icarus` and `make verilator` do one of the two, without Python.

- `{name}.v` is the accelerator, `tb.v` and `tb.vh` the test bench{wrapper}, `manifest.json` tells where all came from.
- `inputs.hex` holds what is sent; `elements.hex`, `logits.hex` and `decisions.hex` what must come, after the frame.
- `memory_*.hex` hold the constants{loaded}. All these files end with a 1 that marks their end.
"""

LOADED = ", `weights.hex` the words for the load port"

WRAPPED = ", `{wrapper}.v` the wrapper, `adapter.v` and `adapter.vh` what drives its ports"

TRANSFER = 80
"""Cycles for a byte on SPI, with what is around it."""


@dataclass
class _Vectors:
    """Words of the vector files; how they are packed is in the test bench."""

    inputs: list[int] = field(default_factory=list)
    elements: list[int] = field(default_factory=list)
    logits: list[int] = field(default_factory=list)
    decisions: list[int] = field(default_factory=list)


def _pack(*fields: tuple[int, int]) -> int:
    """Word of (value, width) fields, the lowest first."""
    word = position = 0
    for value, width in fields:
        word |= (int(value) & ((1 << width) - 1)) << position
        position += width
    return word


class _Widths:
    """Bits of the fields of the vector files."""

    def __init__(self, plan: Plan, operations: Sequence[Operation], frames: int):
        self.input = feature_layout(plan).size
        self.element = max(step.output.signed_width for step in plan.narrow_steps)
        self.operation = group_layout(plan)["operation"].width
        self.index = bits_for(max(op.start + op.repeat * op.rows for op in operations) - 1)
        self.frame = bits_for(frames - 1)
        self.logit = logit_layout(plan).size
        self.label = decision_layout(plan)["label"].width
        self.decision = decision_layout(plan).size


def _utterances(plan: Plan, utterances: Sequence[ArrayLike] | NDArray[np.integer]) -> list[IntArray]:
    checked = []
    for utterance in utterances:
        array = np.asarray(utterance)
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != plan.model.inputs or not len(array):
            raise ValueError(
                f"an utterance must hold integers of shape (T, {plan.model.inputs}), not {array.dtype} of {array.shape}"
            )
        plan.model.input.check("frame values", array)
        checked.append(array.astype(np.int64))
    if not checked:
        raise ValueError("a bundle needs at least one utterance")
    return checked


def _vectors(plan: Plan, golden: Golden, utterances: Sequence[IntArray], widths: _Widths) -> _Vectors:
    """Run the golden model over the utterances, cleared between them as the state policy says."""
    vectors = _Vectors()
    policy = plan.config.state
    state = golden.initial_state()
    frame = 0
    for number, utterance in enumerate(utterances):
        if policy is not StatePolicy.KEEP:
            state = golden.initial_state()
        for position, values in enumerate(utterance):
            clear = policy is StatePolicy.PULSE and number > 0 and position == 0
            end = policy is StatePolicy.UTTERANCE and position == len(utterance) - 1
            _send(vectors, values, clear, end, plan, widths)
            results = {name: value[0] for name, value in golden.step(values[None], state).items()}
            for index, op in enumerate(golden.operations):
                if op.target not in results:
                    break
                for element in range(op.start, op.start + op.repeat * op.rows):
                    value = (results[op.target][element], widths.element)
                    where = ((index, widths.operation), (element, widths.index), (frame, widths.frame))
                    vectors.elements.append(_pack(value, *where))
            if "logits" in results:
                _decide(vectors, results["logits"], frame, widths)
            frame += 1
    return vectors


def _send(vectors: _Vectors, values: IntArray, clear: bool, end: bool, plan: Plan, widths: _Widths) -> None:
    width = plan.model.input.width
    for index, value in enumerate(values):
        last = index == values.size - 1
        flags = int(last) | int(last and end) << 1
        vectors.inputs.append(_pack((value, width), (flags, widths.input - width), (int(clear and index == 0), 1)))


def _decide(vectors: _Vectors, logits: IntArray, frame: int, widths: _Widths) -> None:
    for index, value in enumerate(logits):
        last = (int(index == logits.size - 1), 1)
        vectors.logits.append(_pack((value, widths.logit - 1), last, (frame, widths.frame)))
    label, score = decide(logits)
    fields = ((int(label), widths.label), (int(score), widths.decision - widths.label), (frame, widths.frame))
    vectors.decisions.append(_pack(*fields))


def _load_words(plan: Plan) -> list[int]:
    """Words of the weight image as payloads of the load port."""
    widths = [member.width for _, member in load_layout(plan)]
    return [_pack(*zip(fields, widths, strict=True)) for fields in load_words(plan)]


def _hex(words: Sequence[int], width: int) -> str:
    """Text of a file of words; it ends with a one more, by which a file that was cut short is noticed."""
    digits = -(-width // 4)
    return "".join(f"{word:0{digits}x}\n" for word in (*words, 1))


def _memory_check(plan: Plan) -> list[str]:
    """Verilog that compares the contents of the constant memories with their images."""
    declarations, body = [], []
    images = plan.images()
    memories = [*plan.weight_memories, plan.parameters, *([plan.table] if plan.table is not None else [])]
    for memory in memories:
        where = r"finish.\table " if memory.kind == "table" else f"memory_{memory.name}"
        words = f"`TB_CORE.{where}.cells[k]"
        image, depth = f"image_{memory.name}", len(images[memory.name])
        shown = f"word %0d of memory {memory.name}: expected %h, got %h"
        declarations.append(f"  reg [{memory.width - 1}:0] {image} [0:{depth}];")
        body += [
            f'      $readmemh("memory_{memory.name}.hex", {image}, 0, {depth});',
            f"      whole({image}[{depth}] === 1);",
            f"      for (k = 0; k < {depth}; k = k + 1) begin",
            f"        if ({words} !== {image}[k]) begin",
            f'          $write("{shown}", k, {image}[k], {words});',
            "          fail;",
            "        end",
            "        n_words = n_words + 1;",
            "      end",
        ]
    return [*declarations, "  task check_memories;", "    integer k;", "    begin", *body, "    end", "  endtask"]


def _header(plan: Plan, golden: Golden, vectors: _Vectors, widths: _Widths, name: str) -> str:
    wrapped = plan.config.interface is not Interface.STREAM
    defines = [
        f"`define TB_DUT {'adapter' if wrapped else name}",
        f"`define TB_CORE {'dut.wrapper.core' if wrapped else 'dut'}",
    ]
    parameters = {
        "INPUT_WIDTH": widths.input,
        "ELEMENT_WIDTH": widths.element,
        "OPERATION_WIDTH": widths.operation,
        "INDEX_WIDTH": widths.index,
        "ELEMENT_FRAME": widths.element + widths.operation + widths.index,
        "LOGIT_WIDTH": widths.logit,
        "DECISION_WIDTH": widths.decision,
        "FRAME_WIDTH": widths.frame,
        "LABELS": plan.model.outputs,
        "INPUTS": len(vectors.inputs),
        "ELEMENTS": len(vectors.elements),
        "LOGITS": len(vectors.logits),
        "DECISIONS": len(vectors.decisions),
        "DRAIN": max(frame.interval + frame.latency for frame in plan.frames) + DRAIN + _transfers(plan),
    }
    if plan.config.state is StatePolicy.PULSE:
        defines.append("`define TB_CLEAR")
    if plan.model.gate is not None and not wrapped:
        defines.append("`define TB_GATE")
    if plan.config.state is StatePolicy.UTTERANCE:
        defines.append("`define TB_END")
    if plan.config.weights is WeightStore.RAM:
        defines.append("`define TB_LOAD")
        parameters |= {"LOAD_WIDTH": load_layout(plan).size, "LOADS": len(_load_words(plan))}
    lines = [
        "// Widths, counts and names of this accelerator, and the check of its constant memories.",
        *defines,
        *(f"  localparam {key} = {value};" for key, value in parameters.items()),
        "",
        "  task show_vector(input [OPERATION_WIDTH-1:0] operation);",
        "    case (operation)",
        *(f"      {widths.operation}'d{index}: $write(\"{op.target}\");" for index, op in enumerate(golden.operations)),
        '      default: $write("operation %0d", operation);',
        "    endcase",
        "  endtask",
        "",
        *_memory_check(plan),
    ]
    return "\n".join(lines) + "\n"


def _transfers(plan: Plan) -> int:
    """Cycles in which nothing moves but bits on SPI: of a frame, a result, or some registers."""
    if plan.config.interface is not Interface.SPI:
        return 0
    sizes = _sizes(plan)
    frame = plan.model.inputs * sizes["INPUT_BYTES"]
    result = sizes["LABEL_BYTES"] + (1 + plan.model.outputs) * sizes["SCORE_BYTES"]
    return TRANSFER * (frame + result + 4 * sizes.get("BEATS", 0) + 32)


def _sizes(plan: Plan) -> dict[str, int]:
    """Widths and counts that the adapter of a wrapper needs."""
    element, decision = feature_layout(plan), decision_layout(plan)
    sizes = {
        "INPUT_WIDTH": element["data"].width,
        "INPUT_FLAGS": element.size - element["data"].width,
        "INPUT_BYTES": whole_bytes(element["data"].width) // 8,
        "INPUTS": plan.model.inputs,
        "LABEL_WIDTH": decision["label"].width,
        "LABEL_BYTES": whole_bytes(decision["label"].width) // 8,
        "SCORE_WIDTH": decision["score"].width,
        "SCORE_BYTES": whole_bytes(decision["score"].width) // 8,
        "LABELS": plan.model.outputs,
        "HALF_PERIOD": HALF_PERIOD_CYCLES,
        "CS_HIGH": CS_HIGH_CYCLES,
    }
    if plan.config.weights is WeightStore.RAM:
        load = load_layout(plan)
        sizes |= {f"{name.upper()}_WIDTH": load[name].width for name in ("memory", "address", "data")}
        sizes |= {"BEATS": load_beats(plan), "SHAPE_ID": identification(shape_digest(shape(plan)))}
    return sizes


def _source(name: str) -> str:
    """Text of a Verilog file that is the same for all accelerators."""
    return files("lmu_hw.export").joinpath(f"bundle_{name}.v").read_text()


def _adapter(plan: Plan, name: str) -> dict[str, str]:
    """Files of a wrapper and of what stands between it and the test bench."""
    interface = plan.config.interface
    if interface is Interface.STREAM:
        return {}
    wrapper = wrapper_name(plan, name)
    lines = ["// Widths, counts and names of this accelerator.", f"`define TB_WRAPPER {wrapper}"]
    lines += [f"  localparam {key} = 32'd{value};" for key, value in _sizes(plan).items()]
    return {
        f"{wrapper}.v": wrapper_verilog(plan, name),
        "adapter.v": _source("adapter") + _source(interface.value),
        "adapter.vh": "\n".join(lines) + "\n",
    }


def bundle(plan: Plan, utterances: Sequence[ArrayLike] | NDArray[np.integer], name: str = TOP) -> dict[str, str]:
    """Files of a replay bundle: equal arguments give equal files.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    utterances : sequence of array_like of int, each of shape (T, inputs)
        Input frames, in the model's input format. They are sent back to back; between two of them the state is cleared
        as the state policy says.
    name : str
        Name of the top module.

    Returns
    -------
    dict of str to str
        Text of each file by name.

    Raises
    ------
    ValueError
        If there is no frame, frames do not fit the model, Verilog does not take the name or it is the test bench's, or
        the accelerator computes several frames together.
    """
    if check_module_name(name) == TEST_BENCH:
        raise ValueError(f"the top module of a replay must not be named {name!r}, its test bench is")
    if plan.config.frames_per_fetch > 1:
        raise ValueError(f"a replay needs frames_per_fetch 1, not {plan.config.frames_per_fetch}")
    if plan.parts > 1:
        raise ValueError(f"a replay needs memories_at_once 1, not {plan.parts}")
    clips = _utterances(plan, utterances)
    golden = Golden(plan.model)
    frames = sum(len(clip) for clip in clips)
    widths = _Widths(plan, golden.operations, frames)
    vectors = _vectors(plan, golden, clips, widths)
    images = plan.images()
    adapter = _adapter(plan, name)
    sources = ["tb.v", *(file for file in adapter if file.endswith(".v")), f"{name}.v"]
    texts = {
        f"{name}.v": to_verilog(plan, name),
        **adapter,
        "tb.v": _source("tb"),
        "tb.vh": _header(plan, golden, vectors, widths, name),
        "inputs.hex": _hex(vectors.inputs, widths.input + 1),
        "elements.hex": _hex(vectors.elements, widths.element + widths.operation + widths.index + widths.frame),
        "logits.hex": _hex(vectors.logits, widths.logit + widths.frame),
        "decisions.hex": _hex(vectors.decisions, widths.decision + widths.frame),
        "Makefile": MAKEFILE.format(sources=" ".join(sources)),
    }
    for memory in (*plan.weight_memories, plan.parameters, *([plan.table] if plan.table is not None else [])):
        texts[f"memory_{memory.name}.hex"] = _hex(images[memory.name], memory.width)
    loaded = ""
    if plan.config.weights is WeightStore.RAM:
        texts["weights.hex"] = _hex(_load_words(plan), load_layout(plan).size)
        loaded = LOADED
    wrapper = WRAPPED.format(wrapper=wrapper_name(plan, name)) if adapter else ""
    texts["README.md"] = README.format(
        name=name, model=plan.model.name, frames=frames, loaded=loaded, wrapper=wrapper
    )
    texts["manifest.json"] = json.dumps(manifest(plan, texts, name), indent=2) + "\n"
    return texts


def write_bundle(
    plan: Plan, utterances: Sequence[ArrayLike] | NDArray[np.integer], directory: str | Path, name: str = TOP
) -> list[Path]:
    """Write a replay bundle.

    Parameters
    ----------
    plan, utterances, name
        As in `bundle`.
    directory : str or Path
        Made if it does not exist.

    Returns
    -------
    list of Path
        The files written; each appears whole or not at all, the manifest last. Those of an earlier replay are removed.
    """
    return write_files(Path(directory), bundle(plan, utterances, name))
