"""Exact quantization in training: the forward pass is the golden model, the gradient that of the unrounded network."""

import dataclasses
import math
import time

import numpy as np
import pytest
import torch

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import vectors
from lmu_hw.model.program import QuantizedLMU, QuantizedModel
from lmu_quantize import zoo
from lmu_quantize.calibrate import QuantizationResult, quantize_model, trained_formats
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import load_frames
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer, SeparableLayer
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.exact_operations import ExactNarrow, NarrowedSum, RoundedMemory, filtered, memory_groups
from lmu_quantize.train.network import LayerSpec, LMUBlock, LMUNetwork

SMALL = (
    LayerSpec(units=12, memories=4, order=6, thetas=(10, 24)),
    LayerSpec(units=8, memories=3, order=4, thetas=(15,), input_weights=False),
    LayerSpec(units=16, memories=2, order=5, thetas=(60,), discretizer="euler"),
)


@pytest.fixture(scope="module")
def speech() -> tuple[QuantizationResult, np.ndarray]:
    """The float parent of the shipped network, quantized, and frames of real clips."""
    frames = load_frames(zoo.path("kws361", "test.safetensors")).real()[::25]
    return quantize_model(load_float(zoo.path("kws361", "float-parent.safetensors")), frames), frames


def random_result(seed: int = 0, **config: object) -> tuple[QuantizationResult, np.ndarray]:
    torch.manual_seed(seed)
    network = LMUNetwork(7, SMALL, 5, batch_norm=False)
    for block in network.hidden_blocks():
        torch.nn.init.normal_(block.b_h, std=0.3)
    frames = np.random.default_rng(seed).standard_normal((6, 31, 7))
    return quantize_model(network.to_float_model(tuple("abcde")), frames, QuantizationConfig(**config)), frames


