"""The search draws what its space holds, and orders trials by what they cost."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lmu_quantize.train.network import LayerSpec
from lmu_quantize.train.search import SEARCHES, Rung, SearchConfig, Trial, candidates, fronts, order, write_csv
from lmu_quantize.train.separable import SeparableSpec

SPACE = {
    "recipe": "kws49",
    "kbits": [10, 20],
    "changes": {"teacher": None},
    "layers": [
        {"units": [16, 24, 32], "memories": [4, 6], "order": [4, 6], "thetas": [[12], [8, 16]], "stride": [1, 2]},
    ],
    "choices": {"activity_density": [0, 0.2], "pruning": [None, {"fraction": 0.8}]},
    "rungs": [{"trials": 12, "epochs": 3, "quantized_epochs": 1}, {"trials": 4, "epochs": 6, "quantized_epochs": 2}],
}  # fmt: skip


def config(**changes: object) -> SearchConfig:
    return SearchConfig.from_json(json.dumps(SPACE | changes))


def trial(recall: float, kbits: float, multiplications: float = 0, weight_bits: float = 0, rung: int = 0) -> Trial:
    return Trial(0, rung, recall, recall, kbits, multiplications, weight_bits, 0.5, 1.0, {"layers": []})


def test_candidates_are_in_the_space_and_within_the_limits() -> None:
    drawn = candidates(config())
    assert len(drawn) == len({json.dumps(each) for each in drawn}) == 12
    assert drawn == candidates(config())
    assert drawn != candidates(config(seed=1))
    for candidate in drawn:
        (layer,) = candidate["layers"]
        assert all(layer[key] in values for key, values in SPACE["layers"][0].items())
        spec = LayerSpec(**layer)
        states = spec.memories * spec.order
        weights = 40 * spec.memories + spec.units * (states + 40) + 10 * spec.units
        assert 10 <= 4 * weights / 1000 <= 20
        training = config().training(candidate, Rung(3, 5, 2), Path("data"), Path("out"), 2)
        assert (training.layers, training.activity_density) == ((spec,), candidate["activity_density"])
        assert (training.teacher, training.epochs, training.quantized_epochs, training.threads) == (None, 5, 2, 2)
        assert training.word_weight == 0.2
        if training.pruning is not None:
            assert (training.pruning.fraction, training.pruning.first_epoch, training.pruning.last_epoch) == (0.8, 0, 3)
    assert {candidate["pruning"] is None for candidate in drawn} == {True, False}
    assert {candidate["layers"][0]["stride"] for candidate in drawn} == {1, 2}


def test_separable_layers_share_what_they_name() -> None:
    block = {"type": ["separable"], "units": "units", "memories": [4, 8], "order": "order", "thetas": [[4, 8]]}
    space = config(
        layers=[{"type": ["dense"], "units": "units"}, block, block | {"stride": [1, 2]}],
        shared={"units": [16, 24, 32], "order": [3, 4]},
        kbits=[0, 1000],
        choices={},
        changes=SPACE["changes"] | {"pruning": None},
    )
    drawn = [candidate["layers"] for candidate in candidates(space)]
    for layers in drawn:
        assert len({layer["units"] for layer in layers}) == 1
        assert layers[1]["order"] == layers[2]["order"]
    assert {layers[0]["units"] for layers in drawn} == {16, 24, 32}
    assert {layers[1]["memories"] == layers[2]["memories"] for layers in drawn} == {True, False}
    training = space.training({"layers": drawn[0]}, Rung(3, 5, 2), Path("data"), Path("out"), 2)
    assert training.layers[1] == SeparableSpec(**drawn[0][1])


def test_a_shared_choice_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"^layers\[0\].units must be one of order, not 'units'$"):
        config(layers=[{"units": "units"}], shared={"order": [3]})
    with pytest.raises(ValueError, match=r"^shared.units must be a list of choices, not 'units'$"):
        config(shared={"units": "units"})


def test_a_space_that_is_too_small_is_refused() -> None:
    one = {"layers": [{"units": [16, 24]}], "rungs": [{"trials": 3, "epochs": 1, "quantized_epochs": 1}]}
    with pytest.raises(ValueError, match=r"^the search wants 3 networks of 0 to 1000 kbit, found 2$"):
        candidates(config(**one, kbits=[0, 1000], choices={}))
    with pytest.raises(ValueError, match=r"found 0; the last draw was refused: layer units must be at least 1"):
        candidates(config(**one | {"layers": [{"units": [0]}]}))
    with pytest.raises(ValueError, match=r"a search counts integers: the scheme of recipe 'tiny' must be exact$"):
        candidates(config(recipe="tiny"))


def test_fronts_hold_what_nothing_beats() -> None:
    trials = [trial(0.9, 50), trial(0.8, 20), trial(0.8, 30), trial(0.7, 20), trial(0.7, 60), trial(0.9, 50)]
    assert fronts(trials).tolist() == [0, 0, 1, 1, 2, 0]
    costs = [trial(0.9, 50, 10, 10), trial(0.9, 50, 5, 20), trial(0.9, 50, 20, 5), trial(0.9, 50, 20, 20)]
    assert fronts(costs).tolist() == [0, 0, 0, 1]
    values = np.random.default_rng(0).random((40, 2))
    numbers = fronts([trial(*row) for row in values])
    for first, number in zip(values, numbers, strict=True):
        better = [(row[0] >= first[0] and row[1] <= first[1] and (row != first).any()) for row in values]
        above = [numbers[place] for place, is_better in enumerate(better) if is_better]
        assert number == max(above, default=-1) + 1


def test_the_order_keeps_the_whole_front() -> None:
    crowded = [trial(0.80, 30), trial(0.81, 31), trial(0.82, 32), trial(0.95, 90), trial(0.5, 10), trial(0.4, 50)]
    assert order(crowded) == [3, 4, 2, 0, 1, 5]
    assert order([trial(0.5, 10)] * 3) == [0, 1, 2]


def test_table_has_a_row_for_each_trial(tmp_path: Path) -> None:
    trials = [trial(0.9, 50), trial(0.8, 60), trial(0.7, 70, rung=1)]
    write_csv(trials, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["front"] for row in rows] == ["0", "1", "0"]
    assert [rows[1][name] for name in ("recall", "kbits", "rung")] == ["0.8", "60", "0"]
    assert json.loads(rows[0]["changes"]) == {"layers": []}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 3}, "^unknown key 'epochs' in the search, expected recipe, layers, kbits, shared, "),
        ({"layers": []}, "^layers must be one or more objects of choices$"),
        ({"layers": [3]}, "^layers must be objects of choices, not 3$"),
        ({"layers": [{"units": 3}]}, r"^layers\[0\]\.units must be a list of choices, not 3$"),
        ({"choices": {"dropout": []}}, r"^choices\.dropout must be a list of choices, not \[\]$"),
        ({"rungs": []}, r"^rungs must be one or more Rung, not \(\)$"),
        ({"rungs": [3]}, r"^rungs must be a list of objects, not \[3\]$"),
        ({"rungs": [{"trials": 3}]}, r"^rungs\[0\] lacks the key 'epochs'$"),
        ({"rungs": [SPACE["rungs"][0] | {"trials": 0}]}, "^rung trials must be at least 1, not 0$"),
        ({"rungs": SPACE["rungs"][::-1]}, r"^a rung must have no more trials than the one before, not \[4, 12\]$"),
        ({"kbits": [20, 10]}, r"^kbits must be two ascending numbers of 0 or more, not \[20, 10\]$"),
        ({"seed": -1}, "^seed must be at least 0, not -1$"),
    ],
)  # fmt: skip
def test_configuration_is_checked(values: dict[str, object], message: str) -> None:
    wrong_type = any(expected in message for expected in ("an integer", "true or false", "a list of objects"))
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        config(**values)


def test_configuration_goes_through_json() -> None:
    for path in SEARCHES.glob("*.json"):
        loaded = SearchConfig.load(path.stem)
        assert SearchConfig.from_json(loaded.to_json()) == loaded
        assert len(candidates(loaded)) == loaded.rungs[0].trials
    assert dataclasses.asdict(config())["recipe"] == "kws49"
    with pytest.raises(ValueError, match=r"^the search must be an object, not \[\]$"):
        SearchConfig.from_json("[]")
    with pytest.raises(ValueError, match=r"^the search lacks the key 'recipe'$"):
        SearchConfig.from_json("{}")
    with pytest.raises(FileNotFoundError, match=r"^huge: no such file, and no shipped search .* \(there are: joules\)"):
        SearchConfig.load("huge")


@pytest.mark.parametrize("name", ["changes", "choices", "shared"])
def test_changes_and_choices_are_objects(name):
    text = json.dumps({"recipe": "tiny", "layers": [{"memories": [2]}], "kbits": [0, 9], name: 7})
    with pytest.raises(TypeError, match=rf"{name} must be an object, not 7$"):
        SearchConfig.from_json(text)
