"""Co-simulation of random networks on random accelerators: every lever, together with the others.

Use it after a change of the gateware, over many seeds. Each seed draws a network, the bits of its weights, an
accelerator and the frames. The same seed draws the same.
"""

import dataclasses
from typing import Any

import numpy as np

from lmu_hw.model.program import QuantizedModel, Weights
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import Plan, make_plan
from lmu_sim.cosim import CosimOptions, cosimulate
from lmu_sim.result import CosimResult
from lmu_sim.runner import Simulator
from lmu_sim.stimulus import stimulus
from lmu_sim.testing.random_models import prune_blocks, random_frames, random_model

__all__ = ["random_cosim", "random_plan"]

CLIPS, STEPS = 2, 8
"""Clips that are sent, and frames of each."""


def random_plan(rng: np.random.Generator) -> Plan:
    """Draw a network and an accelerator for it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Plan
        One to three layers of at most 23 units on 1 to 16 lanes, with any levers that go together.
    """
    layers = tuple(rng.choice(["lmu", "separable", "dense"], int(rng.integers(1, 4))).tolist())
    shape: dict[str, Any] = {"layers": layers}
    if rng.random() < 0.5:
        shape["activation"] = "relu"
    if rng.random() < 0.5:
        shape["units"] = int(rng.integers(5, 24))
    config = _random_config(rng)
    if config["frames_per_fetch"] > 1:
        # A round needs frames that do not need the one before, and strides that divide it.
        shape |= {"e_h": False, "e_m": False, "w_h": False, "stride": int(rng.choice([1, 2]))}
    model = _narrowed(rng, random_model(rng, **shape))
    if config["skip_zero_blocks"]:
        model = prune_blocks(rng, model, config["lanes"], 0.8)
    return make_plan(model, AcceleratorConfig(**config))


def _random_config(rng: np.random.Generator) -> dict[str, Any]:
    """Draw fields of `AcceleratorConfig` that go together."""
    config: dict[str, Any] = {name: bool(rng.random() < 0.5) for name in LEVERS}
    config["lanes"] = int(rng.choice([1, 2, 3, 4, 8, 9, 12, 16]))
    config["weights"] = str(rng.choice(["rom", "ram"]))
    config["state"] = str(rng.choice(["keep", "pulse", "utterance"]))
    config["bank_words"] = int(rng.choice([0, 0, 8, 16])) if config["weights"] == "rom" else 0
    config["state_bank_words"] = int(rng.choice([0, 0, 4, 8]))
    config["frames_per_fetch"] = int(rng.choice([1, 1, 1, 1, 2, 4]))
    if config["frames_per_fetch"] > 1:
        config |= {"state": "keep", "skip_zero_blocks": False, "skip_zero_elements": False}
    return config


def _narrowed(rng: np.random.Generator, model: QuantizedModel) -> QuantizedModel:
    """Clip weights to few bits, matrix by matrix or to four everywhere, with or without the most negative number."""
    mode = str(rng.choice(["as drawn", "any", "symmetric", "four bits"]))
    if mode == "as drawn":
        return model

    def clipped(weights: Weights) -> Weights:
        width = 4 if mode == "four bits" else int(rng.integers(2, 6))
        most = 2 ** (width - 1) - 1
        values = np.clip(weights.values, -most - (mode != "symmetric"), most)
        return dataclasses.replace(weights, values=values, width=width)

    layers = []
    for layer in model.layers:
        matrices: dict[str, Any] = {name: clipped(weights) for name, weights in layer.weights.items()}
        layers.append(dataclasses.replace(layer, **matrices))
    return dataclasses.replace(model, layers=tuple(layers))


def random_cosim(seed: int, simulator: Simulator = Simulator.ICARUS) -> tuple[CosimResult, ...]:
    """Co-simulate a random network on a random accelerator.

    Parameters
    ----------
    seed : int
        Of all random choices, at least 0.
    simulator : Simulator
        Runs the Verilog.

    Returns
    -------
    tuple of CosimResult
        With frames back to back, with frames that wait for rest, and with random stalls. Call `check` of each: it
        raises unless every value is equal and every count of cycles and accesses as planned.

    Raises
    ------
    ToolError
        If the simulator is missing.
    SimulatorError
        If the simulator fails.
    """
    rng = np.random.default_rng(seed)
    plan = random_plan(rng)
    frames = stimulus(plan, random_frames(rng, plan.model, CLIPS, STEPS), seed=seed)
    runs: list[dict[str, Any]] = [{}, {"stalls": "random", "seed": seed}]
    if plan.config.frames_per_fetch == 1:  # a frame of a round waits for the last one, not for rest
        runs.append({"spaced": True})
    return tuple(cosimulate(plan, frames, CosimOptions(simulator, **run)) for run in runs)
