"""The cache of compiled simulators: each entry built once, whole or not at all, the oldest evicted."""

import os
import subprocess
import sys
import time

import pytest

from lmu_sim import build_cache
from lmu_sim.build_cache import BuildCache, content_key

TWICE = """
import sys, time
from pathlib import Path
from lmu_sim.build_cache import BuildCache

def build(entry):
    (entry / "part").write_text("")
    time.sleep(0.5)
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")

entry = BuildCache(sys.argv[1]).entry("key", build)
assert [path.name for path in entry.iterdir()] == ["part"], list(entry.iterdir())
"""


def write(size):
    return lambda entry: (entry / "program").write_bytes(bytes(size))


def names(cache):
    return {path.name for path in cache.folder.iterdir() if path.is_dir()}


def test_keys_differ_where_the_content_does():
    key = content_key("icarus", "12.0", {"bench.v": "module"})
    assert key == content_key("icarus", "12.0", {"bench.v": "module"})
    assert key.startswith("icarus-")
    others = [("icarus", "12.0", {"bench.v": "module "}), ("icarus", "12.1", {"bench.v": "module"}), ("icarus", "12.0")]
    assert len({key, *(content_key(*other) for other in others)}) == 4


def test_an_entry_is_built_once(tmp_path):
    cache = BuildCache(tmp_path / "new" / "folder")
    first = cache.entry("key", write(5))
    assert first == tmp_path / "new" / "folder" / "key"

    def refuse(entry):
        raise AssertionError("built again")

    assert BuildCache(tmp_path / "new" / "folder").entry("key", refuse) == first
    assert (first / "program").read_bytes() == bytes(5)


def test_the_default_folder_is_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert BuildCache().entry("key", write(1)) == tmp_path / "lmu-hw" / "simulators" / "key"


def test_a_build_that_fails_leaves_no_entry(tmp_path):
    cache = BuildCache(tmp_path)

    def fail(entry):
        (entry / "half").write_text("")
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        cache.entry("key", fail)
    assert not names(cache)
    assert cache.entry("key", write(1)).is_dir()


def test_two_processes_build_an_entry_once(tmp_path):
    command = [sys.executable, "-c", TWICE, str(tmp_path / "cache"), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_the_entries_unused_for_the_longest_time_are_evicted(tmp_path):
    cache = BuildCache(tmp_path, limit=250)
    long_ago = time.time() - 10 * build_cache.IN_USE_S
    for name in "abc":
        cache.entry(name, write(100))
    assert names(cache) == {"a", "b", "c"}  # all were used just now
    for age, name in enumerate("abc"):
        os.utime(tmp_path / name, (long_ago + age, long_ago + age))
    cache.entry("a", write(100))
    cache.entry("d", write(100))
    assert names(cache) == {"a", "d"}
    assert not (tmp_path / "b.lock").exists()


def test_an_entry_that_another_process_uses_stays(tmp_path):
    cache = BuildCache(tmp_path, limit=50)
    cache.entry("a", write(100))
    os.utime(tmp_path / "a", (1, 1))
    with cache._locked("a"):
        cache.entry("b", write(100))
    assert names(cache) == {"a", "b"}


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    for name, age in ((".building-old", 2 * build_cache.STALE_S), (".building-new", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    cache = BuildCache(tmp_path)
    cache.entry("key", write(1))
    assert names(cache) == {".building-new", "key"}
