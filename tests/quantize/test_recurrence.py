"""Layers with feedback: the float network is its equations, the exact one the golden model, and both learn."""

import dataclasses
import time

import numpy as np
import pytest
import torch

from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.golden import Golden
from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.frames_file import load_frames
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.exact_operations import ExactNarrow, NarrowedSum, RoundedMemory, RoundedUpdate, memory_groups
from lmu_quantize.train.network import LayerSpec, LMUNetwork
from lmu_quantize.train.quantizers import QuantizationScheme

FEEDBACK = {"hidden_feedback": True, "memory_feedback": True, "hidden_weights": True}
LAYERS = (
    LayerSpec(units=12, memories=4, order=6, thetas=(10, 24)),
    LayerSpec(units=8, memories=3, order=4, thetas=(15,), input_weights=False),
    LayerSpec(units=16, memories=2, order=5, thetas=(60,), discretizer="euler"),
)


def network(
    feedback: tuple[str, ...], strides: tuple[int, ...] = (1, 1, 1), inputs: int = 7, **changes: object
) -> LMUNetwork:
    """A network with random feedback, weak enough to stay bounded."""
    torch.manual_seed(0)
    fed_back = changes | dict.fromkeys(feedback, True)
    layers = tuple(
        dataclasses.replace(layer, stride=stride, **fed_back) for layer, stride in zip(LAYERS, strides, strict=True)
    )
    made = LMUNetwork(inputs, layers, 5)
    for block in made.hidden_blocks():
        torch.nn.init.normal_(block.b_h, std=0.3)
        for weight in (block.e_h, block.e_m, block.w_h):
            if weight is not None:
                torch.nn.init.normal_(weight, std=0.3 * weight.shape[1] ** -0.5)
    return made.eval()


def frames(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((4, 31, 7)).astype(np.float32))


