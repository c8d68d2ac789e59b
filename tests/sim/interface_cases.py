"""Small accelerators behind AXI and SPI, with all that a bench in the simulator must know of them."""

from dataclasses import replace

import numpy as np

from lmu_hw.gateware.layouts import decision_layout, load_layout, logit_layout, whole_bytes
from lmu_hw.host.registers import constants, irq_bits, present
from lmu_hw.model.gate import Gate
from lmu_hw.model.golden import decide
from lmu_hw.model.program import Weights
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import fitted, shape
from lmu_hw.plan.weight_file import make_image
from lmu_sim.stimulus import Marks, reference, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

CASES = {
    "rom": (11, {"units": 4, "stride": 1}, {"lanes": 4}),
    "pulse": (12, {"units": 3, "stride": 2}, {"lanes": 7, "weights": "ram", "state": "pulse"}),
    "utterance": (13, {"layers": ("dense", "dense"), "units": 5}, {"lanes": 2, "state": "utterance"}),
    "one label": (14, {"layers": ("dense",), "units": 1}, {"lanes": 1, "weights": "ram", "state": "utterance"}),
    "gated": (
        17,
        {"units": 4, "stride": 2},
        {"lanes": 3, "weights": "ram", "state": "pulse", "stop_clock": True, "gate_blocks": True},
    ),
    "slow": (16, {"units": 6, "inputs": 1, "stride": 1, "layers": ("lmu", "dense", "dense")}, {"lanes": 1}),
    "many labels": (15, {"layers": ("dense",), "units": 36, "inputs": 3, "bias": True}, {"lanes": 16}),
}

ASLEEP = 18, {"units": 4, "stride": 1}, {"lanes": 3, "state": "pulse"}
"""A network with a level gate."""


def plan_of(name, interface):
    """Plan of a case, and frames for it; those of the case that sleeps are loud, then quiet."""
    seed, options, config = ASLEEP if name == "asleep" else CASES[name]
    rng = np.random.default_rng(seed)
    model = random_model(rng, **options)
    frames = random_frames(rng, model, 2, 7)
    if name == "asleep":
        low, high = model.inputs * model.input.min, model.inputs * model.input.max
        model = replace(model, gate=Gate((high - low) // 8, 1, 6, 2, low))
        frames[:, 0], frames[:, 2:6] = model.input.max, model.input.min
    return make_plan(model, AcceleratorConfig(**config, interface=interface)), frames


def retrained(model, seed=2):
    """The same network with other weights, none larger than before, so that all sums stay in their bounds."""
    rng = np.random.default_rng(seed)

    def other(weights):
        return replace(weights, values=np.sign(weights.values) * rng.integers(0, np.abs(weights.values) + 1))

    layers = []
    for layer in model.layers:
        names = [name for name, value in vars(layer).items() if isinstance(value, Weights)]
        changed = {name: other(getattr(layer, name)) for name in names}
        layers.append(replace(layer, **changed))
    return replace(model, layers=tuple(layers), name="retrained")


def described(name, interface, other=False):
    """Plan of a case, and what its bench must know; with `other`, of a retrained network in the same accelerator."""
    plan, utterances = plan_of(name, interface)
    loaded = fitted(make_plan(retrained(plan.model), plan.config), shape(plan)) if other else plan
    n = plan.model.inputs
    marks = Marks(malformed={4: [[0] * (n + 1)], 8: [[1] * (2 * n + 1)]})
    frames = stimulus(plan, utterances, marks, seed=1)
    logit, decision = logit_layout(plan), decision_layout(plan)
    results = []
    computed = reference(loaded.model, frames)
    for one in computed.expected:
        if "logits" in one.values:
            values = [int(value) for value in one.values["logits"]]
            label, score = (int(value) for value in decide(one.values["logits"]))
            results.append({"frame": one.frame, "logits": values, "label": label, "score": score})
    ram = plan.config.weights.value == "ram"
    widths = {"THRESHOLD": 32, "IRQ_ENABLE": irq_bits(plan), "LOAD_SHAPE": 32}
    widths |= {f"LABEL_MASK{k}": min(32, plan.model.outputs - 32 * k) for k in range(-(-plan.model.outputs // 32))}
    layout = load_layout(plan)
    widths |= {"LOAD_MEMORY": layout["memory"].width, "LOAD_ADDRESS": layout["address"].width}
    image = make_image(loaded, shape(plan))
    return plan, {
        "seed": (ASLEEP if name == "asleep" else CASES[name])[0],
        "asleep": len(computed.asleep),
        "inputs": n,
        "input_width": plan.model.input.width,
        "labels": plan.model.outputs,
        "label_bytes": whole_bytes(decision["label"].width) // 8,
        "score_bytes": whole_bytes(logit["data"].width) // 8,
        "frames": [{"values": list(f.values), "clear": bool(f.clear), "end": f.end} for f in frames],
        "results": results,
        "writes": list(image.writes()) if ram else [],
        "last": image.words[-1],
        "crc": image.crc32,
        "beats": image.beats,
        "constants": constants(plan),
        "present": [register.name for register in present(plan)],
        "widths": widths,
        "period": plan.period,
        "cycles": max(frame.interval for frame in plan.frames),
        "latency": max(frame.latency for frame in plan.frames),
    }