def compare(network: ExactNetwork, frames: np.ndarray) -> QuantizedModel:
    """Every element of every vector in every frame, in training and in the golden model of the export."""
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        logits = network(torch.from_numpy(frames.astype(np.float32)), frames.shape[1] // network.period, trace)
    model = network.to_quantized()
    golden = Golden(model).run(model.input.quantize(frames.astype(np.float32)))
    trace["logits"] = logits
    names = {name for name in golden if not name.startswith(f"layer{len(model.layers) - 1}.")}
    assert set(trace) == names
    for name in names - {"logits"}:
        expected, stride = golden[name], model.strides[int(name[len("layer") : -len(".m")])]
        if name.endswith(".m"):
            expected = expected[:, stride - 1 :: stride]
        found = np.ldexp(trace[name].numpy().astype(np.float64), vectors(model)[name].format.frac)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    frac = model.layers[-1].output.format.frac
    np.testing.assert_array_equal(np.ldexp(logits.numpy().astype(np.float64), frac), golden["logits"])
    return model


def test_forward_is_the_golden_model_on_real_clips(speech: tuple[QuantizationResult, np.ndarray]) -> None:
    result, frames = speech
    network = ExactNetwork(result, frames.shape[1])
    compare(network, frames)
    network.calibrate_weights(torch.from_numpy(frames.astype(np.float32)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    for _ in range(2):
        network(torch.from_numpy(frames.astype(np.float32)), 4).square().mean().backward()
        optimizer.step()
    network.calibrate_weights()
    trained = compare(network, frames)
    assert (trained.layers[0].w_m.values != result.model.layers[0].w_m.values).any()


@pytest.mark.parametrize("strides", [(2, 1, 1), (1, 4, 1), (1, 2, 2)])
def test_strides_are_those_of_the_golden_model_on_real_clips(
    speech: tuple[QuantizationResult, np.ndarray], strides: tuple[int, ...]
) -> None:
    floats, frames = speech[0].floats, speech[1][:2].astype(np.float32)
    layers = [
        dataclasses.replace(layer, stride=stride)
        for layer, stride in zip(floats.layers[:-1], strides, strict=True)
    ]
    model = dataclasses.replace(floats, layers=(*layers, floats.layers[-1]))
    network = ExactNetwork(quantize_model(model, frames), frames.shape[1])
    assert network.period == math.prod(strides)
    compare(network, frames)
    network.calibrate_weights(torch.from_numpy(frames))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    network(torch.from_numpy(frames), 2).square().mean().backward()
    optimizer.step()
    before = network.start.layers[0].w_m.values
    assert (compare(network, frames).layers[0].w_m.values != before).any()


@pytest.mark.parametrize("state_bits", [9, 12, 16])
def test_forward_is_the_golden_model_of_other_shapes(state_bits: int) -> None:
    result, frames = random_result(state_bits, state_bits=state_bits)
    network = ExactNetwork(result, frames.shape[1])
    wide = {group.a.dtype for layer in network.layers for group in layer.groups}
    assert wide == {torch.float64 if state_bits == 16 else torch.float32}
    compare(network, frames)
    compare(network, 40 * frames)


def separable_layer(rng: np.random.Generator, size: int, memories: tuple[LegendreMemory, ...], **options) -> object:
    rows = 2 * len(memories)
    encoder = None if len(memories) == size else 0.8 * rng.standard_normal((len(memories), size))
    w_m, w_f = rng.standard_normal((rows, memories[0].order)), rng.standard_normal((size, rows)) / math.sqrt(rows)
    b_f, b_h = (0.2 * rng.standard_normal(count) for count in (rows, size))
    return SeparableLayer(memories, encoder, w_m, w_f, b_f, b_h, **options)


def separable_result(seed: int = 0, **config: object) -> tuple[QuantizationResult, np.ndarray]:
    """A dense layer, separable layers with and without an encoder and a residual, an LMU layer, the logits."""
    rng = np.random.default_rng(seed)
    uneven = tuple(LegendreMemory(3, theta) for theta in (4, 4, 9, 9))
    layers = (
        DenseLayer(rng.standard_normal((8, 7)) / 2, 0.2 * rng.standard_normal(8), "relu"),
        separable_layer(rng, 8, uneven, residual=True),
        separable_layer(rng, 8, tuple(LegendreMemory(4, 3.5 + (k > 3)) for k in range(8)), residual=True, stride=2),
        separable_layer(rng, 8, uneven[1:3]),
        LMULayer(uneven, rng.standard_normal((4, 8)) / 3, rng.standard_normal((6, 12)) / 3, b_h=np.zeros(6)),
        DenseLayer(rng.standard_normal((5, 6)), 0.2 * rng.standard_normal(5)),
    )
    frames = rng.standard_normal((6, 30, 7))
    return quantize_model(FloatModel(layers, tuple("abcde")), frames, QuantizationConfig(**config)), frames


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"state_bits": 6, "state_range": "frames", "a_bits": 6, "b_bits": 6},
        {"state_bits": 16, "weight_bits": 6, "u_bits": 10},
    ],
)
def test_separable_layers_are_those_of_the_golden_model(config: dict[str, object]) -> None:
    result, frames = separable_result(**config)
    network = ExactNetwork(result, frames.shape[1])
    x = torch.from_numpy(frames.astype(np.float32))
    compare(network, frames)
    compare(network, 40 * frames)
    network.calibrate_weights(x)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(2):
        network(x, 4).square().mean().backward()
        optimizer.step()
    network.calibrate_weights()
    trained = compare(network, frames)
    for index in (1, 2, 3):
        for name, weights in trained.layers[index].weights.items():
            assert (weights.values != result.model.layers[index].weights[name].values).any(), f"layer{index}.{name}"
        for name in ("b_f", "b_h"):
            assert (getattr(trained.layers[index], name) != getattr(result.model.layers[index], name)).any()


def test_last_frames_of_separable_layers_are_those_of_all_frames() -> None:
    result, frames = separable_result()
    network = ExactNetwork(result, frames.shape[1])
    x = torch.from_numpy(frames.astype(np.float32))
    with torch.no_grad():
        np.testing.assert_array_equal(network(x, 15)[:, -3:].numpy(), network(x, 3).numpy())


