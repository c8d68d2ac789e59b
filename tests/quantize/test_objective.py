"""The loss: balanced logits, words, a teacher's outputs, and few activations and weights."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from lmu_quantize import zoo
from lmu_quantize.dataset import KEYWORD_LABELS
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.train.batches import Batches
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import TrainingSet
from lmu_quantize.train.frame_augment import FrameAugmentConfig
from lmu_quantize.train.network import LayerSpec, LMUNetwork
from lmu_quantize.train.objective import Objective, label_offset, word_offset
from lmu_quantize.train.regularisation import activity_loss, density, weight_loss, zero_fractions
from lmu_quantize.train.teacher import Teacher, TeacherConfig

LABELS = ("yes", "no", "unknown", "silence")
WORDS = ("yes", "no", "bird", "cat", "_silence_")


def training_set() -> TrainingSet:
    """40 clips of yes, 20 of no, 24 and 6 of other words, 10 of silence."""
    word_of = np.repeat(np.arange(5), (40, 20, 24, 6, 10))
    label_of_word = np.array([0, 1, 2, 2, 3])
    labels = label_of_word[word_of]
    weights = np.where(labels == 2, np.array([1, 1, 24**-0.5, 6**-0.5, 1])[word_of], 0.0)
    frames = np.random.default_rng(2).standard_normal((2, 100, 49, 40)).astype(np.float16)
    front_end = FrontEnd("log-mel").with_normalisation(np.zeros(40), np.ones(40))
    return TrainingSet(frames, labels, weights, WORDS, word_of, label_of_word, front_end, "key")


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict({"labels": LABELS, "batch": 16, "unknown_ratio": 0.5} | changes)


def test_epoch_has_all_clips_but_of_unknown_as_many_as_asked() -> None:
    batches = Batches(config(batch=17), training_set())
    drawn = list(batches.epoch(np.random.default_rng(0)))
    clips = np.concatenate([clips for _, clips in drawn])
    assert (batches.count, batches.clips) == (5, 85)
    assert [len(frames) for frames, _ in drawn] == [17] * 5
    counts = np.bincount(training_set().labels[clips], minlength=4)
    assert counts.tolist() == [40, 20, 15, 10]
    assert len(set(clips.tolist())) == 85


@pytest.mark.parametrize(("rarity", "repeats", "ratio"), [(1.0, 1, 1.0), (0.0, 3, 1.0), (0.5, 3, 1.8), (1.0, 3, 2.8)])
def test_clips_of_rare_words_may_be_drawn_more_often(rarity: float, repeats: int, ratio: float) -> None:
    training = training_set()
    settings = {"unknown_ratio": 1.0, "unknown_rarity": rarity, "unknown_repeats": repeats, "batch": 100}
    batches = Batches(config(**settings), training)
    wanted = 30
    counts = np.zeros(100)
    for seed in range(300):
        drawn = np.bincount(np.concatenate([clips for _, clips in batches.epoch(np.random.default_rng(seed))]))
        assert drawn[60:90].max() <= repeats
        assert drawn[60:90].sum() == wanted
        counts[: len(drawn)] += drawn / 300
    assert counts[84:90].mean() / counts[60:84].mean() == pytest.approx(ratio, rel=0.1)


def test_frames_of_other_clips_come_first() -> None:
    training = training_set()
    places = {row.tobytes(): place for place, row in enumerate(training.frames.astype(np.float32).reshape(-1, 40))}
    plain = next(Batches(config(), training).epoch(np.random.default_rng(1)))
    found = list(Batches(config(lead_frames=60), training).epoch(np.random.default_rng(1)))
    np.testing.assert_array_equal(found[0][0][:, 60:].numpy(), plain[0].numpy())
    np.testing.assert_array_equal(found[0][1], plain[1])
    cuts = set()
    for frames, _ in found:
        assert frames.shape == (16, 109, 40)
        rows = np.array([places[row.tobytes()] for row in frames[:, :60].numpy().reshape(-1, 40)]).reshape(16, 60)
        (cut,) = set((rows[:, 0] % 49).tolist())
        np.testing.assert_array_equal(rows % 49, np.broadcast_to((np.arange(60) + cut) % 49, rows.shape))
        assert ((np.diff(rows) == 1) | (rows[:, 1:] % 49 == 0)).all()
        assert len(np.unique(rows[:, 0] // 49)) > 8
        cuts.add(cut)
    assert len(cuts) > 2


def test_the_stream_recipe_starts_from_a_shipped_network() -> None:
    recipe, own = (TrainConfig.from_recipe(name, "data", "out") for name in ("kws105-stream", "kws105"))
    changed = ("name", "init", "lead_frames", "epochs", "quantized_epochs", "learning_rate", "quantized_learning_rate")
    assert dataclasses.replace(recipe, **{name: getattr(own, name) for name in changed}) == own
    assert (recipe.init, recipe.lead_frames) == ("kws105", 50)
    parent = load_float(zoo.path(recipe.init, "float-parent.safetensors"))
    LMUNetwork(40, recipe.layers, len(recipe.labels)).start_from(parent, torch.randn(4, 49, 40))


def test_frequencies_are_about_those_of_many_epochs() -> None:
    batches = Batches(config(batch=17), training_set())
    counts = np.zeros(100)
    for seed in range(150):
        for _, clips in batches.epoch(np.random.default_rng(seed)):
            counts[clips] += 1 / 150
    words = [counts[training_set().word_of == word].sum() for word in range(5)]
    expected = [batches.frequencies()[training_set().word_of == word].sum() for word in range(5)]
    np.testing.assert_allclose(words, expected, rtol=0.2)


def test_offsets_are_the_frequencies_over_equal_ones() -> None:
    batches = Batches(config(), training_set())
    np.testing.assert_allclose(np.exp(label_offset(batches).numpy()), 4 * np.array([40, 20, 15, 10]) / 85, rtol=1e-5)
    shares = np.exp(word_offset(batches).numpy()) * np.array([1, 1, 0.5, 0.5, 1]) / 4
    assert shares.sum() == pytest.approx(1, rel=1e-5)
    assert shares[2] / shares[3] == pytest.approx(2, rel=1e-5)


def test_loss_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(4)
    batches = Batches(config(), training_set())
    head = torch.nn.Linear(6, 5)
    logits, hidden, clips = torch.randn(16, 3, 4), torch.randn(16, 3, 6), np.arange(10, 90, 5)
    targets, said = (torch.from_numpy(each[clips]) for each in (training_set().labels, training_set().word_of))

    def mean(values: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        frames = [functional.cross_entropy(values[:, frame], wanted, label_smoothing=0.05) for frame in range(3)]
        return torch.stack(frames).mean()

    plain = Objective(config(), batches, None, None)(logits, hidden, torch.zeros(16, 49, 40), clips)
    torch.testing.assert_close(plain, mean(logits, targets))
    both = Objective(config(balanced=True, word_weight=0.3), batches, None, head)(logits, hidden, plain, clips)
    offsets = label_offset(batches), word_offset(batches)
    torch.testing.assert_close(both, mean(logits + offsets[0], targets) + 0.3 * mean(head(hidden) + offsets[1], said))


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    parent = load_float(zoo.path("kws361", "float-parent.safetensors"))
    own = FrontEnd.from_dict(parent.front_end)
    teacher = Teacher(TeacherConfig("kws361", 1.0), KEYWORD_LABELS, own)
    frames = torch.randn(4, 49, 40)
    expected = parent.run(frames.numpy())["logits"][:, -2:]
    np.testing.assert_allclose(teacher(frames, 2).numpy(), expected, atol=2e-5)
    offset, scale = torch.tensor(own.offset), torch.tensor(own.scale)
    unlike = own.with_normalisation(np.full(40, -3.0), np.full(40, 2.0))
    other = Teacher(TeacherConfig("kws361"), KEYWORD_LABELS, unlike)
    renormalised = (frames / scale + offset + 3) / 2
    np.testing.assert_allclose(other(renormalised, 2).numpy(), expected, atol=2e-3)
    training = dataclasses.replace(training_set(), front_end=own)
    settings = {"labels": KEYWORD_LABELS, "teacher": {"model": "kws361", "weight": 1.0}}
    objective = Objective(config(**settings), Batches(config(), training), teacher, None)
    network = LMUNetwork.from_float(parent)
    loss = objective(network(frames, 2), torch.zeros(4, 2, 6), frames, np.arange(4))
    assert abs(float(loss.detach())) < 1e-5
    late = Objective(config(**settings, lead_frames=7), Batches(config(), training), teacher, None)
    following = torch.cat([torch.randn(4, 7, 40), frames], 1)
    assert abs(float(late(network(frames, 2).detach(), torch.zeros(4, 2, 6), following, np.arange(4)))) < 1e-5


def test_a_float_file_teaches_as_the_shipped_network_does() -> None:
    file = zoo.path("kws361", "float-parent.safetensors")
    own = FrontEnd.from_dict(load_float(file).front_end or {})
    frames = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 49, 40)).astype(np.float32))
    by_name, by_file = (Teacher(TeacherConfig(model), KEYWORD_LABELS, own) for model in ("kws361", str(file)))
    assert torch.equal(by_name(frames, 2), by_file(frames, 2))


def test_teacher_gives_its_outputs_where_the_student_has_some() -> None:
    parent = load_float(zoo.path("kws361", "float-parent.safetensors"))
    own, frames = FrontEnd.from_dict(parent.front_end), torch.randn(2, 49, 40)
    expected = parent.run(frames.numpy())["logits"]
    for period, last in ((2, [43, 45, 47]), (4, [39, 43, 47]), (3, [41, 44, 47])):
        teacher = Teacher(TeacherConfig("kws361"), KEYWORD_LABELS, own, period)
        np.testing.assert_allclose(teacher(frames, 3).numpy(), expected[:, last], atol=2e-5)
    strided = dataclasses.replace(parent.layers[0], stride=2)
    strided = dataclasses.replace(parent, layers=(strided, *parent.layers[1:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmu_quantize.train.teacher.load_float", lambda path: strided)
        teacher = Teacher(TeacherConfig("kws361"), KEYWORD_LABELS, own, 4)
        expected = strided.run(frames.numpy())["logits"][:, [21, 23]]
        np.testing.assert_allclose(teacher(frames, 2).numpy(), expected, atol=2e-5)
        message = r"^teacher 'kws361' has an output every 2 frames, the student every 3$"
        with pytest.raises(ValueError, match=message):
            Teacher(TeacherConfig("kws361"), KEYWORD_LABELS, own, 3)


def test_words_that_a_teacher_does_not_know_are_its_unknown() -> None:
    own = FrontEnd.from_dict(load_float(zoo.path("kws361", "float-parent.safetensors")).front_end)
    labels = ("on", *KEYWORD_LABELS[:8], "off", "silence", "unknown")
    teacher = Teacher(TeacherConfig("kws361"), labels, own)
    logits = torch.randn(3, 2, 12, requires_grad=True)
    found = functional.softmax(teacher.merged(logits), -1)
    shares = functional.softmax(logits, -1)
    unknown = shares[..., [0, 9, 11]].sum(-1, keepdim=True)
    torch.testing.assert_close(found, torch.cat([shares[..., 1:9], unknown, shares[..., 10:11]], -1))
    found.square().sum().backward()
    assert torch.isfinite(logits.grad).all()
    settings = {"labels": labels, "teacher": {"model": "kws361", "weight": 1.0, "temperature": 3.0}}
    objective = Objective(config(**settings), Batches(config(), training_set()), teacher, None)
    frames, hot = torch.randn(3, 49, 40), []
    for each in (teacher.merged(logits.detach() / 3), teacher(frames, 2) / 3):
        hot.append(functional.log_softmax(each, -1))
    expected = 9 * (hot[1].exp() * (hot[1] - hot[0])).sum(-1).mean()
    torch.testing.assert_close(objective(logits.detach(), torch.zeros(3, 2, 6), frames, np.arange(3)), expected)


def test_the_recipe_of_twelve_labels_is_that_of_ten() -> None:
    ten, twelve = (TrainConfig.from_recipe(name, "", "") for name in ("kws361-tuned", "kws361-12"))
    assert dataclasses.replace(twelve, name=ten.name, labels=ten.labels) == ten
    assert sorted(twelve.labels) == sorted([*KEYWORD_LABELS, "on", "off"])


def test_density_is_one_of_equal_magnitudes_and_falls_with_zeros() -> None:
    rows = torch.tensor([[2.0, -2, 2, 2], [0, 0, 0, 3], [0, 1, 0, -1]])
    np.testing.assert_allclose(density(rows).numpy(), [1, 0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(density(100 * rows).numpy(), density(rows).numpy(), atol=1e-6)
    assert float(density(torch.zeros(3))) == 0
    trace = {"layer0.u": torch.ones(2, 3), "layer0.h": rows[None], "layer1.h": torch.ones(1, 2, 2)}
    assert float(activity_loss(trace)) == pytest.approx((float(density(rows.flatten())) + 1) / 2)
    assert float(weight_loss([rows, torch.ones(3)])) == pytest.approx(float(density(rows).mean()))
    assert zero_fractions(trace) == {"layer0.h": 5 / 12, "layer1.h": 0.0}


def test_loss_of_activations_and_weights_makes_zeros() -> None:
    torch.manual_seed(5)
    batches = Batches(config(), training_set())
    network = LMUNetwork(40, (LayerSpec(units=16, memories=4, order=4, thetas=(20,)),), 4, batch_norm=False)
    frames, clips = torch.randn(16, 49, 40), np.arange(10, 90, 5)

    def loss(**changes: object) -> tuple[torch.Tensor, float]:
        objective = Objective(config(**changes), batches, None, None)
        trace: dict[str, torch.Tensor] | None = {} if objective.traced else None
        hidden = network.hidden(frames, 4, trace)
        value = objective(network.logits(hidden), hidden, frames, clips, trace, network.parameters())
        return value, float((hidden == 0).float().mean())

    plain, few = loss()
    matrices = [matrix for matrix in network.parameters() if matrix.ndim == 2]
    both, _ = loss(activity_density=0.5, weight_density=0.25)
    hidden = network.hidden(frames, 4)
    rows = torch.stack([density(matrix).mean() for matrix in matrices])
    torch.testing.assert_close(both, plain + 0.5 * density(hidden.flatten()) + 0.25 * rows.mean())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        loss(activity_density=3.0)[0].backward()
        optimizer.step()
    assert loss()[1] > few + 0.2


def test_teacher_must_know_the_labels_and_features() -> None:
    own = FrontEnd.from_dict(load_float(zoo.path("kws361", "float-parent.safetensors")).front_end)
    for labels in (LABELS, (*LABELS, "on"), (*KEYWORD_LABELS[1:], "yes")):
        with pytest.raises(ValueError, match=r"^teacher 'kws361' has the labels yes, no, "):
            Teacher(TeacherConfig("kws361"), labels, own)
    with pytest.raises(ValueError, match=r"^teacher 'kws361' has another front end$"):
        Teacher(TeacherConfig("kws361"), KEYWORD_LABELS, FrontEnd("log-mel", n_mels=20))


def test_noise_for_frames_comes_from_the_clips_of_silence() -> None:
    silent = dataclasses.replace(training_set(), words=("yes", "no", "bird", "cat", "dog"))
    batches = Batches(config(frame_augment=FrameAugmentConfig().to_dict()), silent)
    with pytest.raises(ValueError, match=r"^frame_augment adds noise from the clips of silence: give a label and "):
        next(batches.epoch(np.random.default_rng(0)))


def test_frames_of_an_epoch_are_drawn_anew() -> None:
    batches = Batches(config(frame_augment=FrameAugmentConfig().to_dict()), training_set())
    first, again, other = (next(batches.epoch(np.random.default_rng(seed)))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert first.dtype == torch.float32
    assert not torch.equal(first, other)
