"""A sweep on an executor: every point once, however often it is stopped."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lmu_hw.explore.run import identity, run
from lmu_hw.explore.store import Store


class Stopping(ThreadPoolExecutor):
    """Gives up after some tasks, as a process that is killed."""

    def __init__(self, after):
        super().__init__(1)
        self.left, self.given = after, []

    def submit(self, call, *arguments):
        self.given.append(arguments)
        self.left -= 1
        if self.left < 0:
            broken = Future()
            broken.set_exception(RuntimeError("killed"))
            return broken
        return super().submit(call, *arguments)


def outcomes(sweep, path, store_of, network, technologies, executor, **options):
    with store_of(path) as store:
        run(sweep, {"small": network}, technologies, store, executor, **options)
        return {point.key: store.get(point.key) for point in sweep.points()}


@pytest.fixture
def store_of(sweep, network):
    tables = {"ihp-sg13g2": "1", "sky130A": "2"}
    return lambda path: Store(path, identity(sweep, {"small": network}, tables))


def test_a_sweep_that_was_stopped_goes_on(sweep, network, technologies, store_of, tmp_path):
    steps = []
    with ThreadPoolExecutor(2) as pool:
        whole = outcomes(
            sweep, tmp_path / "whole", store_of, network, technologies, pool, progress=lambda *step: steps.append(step)
        )
    assert None not in whole.values()
    assert steps == [("predict", done, len(sweep)) for done in sorted(step[1] for step in steps)]
    assert steps[-1][1] == len(sweep)
    path, stops = tmp_path / "stopped", 0
    while True:
        try:
            with Stopping(2) as pool:
                again = outcomes(sweep, path, store_of, network, technologies, pool, ahead=1)
            break
        except RuntimeError:
            stops += 1
    assert stops == 2
    assert again == whole
    assert sorted(path.read_bytes().splitlines()) == sorted((tmp_path / "whole").read_bytes().splitlines())


def test_only_what_is_missing_is_computed(sweep, network, technologies, store_of, tmp_path):
    path = tmp_path / "points"
    with ThreadPoolExecutor(1) as pool:
        whole = outcomes(sweep, path, store_of, network, technologies, pool)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with Stopping(99) as pool:
        assert outcomes(sweep, path, store_of, network, technologies, pool) == whole
    [(_, _, points)] = pool.given
    assert len(points) == 1


def test_no_more_is_given_out_than_asked_for(sweep, network, technologies, store_of, tmp_path):
    class Counting(Stopping):
        def submit(self, call, *arguments):
            future = super().submit(call, *arguments)
            self.futures = [one for one in getattr(self, "futures", []) if not one.done()] + [future]
            assert len(self.futures) <= 2
            return future

    with Counting(99) as pool:
        outcomes(sweep, tmp_path / "points", store_of, network, technologies, pool, ahead=2)
    assert len(pool.given) == 6


def test_another_table_is_another_sweep(sweep, network):
    tables = {"ihp-sg13g2": "1", "sky130A": "2"}
    ours = identity(sweep, {"small": network}, tables)
    assert ours == identity(sweep, {"small": network}, dict(tables))
    assert ours != identity(sweep, {"small": network}, tables | {"sky130A": "3"})