def speech(clips: int) -> torch.Tensor:
    """Frames of real clips."""
    every = load_frames(zoo.path("kws361", "test.safetensors")).real()
    return torch.from_numpy(every[:: len(every) // clips][:clips].astype(np.float32))


@pytest.mark.parametrize(
    ("feedback", "strides"),
    [
        (("hidden_feedback",), (1, 1, 1)),
        (("memory_feedback",), (1, 1, 1)),
        (("hidden_weights",), (1, 1, 1)),
        (tuple(FEEDBACK), (1, 1, 1)),
        (tuple(FEEDBACK), (2, 1, 3)),
    ],
)
@pytest.mark.parametrize("learn_theta", [False, True])
def test_network_with_feedback_equals_its_equations(
    feedback: tuple[str, ...], strides: tuple[int, ...], learn_theta: bool
) -> None:
    made, x = network(feedback, strides, learn_theta=learn_theta), frames(1)
    count, trace = 31 // made.period, {}
    with torch.no_grad():
        everything, last = made(x, count, trace).numpy(), made(x, 2).numpy()
    model = made.to_float_model(tuple("abcde"))
    out = model.run(x.numpy())
    np.testing.assert_allclose(everything, out["logits"], atol=3e-5, rtol=3e-5)
    np.testing.assert_array_equal(last, everything[:, -2:])
    for layer, stride in enumerate(strides):
        expected = {name: out[f"layer{layer}.{name}"] for name in ("u", "m", "h")}
        expected["m"] = expected["m"][:, stride - 1 :: stride]
        for name, values in expected.items():
            np.testing.assert_allclose(trace[f"layer{layer}.{name}"].numpy(), values, atol=3e-5, rtol=3e-5)
    again = LMUNetwork.from_float(model)
    with torch.no_grad():
        np.testing.assert_allclose(again(x, count).numpy(), everything, atol=3e-5, rtol=3e-5)


def test_training_starts_with_the_feed_forward_network() -> None:
    x = frames(2)
    torch.manual_seed(0)
    plain = LMUNetwork(7, LAYERS, 5, batch_norm=False)
    torch.manual_seed(0)
    made = LMUNetwork(7, tuple(dataclasses.replace(layer, **FEEDBACK) for layer in LAYERS), 5)
    assert all(block.norm is None for block in made.hidden_blocks())
    with torch.no_grad():
        np.testing.assert_allclose(made(x, 31).numpy(), plain(x, 31).numpy(), atol=1e-5, rtol=1e-5)
    made(x, 4).square().mean().backward()
    for block in made.hidden_blocks():
        assert all(float(weight.grad.abs().max()) > 0 for weight in (block.e_h, block.e_m, block.w_h))


def test_fake_quantized_feedback_follows_the_floats() -> None:
    made, x = network(tuple(FEEDBACK), (1, 2, 1)), frames(3)
    expected = made.to_float_model().run(x.numpy())["logits"]
    made.quantize(QuantizationScheme(weight_bits=12, u_bits=16, hidden_bits=16, input_bits=16))
    made.calibrate(x)
    with torch.no_grad():
        np.testing.assert_allclose(made(x, 15).numpy(), expected, atol=0.05, rtol=0.05)
    fracs = made.formats()["layers"][0]["weights"]
    for names in (("e_x", "e_h", "e_m"), ("w_x", "w_h", "w_m")):
        for name in names[1:]:
            assert np.unique(np.subtract(fracs[name]["frac"], fracs[names[0]]["frac"])).size == 1


@pytest.mark.parametrize(
    ("feedback", "strides"),
    [
        (("hidden_feedback",), (1, 1, 1)),
        (("memory_feedback",), (2, 1, 1)),
        (("hidden_weights",), (1, 1, 1)),
        (tuple(FEEDBACK), (1, 4, 1)),
    ],
)
def test_exact_feedback_is_the_golden_model_on_real_clips(
    feedback: tuple[str, ...], strides: tuple[int, ...]
) -> None:
    made, x = network(feedback, strides, inputs=40), speech(3)
    exact = ExactNetwork(quantize_model(made.to_float_model(tuple("abcde")), x.numpy()), x.shape[1])
    exact.calibrate_weights(x)
    first = compare(exact, x)
    optimizer = torch.optim.Adam(exact.parameters(), lr=0.03)
    exact(x, 2).square().mean().backward()
    optimizer.step()
    exact.calibrate_weights()
    trained = compare(exact, x)
    name = {"hidden_feedback": "e_h", "memory_feedback": "e_m", "hidden_weights": "w_h"}[feedback[0]]
    assert (trained.layers[0].weights[name].values != first.layers[0].weights[name].values).any()


def compare(exact: ExactNetwork, x: torch.Tensor) -> object:
    """Every element of every vector, in training and in the golden model of the export; the export."""
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        logits = exact(x, x.shape[1] // exact.period, trace)
    model = exact.to_quantized()
    golden = Golden(model).run(model.input.quantize(x.numpy()))
    for index, layer in enumerate(model.layers[:-1]):
        for name in ("u", "m", "h"):
            found = np.ldexp(trace[f"layer{index}.{name}"].numpy().astype(np.float64), getattr(layer, name).format.frac)
            expected = golden[f"layer{index}.{name}"]
            expected = expected[:, layer.stride - 1 :: layer.stride] if name == "m" else expected
            np.testing.assert_array_equal(found, expected, err_msg=f"layer{index}.{name}")
    frac = model.layers[-1].output.format.frac
    np.testing.assert_array_equal(np.ldexp(logits.numpy().astype(np.float64), frac), golden["logits"])
    return model


def test_updates_are_the_rounded_memory_and_its_gradient() -> None:
    """Frame by frame or all at once: the same states, and the same gradient of u."""
    made, x = network(("hidden_feedback",)), frames(4)
    layer = quantize_model(made.to_float_model(tuple("abcde")), x.numpy()).model.layers[0]
    u = (torch.randint(-128, 128, (3, 31, 4)) * layer.u.format.lsb).requires_grad_()
    wanted, first, found = torch.randn(3, 31, 24), 0, {"whole": [], "steps": []}
    for group in memory_groups(layer, layer.u.format, 31):
        part, size = u[..., first : first + group.count], group.count * 6
        toeplitz = group.toeplitz(31, range(31))
        found["whole"].append(RoundedMemory.apply(part, group, toeplitz, range(31)))
        states = [torch.zeros(3, size)]
        for now in range(31):
            states.append(RoundedUpdate.apply(part[:, now], states[-1], group))
        found["steps"].append(torch.stack(states[1:], 1))
        first += group.count
    gradients = {}
    for way, parts in found.items():
        u.grad = None
        (torch.cat(parts, 2) * wanted).sum().backward()
        gradients[way] = u.grad.clone()
    for whole, steps in zip(found["whole"], found["steps"], strict=True):
        np.testing.assert_array_equal(whole.detach().numpy(), steps.detach().numpy())
    torch.testing.assert_close(gradients["steps"], gradients["whole"], atol=1e-3, rtol=1e-4)


def test_gradient_of_a_sum_reaches_a_bias_of_its_own_for_each_clip() -> None:
    x, w = torch.randn(6, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    bias, wanted = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    (NarrowedSum.apply(ExactNarrow(Quantizer(Format(16, 8))), bias, x, w) * wanted).sum().backward()
    got = [each.grad.clone() for each in (x, w, bias)]
    for each in (x, w, bias):
        each.grad = None
    ((x @ w.T + bias) * wanted).sum().backward()
    for each, gradient in zip((x, w, bias), got, strict=True):
        torch.testing.assert_close(gradient, each.grad)


@pytest.mark.slow
def test_a_step_with_feedback_costs_a_few_without(capsys: pytest.CaptureFixture[str]) -> None:
    plain = LayerSpec(units=112, memories=16, order=8, thetas=(24,))
    taken = {
        (kind, name): _seconds(network)
        for kind, spec in (("plain", plain), ("feedback", dataclasses.replace(plain, **FEEDBACK)))
        for name, network in _networks(spec).items()
    }
    with capsys.disabled():
        shown = ", ".join(f"{kind} {name} {1000 * seconds:.0f}" for (kind, name), seconds in taken.items())
        print(f"\nforward and backward, three layers of 112 units, 128 clips, one thread, ms: {shown}")
    for name in ("float", "exact"):
        assert taken["feedback", name] < 10 * taken["plain", name]


def _networks(spec: LayerSpec) -> dict[str, torch.nn.Module]:
    floats = LMUNetwork(40, (spec,) * 3, 5, batch_norm=False)
    exact = ExactNetwork(quantize_model(floats.to_float_model(tuple("abcde")), speech(2).numpy()), 49)
    return {"float": floats, "exact": exact}


def _seconds(network: torch.nn.Module) -> float:
    """Least time of a step on one thread."""
    x, times = torch.randn(128, 49, 40), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(5):
            began = time.thread_time()
            network(x, 4).square().mean().backward()
            times.append(time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return min(times)
