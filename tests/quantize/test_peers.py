"""Networks of other kinds: their equations are PyTorch's, they see no future, and they train as ours do."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lmu_quantize.train import EpochResult, TrainConfig, train
from lmu_quantize.train.peers import CausalConvolution, PeerNetwork, PeerSpec, RecurrentLayer
from lmu_quantize.train.quantizers import QuantizationScheme

SPECS = (PeerSpec("gru", 12), PeerSpec("lstm", 9, 3), PeerSpec("ds-cnn", 10, 3, 4))
NAMES = [spec.kind for spec in SPECS]
RECIPES = {"lmu361": 361, "lmu105": 105}


def network(spec: PeerSpec, seed: int = 0) -> PeerNetwork:
    torch.manual_seed(seed)
    made = PeerNetwork(7, spec, 5)
    for layer in made.layers:
        if isinstance(layer, CausalConvolution):
            layer.norm.running_mean.normal_()
            layer.norm.running_var.uniform_(0.5, 2.0)
            torch.nn.init.normal_(layer.norm.bias)
    return made.eval()


def frames(seed: int, batch: int = 4, length: int = 23) -> torch.Tensor:
    return torch.randn(batch, length, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "kernel"), [("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)])
def test_recurrent_layers_are_those_of_the_library(kind: str, kernel: type[torch.nn.RNNBase]):
    torch.manual_seed(1)
    layer, library = RecurrentLayer(kind, 7, 12), kernel(7, 12, batch_first=True)
    library.load_state_dict(layer.cell.state_dict())
    x = frames(2)
    states, cells = layer.steps(x)
    expected, final = library(x)
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(cells[:, -1], final[1][0] if kind == "lstm" else expected[:, -1])


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_are_those_of_the_library(depthwise: bool):
    torch.manual_seed(3)
    layer = CausalConvolution(7, 7, kernel=4, dilation=3, depthwise=depthwise, batch_norm=False)
    torch.nn.init.normal_(layer.bias)
    x = frames(4)
    weight = layer.weight.view(7, 4, -1).transpose(1, 2)
    padded = functional.pad(x.transpose(1, 2), (9, 0))
    expected = functional.conv1d(padded, weight, layer.bias, dilation=3, groups=7 if depthwise else 1)
    torch.testing.assert_close(layer(x), functional.relu(expected).transpose(1, 2))


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@pytest.mark.parametrize("quantized", [False, True])
def test_no_frame_depends_on_later_ones(spec: PeerSpec, quantized: bool):
    made, x = network(spec), frames(5)
    if quantized:
        made.quantize(QuantizationScheme())
        made.calibrate(x)
    with torch.no_grad():
        whole, part = made(x, x.shape[1]), made(x[:, :15], 15)
        torch.testing.assert_close(whole[:, :15], part)
        assert not torch.allclose(whole[:, 15:], part[:, :8])
        torch.testing.assert_close(made(x, 3), whole[:, -3:])


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_quantized_networks_lie_on_their_grids(spec: PeerSpec):
    made, x = network(spec), frames(6, 30)
    made.quantize(QuantizationScheme())
    made.calibrate(x)
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        made(x, 1, trace)
    assert len(trace) == len(made.layers)
    for index, layer in enumerate(made.layers):
        fmt = layer.h_quantizer.format
        assert (fmt.width, fmt.signed) == (7, spec.kind != "ds-cnn")
        integers = np.ldexp(trace[f"layer{index}.h"].numpy().astype(np.float64), fmt.frac)
        np.testing.assert_array_equal(integers, np.round(integers))
        quantizers = layer.quantizers.values() if isinstance(layer, RecurrentLayer) else [layer.quantizer]
        for quantizer, weight in zip(quantizers, layer.weights, strict=True):
            steps = np.ldexp(quantizer(weight).detach().numpy().astype(np.float64), quantizer.frac.numpy()[:, None])
            np.testing.assert_array_equal(steps, np.round(steps))
            assert np.abs(steps).max() <= 7
    made.train()
    made(x, 4).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in made.parameters())


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_with_many_bits_quantization_changes_next_to_nothing(spec: PeerSpec):
    made, x = network(spec), frames(6, 30)
    with torch.no_grad():
        floats = made(x, x.shape[1])
        made.quantize(QuantizationScheme(weight_bits=16, input_bits=16, hidden_bits=16))
        made.calibrate(x)
        quantized = made(x, x.shape[1])
    assert 0 < float((quantized - floats).abs().max()) < 0.01 * float(floats.std())


def test_cells_of_an_lstm_have_the_bits_of_a_memory():
    layer = RecurrentLayer("lstm", 7, 9)
    layer.quantize(QuantizationScheme())
    layer.calibrate(frames(7))
    cells = layer.steps(frames(7))[1].detach().numpy().astype(np.float64)
    steps = np.ldexp(cells, layer.c_quantizer.format.frac)
    np.testing.assert_array_equal(steps, np.round(steps))
    assert layer.c_quantizer.format.width == 12
    assert np.abs(steps).max() > 500


def test_calibration_asks_for_quantization():
    with pytest.raises(ValueError, match=r"^quantize the network before its scales are calibrated$"):
        network(SPECS[0]).calibrate(frames(0))


def test_sizes_count_every_weight():
    gru = network(PeerSpec("gru", 12)).size(4)
    weights = 3 * 12 * (7 + 12) + 3 * 12 * 24 + 5 * 12
    assert gru == {
        "parameters": weights + 2 * 4 * 12 + 5,
        "weight_bits": 4 * weights,
        "storage_bits": 4 * weights + 16 * (2 * 4 * 12 + 5),
        "multiplications": weights + 2 * 3 * 12,
        "equivalent_products": (4 * (8 * 3 * 12 * 7 + 7 * (weights - 3 * 12 * 7)) + 49 * 2 * 3 * 12) / 28,
        "fetched_bits": 4 * weights,
    }
    cnn = network(PeerSpec("ds-cnn", 10, 3, 4)).size(4)
    weights = 3 * 7 * 10 + 3 * (4 * 10 + 100) + 50
    assert (cnn["weight_bits"], cnn["multiplications"]) == (4 * weights, weights)
    assert cnn["parameters"] == weights + 7 * 10 + 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rnn"}, r"^network kind must be one of gru, lstm, ds-cnn, not 'rnn'$"),
        ({"units": 0}, r"^network units must be at least 1, not 0$"),
        ({"depth": 1.5}, r"^network depth must be an integer, not 1\.5$"),
        ({"kernel": True}, r"^network kernel must be an integer, not True$"),
    ],
)
def test_shapes_are_checked(values: dict[str, object], message: str):
    wrong_type = any(expected in message for expected in ("an integer", "true or false", "a list of objects"))
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        PeerSpec(**({"kind": "gru", "units": 8} | values))


@pytest.mark.parametrize(
    "values",
    [{"scheme": {"exact": True}}, {"init": "kws361"}, {"layers": [{"stride": 2}]}, {"pruning": {"fraction": 0.5}}],
)
def test_what_only_our_networks_have_is_refused(values: dict[str, object]):
    with pytest.raises(ValueError, match=r"^a gru network has no exact scheme, init, pruning or strides of layers$"):
        TrainConfig.from_dict({"network": {"kind": "gru", "units": 8}} | values)


@pytest.mark.parametrize("base", RECIPES)
@pytest.mark.parametrize("kind", ["gru", "lstm", "dscnn"])
def test_peers_have_the_recipe_of_our_network_of_their_size(kind: str, base: str):
    ours = TrainConfig.from_recipe(base, "", "").to_dict()
    config = TrainConfig.from_recipe(f"{kind}{RECIPES[base]}", "", "")
    theirs = config.to_dict()
    differing = {key for key in ours if ours[key] != theirs[key]}
    assert differing == {"name", "network", "layers", "scheme"}
    assert ours["scheme"] | {"exact": False} == theirs["scheme"]
    made = PeerNetwork(40, config.network, len(config.labels))
    assert 0.95 * 1000 * RECIPES[base] < made.size(4)["storage_bits"] <= 1000 * RECIPES[base]


@pytest.mark.parametrize(("short", "long"), [("lmu361", "kws361-tuned"), ("lmu105", "kws105")])
def test_ours_beside_the_peers_is_the_network_of_the_zoo(short: str, long: str):
    ours, zoo = (TrainConfig.from_recipe(name, "", "").to_dict() for name in (short, long))
    differing = {key for key in ours if ours[key] != zoo[key]}
    assert differing <= {"name", "teacher", "epochs", "quantized_epochs", "quantized_learning_rate", "threads"}


class Stop(Exception):
    """Raised to end a run after an epoch."""


def config(data: Path, out: Path, spec: PeerSpec) -> TrainConfig:
    return TrainConfig(
        data=str(data), out=str(out), labels=("yes", "no", "unknown", "silence"), network=spec, copies=1, batch=16,
        unknown_ratio=1.0, balanced=True, word_weight=0.2, epochs=2, quantized_epochs=2, learning_rate=0.01, threads=1,
    )  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_peers_are_trained_resumed_and_scored(spec: PeerSpec, tones: Path, tmp_path: Path):
    frames_of_all = tones / "cache"
    whole = train(config(tones, tmp_path / "whole", spec), cache=frames_of_all)

    def stop(result: EpochResult) -> None:
        if result.epoch == 2:
            raise Stop

    parts = config(tones, tmp_path / "parts", spec)
    with pytest.raises(Stop):
        train(parts, cache=frames_of_all, on_epoch=stop)
    again = train(parts, cache=frames_of_all)
    assert whole.model is whole.parent is again.model is None
    for key, score in whole.scores.items():
        assert score.to_dict() == again.scores[key].to_dict()
    assert [row.loss for row in whole.history] == [row.loss for row in again.history]
    assert whole.history[1].loss < whole.history[0].loss
    result = json.loads((tmp_path / "parts" / "result.json").read_text())
    expected = PeerNetwork(40, spec, 4).size(4)
    assert {key: result[key] for key in expected} == expected
    assert set(result["scores"]) == {"float.validation", "quantized.validation"}
    assert result["recipe"]["network"]["kind"] == spec.kind
    assert set(result["unknown_offset"]) == {"float", "quantized"}
    written = {path.name for path in (tmp_path / "parts").iterdir()}
    assert written == {"checkpoint.pt", "config.json", "result.json", "train.csv"}


def milliseconds(step: Callable[[], object]) -> float:
    """Least time of the processor that a step takes, of three."""
    step()
    times = []
    for _ in range(3):
        start = time.process_time()
        step()
        times.append(1000 * (time.process_time() - start))
    return min(times)


@pytest.mark.slow
def test_a_step_of_training_is_measured():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.randn(128, 49, 40)
    for recipe in ("gru361", "lstm361", "dscnn361", "gru105", "lstm105", "dscnn105"):
        config = TrainConfig.from_recipe(recipe, "", "")
        made = PeerNetwork(40, config.network, 10)

        def step(made: PeerNetwork = made) -> None:
            made.zero_grad()
            made(x, 4).square().mean().backward()

        floats = milliseconds(step)
        made.quantize(config.scheme)
        made.calibrate(x)
        print(f"{recipe}: {floats:.0f} ms, quantized {milliseconds(step):.0f} ms")
    layer = CausalConvolution(128, 128, 5, 2, depthwise=True, batch_norm=False)
    x = torch.randn(128, 49, 128, requires_grad=True)

    def library() -> None:
        padded = functional.pad(x.transpose(1, 2), (8, 0))
        functional.conv1d(padded, layer.weight[:, None], layer.bias, dilation=2, groups=128).square().mean().backward()

    times = milliseconds(lambda: layer(x).square().mean().backward()), milliseconds(library)
    torch.set_num_threads(threads)
    print(f"depthwise convolution of 128 channels: {times[0]:.0f} ms, PyTorch's own {times[1]:.0f} ms")
    assert times[0] < times[1]
