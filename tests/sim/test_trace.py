"""The trace of the bench: read whole, or counted while it is written; one that was cut short is refused."""

import numpy as np
import pytest

from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.testing.random_models import random_model
from lmu_sim.trace import FrameCounter, read_trace, signed, time_ns

LINES = [
    "a 12 0", "e 13 0 4", "e 14 x 0f", "p 15", "l 16 x3", "d 18 17 2a", "s 19 5", "x 20", "v 21 o_logits", "m 22 00011",
    "r 30", "r 31", "a 40 1", "n 0 7", "n 1 9", "z 99 0 0 995",
]  # fmt: skip


@pytest.fixture(scope="module")
def plan():
    return make_plan(random_model(np.random.default_rng(1), layers=("dense",)), AcceleratorConfig(lanes=1))


def test_records_are_cut_at_every_reset(plan, tmp_path):
    (tmp_path / "trace.txt").write_text("\n".join(LINES) + "\n")
    trace = read_trace(plan, tmp_path / "trace.txt")
    first, second = trace.segments
    assert (first.accepted, first.started, first.errors, first.ended) == ([(12, 0)], [15], [20], 30)
    assert first.elements == [(13, 0, 4), (14, -1, 15)]
    assert (first.logits, first.decisions, first.events) == ([(16, None)], [(18, 17, 42)], [(19, 5)])
    assert (second.accepted, second.ended) == ([(40, 1)], 0)
    names = " ".join(memory.name for memory in plan.memories[:2])
    assert trace.violations == [
        "o_logits broke its stream contract at 215 ns", f"memory {names} was read and written at 225 ns"
    ]  # fmt: skip
    assert trace.reads == [7, 9, *[0] * (len(plan.memories) - 2)]
    assert (trace.cycles, trace.hung) == (99, False)


@pytest.mark.parametrize("end", ["z 99 1 0 995", "z 99 0 1 995"])
def test_a_run_that_reached_the_limit_or_kept_frames_waiting_hung(end, plan, tmp_path):
    (tmp_path / "trace.txt").write_text(f"{end}\n")
    assert read_trace(plan, tmp_path / "trace.txt").hung


def test_a_trace_that_was_cut_short_is_refused(plan, tmp_path):
    (tmp_path / "trace.txt").write_text("\n".join(LINES[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"trace\.txt has no end record: the simulation was cut short"):
        read_trace(plan, tmp_path / "trace.txt")


def test_frames_are_counted_while_the_trace_is_written(tmp_path):
    counter = FrameCounter(tmp_path / "trace.txt")
    assert counter.count() == 0
    with (tmp_path / "trace.txt").open("w", buffering=1) as trace:
        for text, frames in (("a 12 0\ne 13 0 4\n", 1), ("a 1", 1), ("4 1\na 16 2\n", 3), ("", 3)):
            trace.write(text)
            trace.flush()
            assert counter.count() == frames


def test_numbers_of_the_trace():
    assert [signed(value, 4) for value in (0, 7, 8, 15, 24, None)] == [0, 7, -8, -1, -8, None]
    assert [time_ns(cycle) for cycle in (0, 3)] == [5, 35]