def test_gradient_of_the_filters_is_that_of_the_products() -> None:
    state, weights = torch.randn(2, 3, 8, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    wanted = torch.randn(2, 3, 6)
    (filtered(state, weights, 3) * wanted).sum().backward()
    got = [each.grad.clone() for each in (state, weights)]
    state.grad = weights.grad = None
    parts = [state[..., 4 * k : 4 * k + 4] @ weights[3 * k : 3 * k + 3].T for k in range(2)]
    (torch.cat(parts, 2) * wanted).sum().backward()
    for each, gradient in zip((state, weights), got, strict=True):
        torch.testing.assert_close(gradient, each.grad)


def test_the_residual_passes_the_gradient_on() -> None:
    """A layer whose filters give nothing hands the gradient of its units to the layer below."""
    rng = np.random.default_rng(0)
    memories = (LegendreMemory(2, 4),) * 3
    silent = SeparableLayer(memories, None, np.zeros((3, 2)), np.zeros((3, 3)), np.zeros(3), np.zeros(3), residual=True)
    layers = (DenseLayer(np.eye(3), np.ones(3), "relu"), silent, DenseLayer(np.ones((2, 3)), np.zeros(2)))
    frames = rng.uniform(0, 1, (2, 6, 3))
    formats = {f"layer{index}.h": Format(7, 5, False) for index in (0, 1)}
    network = ExactNetwork(quantize_model(FloatModel(layers), frames, QuantizationConfig(formats=formats)), 6)
    network(torch.from_numpy(frames.astype(np.float32)), 6).sum().backward()
    np.testing.assert_array_equal(network.layers[0].biases["b"].grad.numpy(), np.full(3, 2 * 2 * 6.0))


def test_quantizing_exported_separable_floats_gives_the_same_network() -> None:
    result, frames = separable_result()
    network = ExactNetwork(result, frames.shape[1])
    network.calibrate_weights(torch.from_numpy(frames.astype(np.float32)))
    config = QuantizationConfig(formats=trained_formats(network.formats()))
    again = quantize_model(network.to_float_model(result.model.labels), frames, config)
    first = network.to_quantized()
    integers = first.input.quantize(frames)
    expected = Golden(first).run(integers)
    for name, values in Golden(again.model).run(integers).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"activation": "linear"}, "^layer0 must be a ReLU layer to be trained$"),
        (1, {"activation": "linear"}, "^layer1 must be a ReLU layer to be trained$"),
        (1, {"b_f": None}, "^layer1 must have a bias to be trained$"),
        (0, {"b": None}, "^layer0 must have a bias to be trained$"),
        (2, {"f": Quantizer(Format(7, 3, False), Rounding.FLOOR)}, "^layer2.f: training rounds HALF_UP and saturates"),
    ],
)
def test_separable_layers_that_are_not_trained_are_refused(
    index: int, change: dict[str, object], message: str
) -> None:
    result, _ = separable_result()
    layers = list(result.model.layers)
    layers[index] = dataclasses.replace(layers[index], **change)
    broken = dataclasses.replace(result, model=dataclasses.replace(result.model, layers=tuple(layers)))
    with pytest.raises(ValueError, match=message):
        ExactNetwork(broken, 30)


def test_last_frames_are_those_of_all_frames() -> None:
    result, frames = random_result()
    network = ExactNetwork(result, frames.shape[1])
    x = torch.from_numpy(frames.astype(np.float32))
    with torch.no_grad():
        np.testing.assert_array_equal(network(x, 31)[:, -3:].numpy(), network(x, 3).numpy())


def test_gradient_of_the_memory_is_that_of_the_unrounded_recurrence() -> None:
    layer = random_result()[0].model.layers[0]
    u = (torch.randint(-128, 128, (3, 31, 4)) * layer.u.format.lsb).requires_grad_()
    wanted = torch.randn(3, 5, 24)
    start, states = 0, []
    for group in memory_groups(layer, layer.u.format, 31):
        part = u[..., start : start + group.count]
        states.append(RoundedMemory.apply(part, group, group.toeplitz(31, range(26, 31)), range(26, 31)))
        start += group.count
    (torch.cat(states, dim=2) * wanted).sum().backward()
    got, u.grad = u.grad, None
    plain = torch.zeros(3, 4, 6)
    kept = []
    for now in range(31):
        plain = torch.stack([_update(layer, plain[:, k], u[:, now, k], layer.matrix[k]) for k in range(4)], dim=1)
        kept.append(plain.flatten(1))
    (torch.stack(kept[-5:], dim=1) * wanted).sum().backward()
    torch.testing.assert_close(got, u.grad, atol=1e-4, rtol=1e-4)
    assert float(got[:, 0].abs().max()) > 0


def _update(layer: QuantizedLMU, state: torch.Tensor, u: torch.Tensor, matrix: int) -> torch.Tensor:
    a, b = layer.a_format.real(layer.a[matrix]), layer.b_format.real(layer.b[matrix])
    return state @ torch.from_numpy(a.T).float() + u[:, None] * torch.from_numpy(b).float()


