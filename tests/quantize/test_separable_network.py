"""The separable layer in training, against the recurrence in float64 and the golden model."""

import re
import time

import numpy as np
import pytest
import torch

from lmu_quantize.calibrate import quantize_model
from lmu_quantize.train.average import WeightAverage
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LayerShape, LayerSpec, LMUNetwork
from lmu_quantize.train.quantizers import QuantizationScheme
from lmu_quantize.train.separable import DenseSpec, SeparableSpec

SHAPES: dict[str, tuple[LayerShape, ...]] = {
    "residual": (DenseSpec(8), SeparableSpec(8, 4, 3, (4, 9)), SeparableSpec(8, 6, 4, (5,), filters=1)),
    "strides": (
        SeparableSpec(8, 4, 4, (4, 8), stride=2, residual=False),
        SeparableSpec(8, 4, 4, (2, 4), stride=2),
        SeparableSpec(8, 8, 2, (3, 6)),
    ),
    "memory per channel": (DenseSpec(6), SeparableSpec(6, 0, 3, (4, 8), filters=3), DenseSpec(9)),
    "beside other layers": (LayerSpec(6, 2, 3, (9,)), DenseSpec(8), SeparableSpec(5, 4, 4, (6,), residual=False)),
}


def network(shape: str, **options: object) -> LMUNetwork:
    torch.manual_seed(0)
    made = LMUNetwork(7, SHAPES[shape], 5, **options)
    for block in made.hidden_blocks():
        for bias in block.biases().values():
            torch.nn.init.normal_(bias)
    return made.eval()


