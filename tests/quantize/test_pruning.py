"""Pruning: the blocks that go, when they go, and that they stay zero up to the integers of the export."""

import dataclasses

import numpy as np
import pytest
import torch

from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import lower
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.sparsity import kept_columns, stored_bits
from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import load_frames
from lmu_quantize.train import TrainConfig
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LayerSpec, LMUNetwork
from lmu_quantize.train.pruning import Pruner, PruningConfig, block_masks


def zero_fraction(weights: np.ndarray, rows: int) -> float:
    blocks = [weights[first : first + rows].any(axis=0) for first in range(0, len(weights), rows)]
    return 1 - float(np.mean(blocks))


def test_the_smallest_blocks_go() -> None:
    weights = torch.tensor([[1.0, 9.0, 2.0], [1.0, 0.0, 2.0], [3.0, 0.0, 0.5]])
    (mask,) = block_masks([weights], 2, 0.5)
    assert mask.tolist() == [[0, 1, 1], [0, 1, 1], [1, 0, 0]]
    (mask,) = block_masks([weights], 1, 1 / 3)
    assert mask.tolist() == [[1, 1, 1], [1, 0, 1], [1, 0, 0]]
    assert [float(block_masks([weights], 2, f)[0].mean()) for f in (0.0, 1.0)] == [1.0, 0.0]


def test_ranking_is_within_a_matrix_or_over_all() -> None:
    small, large = torch.full((4, 10), 0.1), torch.full((4, 10), 2.0)
    assert [float(mask.mean()) for mask in block_masks([small, large], 4, 0.5)] == [0.5, 0.5]
    assert [float(mask.mean()) for mask in block_masks([small, large], 4, 0.5, "network")] == [0.0, 1.0]


def test_fraction_rises_along_a_cubic() -> None:
    config = PruningConfig(fraction=0.8, first_epoch=2, last_epoch=5)
    expected = [0, 0, *(0.8 * (1 - (1 - part) ** 3) for part in (0.25, 0.5, 0.75)), 0.8, 0.8]
    assert [config.fraction_in(epoch) for epoch in range(7)] == pytest.approx(expected)
    assert PruningConfig(fraction=0.9).fraction_in(0) == 0.9


def network() -> LMUNetwork:
    torch.manual_seed(1)
    layers = (LayerSpec(units=10, memories=4, order=6), LayerSpec(units=12, memories=3, order=5))
    return LMUNetwork(7, layers, 5)


def test_masked_weights_stay_zero_while_others_train() -> None:
    made = network()
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.1)
    before: dict[str, torch.Tensor] = {}
    for epoch, fraction in enumerate((0.7, 0.8, 0.8)):
        config = PruningConfig(fraction, rows=4, matrices=("e_x", "w_m"))
        pruner = Pruner(config, made, epoch)
        masks = {name: made.get_parameter(name) != 0 for name in ("blocks.0.w_m", "blocks.1.w_m", "blocks.0.e_x")}
        for name, mask in masks.items():
            assert not (mask & ~before.get(name, mask)).any()
            assert zero_fraction(mask.numpy(), 4) == pytest.approx(fraction, abs=0.07)
        for _ in range(3):
            made(torch.randn(8, 20, 7)).square().mean().backward()
            pruner.mask_gradients()
            assert not made.get_parameter("blocks.0.w_m").grad[~masks["blocks.0.w_m"]].any()
            optimizer.step()
            pruner.hold()
        for name, mask in masks.items():
            torch.testing.assert_close(made.get_parameter(name) != 0, mask)
        before = masks
    assert (made.get_parameter("blocks.0.w_x") != 0).all()


def test_nothing_is_pruned_without_a_configuration() -> None:
    made = network()
    state = {name: value.clone() for name, value in made.state_dict().items()}
    pruner = Pruner(None, made, 0)
    pruner.mask_gradients()
    pruner.hold()
    assert pruner.complete
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_epochs_before_the_last_are_not_the_best() -> None:
    config = PruningConfig(first_epoch=1, last_epoch=3)
    assert [Pruner(config, network(), epoch).complete for epoch in range(5)] == [False, False, False, True, True]


def compare(network: ExactNetwork, frames: np.ndarray) -> QuantizedModel:
    """Every hidden state and logit in training and in the golden model of the export."""
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        logits = network(torch.from_numpy(frames.astype(np.float32)), frames.shape[1], trace)
    model = network.to_quantized()
    golden = Golden(model).run(model.input.quantize(frames.astype(np.float32)))
    trace[f"layer{len(model.layers) - 1}.h"] = logits
    for index, layer in enumerate(model.layers):
        found = np.ldexp(trace[f"layer{index}.h"].numpy().astype(np.float64), layer.output.format.frac)
        np.testing.assert_array_equal(found, golden[f"layer{index}.h"])
    return model


