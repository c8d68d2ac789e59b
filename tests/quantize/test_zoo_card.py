"""The card of a network with separable layers names them, their formats and their products."""

import numpy as np

from lmu_hw.model.golden import Golden
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer, SeparableLayer
from lmu_quantize.score import Score
from lmu_quantize.zoo.card import CardFacts, card_text

LABELS = ("yes", "no")


def facts() -> CardFacts:
    rng = np.random.default_rng(0)
    memories = tuple(LegendreMemory(3, theta) for theta in (4.0, 4.0, 9.0))
    layers = (
        DenseLayer(rng.normal(size=(6, 5)), np.ones(6), "relu"),
        SeparableLayer(
            memories, rng.normal(size=(3, 6)), rng.normal(size=(6, 3)), rng.normal(size=(6, 6)),
            np.ones(6), np.ones(6), residual=True, stride=2,
        ),
        SeparableLayer(memories * 2, None, rng.normal(size=(6, 3)), rng.normal(size=(6, 6)), np.ones(6), np.ones(6)),
        LMULayer(memories, rng.normal(size=(3, 6)), rng.normal(size=(4, 9)), b_h=np.ones(4)),
        DenseLayer(rng.normal(size=(2, 4)), np.ones(2)),
    )  # fmt: skip
    floats, frames = FloatModel(layers, LABELS), rng.normal(size=(3, 12, 5))
    model = quantize_model(floats, frames).model
    assert Golden(model).run(model.input.quantize(frames))["logits"].shape == (3, 6, 2)
    score = Score(LABELS, np.array([[3, 1], [0, 4]]))
    phases = ("float", "quantized")
    scores = {f"{phase}.{split}": score.to_dict() for phase in phases for split in ("validation", "test")}
    recipe = {"seed": 0, "epochs": 2, "quantized_epochs": 1, "init": "", "teacher": None}
    result = {"recipe": recipe, "scores": scores, "training_clips": {"yes": 4, "no": 4}}
    history = [{"phase": phase, "epoch": "1", "seconds": "1", "validation_mean_recall": "0.5"} for phase in phases]
    return CardFacts("separable", floats, model, score, score, result, history)


def test_layers_formats_and_products_are_named():
    card = card_text(facts())
    assert "A keyword spotter of 4 layers (2 separable, 1 LMU, 1 dense) for 2 labels: yes, no." in card
    assert "| layer 0 | dense; 6 relu units; `W`, bias |" in card
    assert (
        "| layer 1 | separable; 2 memories of order 3, ZOH, θ = 4 frames; 1 memory of order 3, ZOH, θ = 9 frames; "
        "6 relu units, every 2 frames; `e_x`, 2 filters a memory (`W_m`), `W_f`, the input added, biases |"
    ) in card
    assert "6 relu units; a memory for each input, one filter a memory (`W_m`), `W_f`, biases |" in card
    assert "| formats | u 8 bits, filters 7 bits, hidden 7 bits, memory state 12 bits, Ā and B̄ 10 bits |" in card
    # Layers 2 and 3 see every other frame, and layer 2 drives its memories with 7-bit hidden states.
    update, driven, by_hidden = 3 * 9 + (6 + 3) * 9 / 2, 3 * 3 + 3 * 3 / 2, 6 * 3 / 2
    counts = f"{update:,.0f} of 10 x 12, {driven:,.0f} of 10 x 8, {by_hidden:,.0f} of 10 x 7, "
    assert f"| products by bits | {counts}" in card
    assert "| as products of 4 x 7 bits | " in card