def frames(seed: int, clips: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((clips, 24, 7)).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_parallel_network_equals_the_recurrence(shape: str) -> None:
    made, x = network(shape, batch_norm=False), frames(1)
    count = x.shape[1] // made.period
    trace: dict[str, torch.Tensor] = {}
    everything, last = made(x, count, trace).numpy(), made(x, 2).numpy()
    model = made.to_float_model(tuple("abcde"))
    out = model.run(x.numpy())
    np.testing.assert_allclose(everything, out["logits"], atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(last, out["logits"][:, -2:], atol=2e-5, rtol=2e-5)
    for name, values in trace.items():
        if name.endswith((".u", ".f", ".h")):
            np.testing.assert_allclose(values.numpy(), out[name], atol=2e-5, rtol=2e-5, err_msg=name)
    again = LMUNetwork.from_float(model)
    torch.testing.assert_close(again(x, count), torch.from_numpy(everything), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_folding_and_warm_starts_change_nothing(shape: str) -> None:
    made, x = network(shape), frames(2, 64)
    made.train()
    for seed in range(30):
        made(frames(seed, 64), x.shape[1] // made.period)
    before = made.eval()(x)
    model = made.to_float_model(tuple("abcde"))
    torch.testing.assert_close(made(x), before, atol=1e-4, rtol=1e-4)
    started = network(shape)
    started.start_from(model, x)
    torch.testing.assert_close(started.eval()(x), before, atol=1e-4, rtol=1e-4)
    assert len(list(started.buffers())) > len(list(made.buffers()))


def test_fake_quantization_puts_weights_and_activations_on_grids() -> None:
    made, x = network("residual"), frames(3)
    made.quantize(QuantizationScheme())
    made.calibrate(x)
    formats = made.formats()["layers"]
    assert [entry["type"] for entry in formats] == ["dense", "separable", "separable", "dense"]
    assert {name: entry["width"] for name, entry in formats[1].items() if name in "ufh"} == {"u": 8, "f": 7, "h": 7}
    assert {name: len(entry["frac"]) for name, entry in formats[1]["weights"].items()} == {"e_x": 4, "w_m": 8, "w_f": 8}
    for layer, entry in zip(made.to_float_model(tuple("abcde")).layers, formats, strict=True):
        for name, weights in entry["weights"].items():
            integers = np.ldexp(layer.tensors[name], np.array(weights["frac"])[:, None])
            np.testing.assert_array_equal(integers, np.rint(integers))
            assert np.abs(integers).max() <= 7
    loss = made(x, 3).square().sum()
    loss.backward()
    assert all(bool(parameter.grad.any()) for parameter in made.parameters())


def test_trained_network_goes_on_in_exact_arithmetic() -> None:
    floats = network("strides", batch_norm=False).to_float_model(tuple("abcde"))
    x = frames(4, 32)
    exact = ExactNetwork(quantize_model(floats, x.numpy()), x.shape[1])
    exact.calibrate_weights(x)
    loss = exact(x, 2).square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in exact.parameters())


def test_low_precision_is_near_the_full_one_and_trains_every_parameter() -> None:
    made, x = network("residual").train(), frames(5, 64)
    expected = made(x, 4)
    with torch.autocast("cpu", torch.bfloat16):
        result = made.hidden(x, 4).float()
    result = made.logits(result)
    assert float((result - expected).detach().abs().max()) < 0.05 * float(expected.detach().abs().max())
    result.square().sum().backward()
    unused = {name for name, each in made.named_parameters() if each.grad is None}
    assert unused == {name for name, _ in made.named_parameters() if name.endswith(("b_f", "b_h", "blocks.0.b"))}


def test_mean_of_weights_over_steps() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, 0.9)
    mean = float(layer.weight.detach())
    for step in range(1, 200):
        torch.nn.init.constant_(layer.weight, step % 7)
        average.update()
        decay = min(0.9, step / (step + 10))
        mean = decay * mean + (1 - decay) * (step % 7)
    assert float(average.network.weight.detach()) == pytest.approx(mean, rel=1e-5)
    other = WeightAverage(torch.nn.Linear(1, 1, bias=False), 0.9)
    other.load(average.state())
    assert other.steps == 199
    assert torch.equal(other.network.weight, average.network.weight)
    assert WeightAverage(layer, 0.0).network is layer


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SeparableSpec(0), "layer units must be at least 1, not 0"),
        (lambda: SeparableSpec(8, 6), "layer thetas must divide the 6 memories evenly, not (4.0, 8.0, 16.0, 32.0)"),
        (lambda: SeparableSpec(8, type="dense"), "layer type must be one of separable, not 'dense'"),
        (lambda: DenseSpec(8, type="lmu"), "layer type must be one of dense, not 'lmu'"),
        (
            lambda: LMUNetwork(7, (SeparableSpec(8, 4),), 5),
            "a residual layer of 7 inputs must have as many units, not 8",
        ),
        (
            lambda: LMUNetwork(7, (SeparableSpec(8, residual=False),), 5),
            "layer thetas must divide the 7 input channels evenly, not (4.0, 8.0, 16.0, 32.0)",
        ),
    ],
)
def test_refused_shapes(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()  # type: ignore[operator]


def milliseconds(made: LMUNetwork | ExactNetwork, x: torch.Tensor, low: bool = False) -> float:
    """Processor time of a step forward and backward, the best of ten."""
    times = []
    for _ in range(10):
        start = time.process_time()
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            hidden = made.hidden(x, 4).float()
        made.logits(hidden).square().mean().backward()
        times.append(1000 * (time.process_time() - start))
    return min(times)


@pytest.mark.slow
def test_a_step_of_training_is_measured() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.randn(128, 49, 40)
    for recipe in ("sep361", "sep105", "sep49"):
        config = TrainConfig.from_recipe(recipe, "", "")
        made = LMUNetwork(40, config.layers, len(config.labels), dropout=config.dropout)
        floats, low = (milliseconds(made.train(), x, precision) for precision in (False, True))
        exact = ExactNetwork(quantize_model(made.eval().to_float_model(config.labels), x[:16].numpy()), x.shape[1])
        exact.calibrate_weights(x[:16])
        print(f"{recipe}: float32 {floats:.0f} ms, bfloat16 {low:.0f} ms, exact {milliseconds(exact, x):.0f} ms")
        assert low < floats
    torch.set_num_threads(threads)
