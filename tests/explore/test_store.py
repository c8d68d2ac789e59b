"""The file of a sweep: nothing is lost, nothing is twice, and it is of one sweep."""

import json

import pytest

from lmu_hw.explore.points import Outcome
from lmu_hw.explore.store import Store, StoreError

DONE = Outcome(1e6, 5e5, 50.0, 1e4, 0.01, 0.9, 1e-7, 2e-8, 4e5)
SWEEP = {"models": ["a"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "points.jsonl"


def test_what_was_kept_is_found_again(path):
    with Store(path, SWEEP) as store:
        store.add("one", DONE)
        store.add("two", "too slow")
        store.add("one", DONE, "gates")
        assert store.get("three") is None
    with Store(path, SWEEP) as store:
        assert (store.get("one"), store.get("two"), store.get("one", "gates")) == (DONE, "too slow", DONE)
        assert store.get("two", "gates") is None
        assert len(store) == 3


def test_a_file_that_was_cut_anywhere_goes_on(path):
    with Store(path, SWEEP) as store:
        store.add("one", DONE)
        store.add("two", DONE)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends[1:])
        with Store(path, SWEEP) as store:
            assert len(store) == kept
            for key in ("one", "two")[kept:]:
                store.add(key, DONE)
        assert path.read_bytes() == whole


def test_a_point_is_not_kept_twice(path):
    with Store(path, SWEEP) as store:
        store.add("one", DONE)
        with pytest.raises(ValueError, match="one is done already"):
            store.add("one", DONE)
        with pytest.raises(ValueError, match="tier must be one of table, gates, not 'rtl'"):
            store.add("one", DONE, "rtl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[1]]))
    with pytest.raises(StoreError, match=r"points\.jsonl: line 3 has a point a second time"):
        Store(path, SWEEP)


def test_the_file_of_another_sweep_is_refused_and_left_alone(path):
    Store(path, SWEEP).__exit__(None, None, None)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="holds another sweep, or its networks or tables have changed"):
        Store(path, {"models": ["b"]})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["something else", "{}\n", "[1]\n", "not JSON\n", '{"schema": "other"}\n'])
def test_another_file_is_refused_and_left_alone(path, text):
    path.write_text(text)
    with pytest.raises(StoreError, match="not the file of a sweep"):
        Store(path, SWEEP)
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["x", "{}", '{"tier": "table", "point": "k", "outcome": {"clock": 1}}', "[]"])
def test_a_damaged_line_is_named(path, line):
    with Store(path, SWEEP) as store:
        store.add("one", DONE)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(StoreError, match=r"points\.jsonl: line 3 is damaged"):
        Store(path, SWEEP)


def test_two_sweeps_do_not_write_one_file(path):
    with Store(path, SWEEP), pytest.raises(StoreError, match="another sweep is writing this file"):
        Store(path, SWEEP)
    Store(path, SWEEP).__exit__(None, None, None)


def test_every_line_is_json(path):
    with Store(path, SWEEP) as store:
        store.add("one", DONE)
    head, entry = map(json.loads, path.read_text().splitlines())
    assert head == {"schema": "lmu-hw/sweep", "version": 1, "sweep": SWEEP}
    assert entry["outcome"]["clock"] == 1e6