def test_gradient_of_a_sum_is_that_of_the_products() -> None:
    x, w = torch.randn(2, 3, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    y, v = torch.randn(2, 3, 2, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    bias, wanted = torch.randn(4, requires_grad=True), torch.randn(2, 3, 4)
    (NarrowedSum.apply(ExactNarrow(Quantizer(Format(16, 8))), bias, x, w, y, v) * wanted).sum().backward()
    got = [each.grad.clone() for each in (x, w, y, v, bias)]
    for each in (x, w, y, v, bias):
        each.grad = None
    ((x @ w.T + y @ v.T + bias) * wanted).sum().backward()
    for each, gradient in zip((x, w, y, v, bias), got, strict=True):
        torch.testing.assert_close(gradient, each.grad)


def test_gradient_stops_where_values_saturate() -> None:
    result, frames = random_result()
    network = ExactNetwork(result, 31)
    last = network.layers[-1]
    last.biases["b"].data[0] = 1e4
    network(torch.from_numpy(frames.astype(np.float32)), 31).sum().backward()
    assert last.biases["b"].grad[0] == 0
    assert last.biases["b"].grad[1] == 6 * 31


def test_quantizing_the_exported_floats_gives_the_same_network(
    speech: tuple[QuantizationResult, np.ndarray],
) -> None:
    result, frames = speech
    network = ExactNetwork(result, frames.shape[1])
    network.calibrate_weights(torch.from_numpy(frames.astype(np.float32)))
    formats = trained_formats(network.formats())
    again = quantize_model(network.to_float_model(result.model.labels), frames, QuantizationConfig(formats=formats))
    first = network.to_quantized()
    integers = first.input.quantize(frames)
    for name, values in Golden(again.model).run(integers).items():
        if name not in ("logits", f"layer{len(first.layers) - 1}.h"):
            np.testing.assert_array_equal(values, Golden(first).run(integers)[name], err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "linear"}, "^layer0 must be a ReLU layer with a linear u without bias to be trained$"),
        ({"b_h": None}, "^layer0 must have a bias to be trained$"),
        ({"rounding": Rounding.FLOOR}, "^layer0.m: training rounds HALF_UP and saturates, not "),
        ({"overflow": Overflow.WRAP}, "^layer0.m: training rounds HALF_UP and saturates, not "),
    ],
)
def test_what_is_not_trained_is_refused(change: dict[str, object], message: str) -> None:
    result, _ = random_result()
    first = result.model.layers[0]
    if {"rounding", "overflow"} & set(change):
        change = {"m": Quantizer(first.m.format, **change)}
    layers = (dataclasses.replace(first, **change), *result.model.layers[1:])
    broken = dataclasses.replace(result, model=dataclasses.replace(result.model, layers=layers))
    with pytest.raises(ValueError, match=message):
        ExactNetwork(broken, 31)


def test_sums_beyond_float32_are_refused() -> None:
    result, _ = random_result(weight_bits=16, state_bits=16)
    with pytest.raises(ValueError, match=r"^layer0\.e_x: a sum of products may reach \d+, over 24 bits$"):
        ExactNetwork(result, 31)


def test_dense_layer_must_be_last() -> None:
    result, _ = random_result()
    layers = result.model.layers[:-1]
    broken = dataclasses.replace(result, model=dataclasses.replace(result.model, layers=layers, labels=()))
    with pytest.raises(ValueError, match=r"^the last layer of a trained network must be dense$"):
        ExactNetwork(broken, 31)


def recurrent(block: LMUBlock, u: torch.Tensor) -> torch.Tensor:
    """The memory of a block frame by frame, shape (batch, T, memories * order)."""
    ((memory, count),) = block.spec.groups()
    a, b = (torch.from_numpy(matrix.astype(np.float32)) for matrix in memory.discretize())
    state = torch.zeros(len(u), count, len(b))
    states = []
    for now in range(u.shape[1]):
        state = state @ a.T + u[:, now, :, None] * b
        states.append(state)
    return torch.stack(states, dim=1).flatten(2)


@pytest.mark.slow
def test_parallel_memory_is_ten_times_as_fast_as_the_recurrence(capsys: pytest.CaptureFixture[str]) -> None:
    block = LMUBlock(40, LayerSpec(units=112, memories=16, order=8, thetas=(24,)), batch_norm=False)
    ratios = {clips: _times_as_fast(block, torch.randn(clips, 49, 16, requires_grad=True)) for clips in (1, 8, 16, 128)}
    with capsys.disabled():
        shown = ", ".join(f"{ratio:.1f} at {clips}" for clips, ratio in ratios.items())
        print(f"\nmemory, forward and backward, times as fast as the recurrence, by clips at a time: {shown}")
    assert ratios[1] > 10


def _times_as_fast(block: LMUBlock, u: torch.Tensor) -> float:
    """Time of the recurrence over that of the parallel memory, forward and backward, on one thread."""
    with torch.no_grad():
        np.testing.assert_allclose(recurrent(block, u), block.memory(u, u.shape[1]), atol=2e-5, rtol=2e-5)
    memories = (lambda: recurrent(block, u), lambda: block.order_major(u, u.shape[1])[0])
    times: tuple[list[float], list[float]] = ([], [])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(30):  # in turns, and the least: other work on the machine takes the caches from some turns
            for memory, taken in zip(memories, times, strict=True):
                began = time.thread_time()
                for _ in range(4):  # in a row, as in training: the caches hold what the memory needs
                    memory().sum().backward()
                taken.append(time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return min(times[0]) / min(times[1])
