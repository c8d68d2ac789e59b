"""Strides and learnt windows of the float network, against the recurrence in float64."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.model import FloatModel, LegendreMemory
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.network import LayerSpec, LMUNetwork
from lmu_quantize.train.quantizers import QuantizationScheme
from lmu_quantize.train.windows import LearntWindows, read_frames, toeplitz

LAYERS = (
    LayerSpec(units=12, memories=4, order=6, thetas=(10, 24)),
    LayerSpec(units=8, memories=3, order=4, thetas=(15,), input_weights=False),
    LayerSpec(units=16, memories=2, order=5, thetas=(60,), discretizer="euler"),
)


def network(strides: tuple[int, ...] = (1, 1, 1), learn_theta: bool = False, **options: object) -> LMUNetwork:
    torch.manual_seed(0)
    layers = tuple(
        dataclasses.replace(layer, stride=stride, learn_theta=learn_theta)
        for layer, stride in zip(LAYERS, strides, strict=True)
    )
    made = LMUNetwork(7, layers, 5, **options)
    for block in made.hidden_blocks():
        torch.nn.init.normal_(block.b_h)
    return made.eval()


def frames(seed: int, length: int = 31) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((6, length, 7)).astype(np.float32))


@pytest.mark.parametrize("strides", [(2, 1, 1), (1, 4, 1), (1, 1, 2), (2, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("length", [31, 36])
def test_strided_network_equals_the_recurrence(strides: tuple[int, ...], length: int) -> None:
    made, x = network(strides), frames(1, length)
    count = length // made.period
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        everything, last = made(x, count, trace).numpy(), made(x, 2).numpy()
    model = made.to_float_model(tuple("abcde"))
    assert [layer.stride for layer in model.layers[:-1]] == list(strides)
    out = model.run(x.numpy())
    np.testing.assert_allclose(everything, out["logits"], atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(last, out["logits"][:, -2:], atol=2e-5, rtol=2e-5)
    for layer, stride in enumerate(strides):
        expected = out[f"layer{layer}.m"][:, stride - 1 :: stride]
        np.testing.assert_allclose(trace[f"layer{layer}.m"].numpy(), expected, atol=2e-5, rtol=2e-5)
        np.testing.assert_allclose(trace[f"layer{layer}.h"].numpy(), out[f"layer{layer}.h"], atol=2e-5, rtol=2e-5)
    again = LMUNetwork.from_float(model)
    with torch.no_grad():
        np.testing.assert_allclose(again(x, count).numpy(), everything, atol=2e-5, rtol=2e-5)


def test_strided_network_starts_from_a_model_and_quantizes() -> None:
    model, x = network((2, 1, 2)).to_float_model(), frames(2)
    made = network((2, 1, 2), batch_norm=True)
    made.start_from(model, x)
    expected = model.run(x.numpy())["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(made.eval()(x, 7).numpy(), expected, atol=1e-4, rtol=1e-4)
    made.quantize(QuantizationScheme(weight_bits=12, u_bits=16, hidden_bits=16, input_bits=16))
    made.calibrate(x)
    with torch.no_grad():
        np.testing.assert_allclose(made(x, 7).numpy(), expected, atol=0.05, rtol=0.05)


def test_frames_that_are_read() -> None:
    assert list(read_frames(10, 2, 3)) == [5, 8]
    assert list(read_frames(10, 10, 1)) == list(range(10))
    for last in (0, 4):
        with pytest.raises(ValueError, match=rf"^last must be in 1 to 3 for 10 frames and stride 3, not {last}$"):
            read_frames(10, last, 3)


@pytest.mark.parametrize("discretizer", ["zoh", "euler"])
@pytest.mark.parametrize("order", [1, 2, 8])
def test_learnt_windows_are_those_given_until_they_are_trained(discretizer: str, order: int) -> None:
    memories = tuple(LegendreMemory(order, theta, discretizer) for theta in (40.0, 90.5, 200.0))
    windows = LearntWindows(memories)
    assert windows.learnt() == memories
    got = windows.toeplitz(49, 12, 4).detach()
    for made, memory in zip(got, memories, strict=True):
        np.testing.assert_allclose(made.numpy(), toeplitz(memory, 49, 12, 4).numpy(), atol=1e-6, rtol=1e-6)
    windows.start_from((41.0, 90.5, 100.0))
    assert [memory.theta for memory in windows.learnt()] == pytest.approx([41, 90.5, 100], rel=1e-6)
    for made, memory in zip(windows.toeplitz(49, 1, 1).detach(), windows.learnt(), strict=True):
        np.testing.assert_allclose(made.numpy(), toeplitz(memory, 49, 1, 1).numpy(), atol=1e-6, rtol=1e-6)


def test_gradient_of_a_window_is_that_of_the_discretized_recurrence() -> None:
    windows = LearntWindows((LegendreMemory(4, 20.0),))
    u = np.random.default_rng(3).standard_normal(49)

    def end(growth: float) -> np.ndarray:
        a, b = LegendreMemory(4, 20.0).continuous()
        step = expm(np.block([[a, b[:, None]], [np.zeros((1, 5))]]) / (20 * np.exp(growth)))
        state = np.zeros(4)
        for value in u:
            state = step[:-1, :-1] @ state + step[:-1, -1] * value
        return state

    expected = (end(1e-5) - end(-1e-5)) / 2e-5
    for element in range(4):
        windows.growth.grad = None
        (windows.toeplitz(49, 1, 1)[0, element] @ torch.from_numpy(u).float()).backward()
        assert float(windows.growth.grad[0]) == pytest.approx(expected[element], rel=1e-3, abs=1e-4)


def test_windows_learn_and_are_exported() -> None:
    """A network finds the window of the one that made its data."""
    spec = LayerSpec(units=8, memories=2, order=4, thetas=(12,), learn_theta=True)
    torch.manual_seed(1)
    made = LMUNetwork(3, (spec,), 2, batch_norm=False)
    x = torch.randn(64, 30, 3)
    wanted = made.to_float_model()
    layer = dataclasses.replace(wanted.layers[0], memories=(LegendreMemory(4, 18.0),) * 2)
    target = torch.from_numpy(FloatModel((layer, wanted.layers[1])).run(x.numpy())["logits"]).float()
    optimizer = torch.optim.Adam([made.hidden_blocks()[0].windows.growth], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (made(x, 30) - target).square().mean().backward()
        optimizer.step()
    model = made.to_float_model()
    assert model.layers[0].memories[0].theta == pytest.approx(18, rel=0.01)
    with torch.no_grad():
        np.testing.assert_allclose(made(x, 30).numpy(), model.run(x.numpy())["logits"], atol=2e-5, rtol=2e-5)
    again = LMUNetwork(3, (spec,), 2, batch_norm=True)
    again.start_from(model, x)
    assert again.to_float_model().layers[0].memories[0].theta == pytest.approx(model.layers[0].memories[0].theta)


def test_learnt_windows_change_nothing_before_training() -> None:
    fixed, learnt, x = network(), network(learn_theta=True), frames(4)
    with torch.no_grad():
        np.testing.assert_allclose(learnt(x, 31).numpy(), fixed(x, 31).numpy(), atol=1e-6, rtol=1e-6)
    before, after = fixed.to_float_model(), learnt.to_float_model()
    assert [layer.memories for layer in before.layers[:-1]] == [layer.memories for layer in after.layers[:-1]]
    learnt.quantize(QuantizationScheme())
    learnt.calibrate(x)
    learnt(x, 4).square().mean().backward()
    assert all(block.windows.growth.grad is None for block in learnt.hidden_blocks())


@pytest.mark.parametrize(
    ("recipe", "one", "own"),
    [("kws49", (900, 59_200, 1082), (7200, 79_360, 1271)), ("kws361", (2160, 318_688, 5441), (34_560, 383_488, 5981))],
)
def test_windows_of_their_own_cost_what_the_docs_say(recipe: str, one: tuple[int, ...], own: tuple[int, ...]) -> None:
    """Bits of the discrete matrices, bits of the weight memories, and cycles of a frame at 16 lanes."""
    x = np.random.default_rng(0).standard_normal((2, 49, 40))
    for each, expected in ((False, one), (True, own)):
        layers = [
            dataclasses.replace(
                layer, thetas=tuple(layer.thetas[0] + 0.1 * k for k in range(layer.memories if each else 1))
            )
            for layer in TrainConfig.from_recipe(recipe, "", "").layers
        ]
        model = quantize_model(LMUNetwork(40, tuple(layers), 10, batch_norm=False).to_float_model(), x).model
        matrices = sum(
            sum(a.size for a in layer.a) * layer.a_format.width + sum(b.size for b in layer.b) * layer.b_format.width
            for layer in model.layers[:-1]
        )
        plan = make_plan(model, AcceleratorConfig(lanes=16))
        stored = sum(memory.depth * memory.width for memory in plan.weight_memories)
        assert (matrices, stored, plan.cycles_per_frame) == expected


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"stride": 0}], "^layer stride must be at least 1, not 0$"),
        ([{"stride": True}], "^layer stride must be an integer, not True$"),
        ([{"stride": 2000}], "^layer stride must be in 1 to 1024, not 2000$"),
        ([{"stride": 1024}, {"stride": 8}], "^the strides multiplied must be at most 4096, not 8192$"),
        ([{"learn_theta": 1}], "^layer learn_theta must be true or false, not 1$"),
    ],
)
def test_layers_are_checked(layers: list[dict[str, object]], message: str) -> None:
    wrong_type = any(expected in message for expected in ("an integer", "true or false", "a list of objects"))
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        TrainConfig.from_dict({"layers": layers})


def test_loss_spans_the_same_time_with_strides() -> None:
    outputs = [
        TrainConfig.from_dict({"layers": [{"stride": a}, {"stride": b}]}).loss_outputs
        for a, b in ((1, 1), (2, 1), (2, 2), (2, 4))
    ]
    assert outputs == [4, 2, 1, 1]