def test_pruned_fine_tuning_is_the_golden_model_on_real_clips() -> None:
    frames = load_frames(zoo.path("kws105", "test.safetensors")).real()[::25]
    made = LMUNetwork.from_float(load_float(zoo.path("kws105", "float-parent.safetensors")))
    config = PruningConfig(rows=16)
    Pruner(config, made, 0)
    result = quantize_model(made.to_float_model(tuple("abcdefghij")), frames)
    exact = ExactNetwork(result, frames.shape[1])
    x = torch.from_numpy(frames.astype(np.float32))
    exact.calibrate_weights(x)
    optimizer = torch.optim.AdamW(exact.parameters(), lr=1e-3)
    first = compare(exact, frames)
    pruner = Pruner(config, exact, 0)
    gone = {name: (parameter == 0).numpy() for name, parameter in exact.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        exact(x, 4).square().mean().backward()
        pruner.mask_gradients()
        optimizer.step()
        pruner.hold()
    exact.calibrate_weights()
    model = compare(exact, frames)
    for index, (before, after) in enumerate(zip(first.layers[:-1], model.layers[:-1], strict=True)):
        assert (before.w_m.values != after.w_m.values).any()
        for name in ("w_x", "w_m"):
            values = after.weights[name].values
            assert zero_fraction(values, 16) >= 0.8 - 0.5 / (values.size / 16)
            assert not values[gone[f"layers.{index}.weights.{name}"]].any()
    plan = make_plan(model, AcceleratorConfig(lanes=16, skip_zero_blocks=True))
    assert plan.index_bits
    dense = make_plan(model, AcceleratorConfig(lanes=16))
    assert plan.cycles_per_frame < 0.6 * dense.cycles_per_frame
    assert stored_bits(model, 16).total < 0.45 * model.weight_bits


@pytest.mark.parametrize(("recipe", "kbits", "fraction"), [("kws105-pruned", 105, 0.8), ("kws49-pruned", 49, 0.91)])
def test_recipes_fit_their_names_with_the_index(recipe: str, kbits: int, fraction: float) -> None:
    config = TrainConfig.from_recipe(recipe, "data", "out")
    assert config.pruning is not None
    assert config.pruning.fraction == fraction
    torch.manual_seed(0)
    made = LMUNetwork(40, config.layers, len(config.labels), batch_norm=False)
    Pruner(config.pruning, made, config.pruning.last_epoch)
    frames = np.random.default_rng(0).standard_normal((4, 49, 40))
    model = quantize_model(made.to_float_model(config.labels), frames).model
    stored = stored_bits(model, config.pruning.rows)
    assert 0.9 * kbits < stored.total / 1000 <= kbits
    assert model.weight_bits > 2.5 * stored.weights
    for op in lower(model):
        for term, groups in zip(op.terms, kept_columns(op, 16), strict=True):
            if op.target.endswith(".h") and len(op.terms) == 2:
                assert sum(map(len, groups)) / (len(groups) * term.weights.shape[1]) < 1 - fraction + 0.01


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fraction": 1.0}, "pruning fraction must be a finite number above 0 and below 1, not 1.0"),
        ({"rows": 0}, "pruning rows must be in 1 to 64, not 0"),
        ({"rows": 65}, "pruning rows must be in 1 to 64, not 65"),
        ({"first_epoch": -1}, "pruning first_epoch must be at least 0, not -1"),
        ({"last_epoch": 2.0}, r"pruning last_epoch must be an integer, not 2\.0"),
        ({"first_epoch": 3, "last_epoch": 2}, r"pruning last_epoch must be at least first_epoch \(3\), not 2"),
        ({"matrices": ()}, r"pruning matrices must be some of e_x, w_x, w_m, w, not \(\)"),
        ({"matrices": ("w_h",)}, r"pruning matrices must be some of e_x, w_x, w_m, w, not \('w_h',\)"),
        ({"ranking": "row"}, "pruning ranking must be one of matrix, network, not 'row'"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str) -> None:
    wrong_type = any(expected in message for expected in ("an integer", "true or false", "a list of objects"))
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        PruningConfig(**values)


def test_pruning_is_part_of_the_configuration() -> None:
    config = TrainConfig(epochs=4, pruning=PruningConfig(last_epoch=3, matrices=["w_m"]))
    assert TrainConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="pruning last_epoch must be below the 3 float epochs, not 3"):
        dataclasses.replace(config, epochs=3)
    with pytest.raises(ValueError, match=r"unknown key 'epoch' in pruning, expected fraction, "):
        TrainConfig.from_dict({"pruning": {"epoch": 1}})
