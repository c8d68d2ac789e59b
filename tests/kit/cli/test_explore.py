"""`lmu-hw explore`: the sweep, what it prints and writes, who does the work, and what it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.power.designs import Cut, cut
from lmu_hw.power.technology import load_technology
from lmu_kit.cli.main import main
from lmu_kit.cli.quantity import AREA, FREQUENCY, POWER, TIME
from lmu_kit.errors import InputError
from lmu_kit.workers import workers
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames, save_frames
from lmu_sim.testing.random_models import random_model

RUN = "from lmu_kit.cli.main import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two small networks."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("one", "two")):
        model = random_model(np.random.default_rng(seed), layers=("lmu", "dense"))
        program_file.save(model, folder / f"{name}.safetensors")
    return [str(folder / f"{name}.safetensors") for name in ("one", "two")]


@pytest.fixture
def threads(monkeypatch):
    """Work is done in this process, which starts at once."""

    @contextmanager
    def pool(jobs, dask):
        with ThreadPoolExecutor(jobs) as executor:
            yield executor, 2

    monkeypatch.setattr("lmu_kit.sweeps.workers", pool)


def explored(out, *arguments):
    result = out.with_suffix(".json")
    assert main(["explore", *map(str, arguments), "--out", str(out), "--json", str(result)]) == 0
    return json.loads(result.read_text())


def rows(out):
    with (out / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys, *arguments):
    assert main(["explore", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_sweep_finds_its_front_and_its_best(models, threads, tmp_path, capsys):
    out = tmp_path / "sweep"
    lists = ("--lanes", "2,4", "--weights", "rom,ram", "--technology", "ihp-sg13g2,sky130A", "--clock", "auto,2MHz,20k")
    found = explored(out, *models, *lists, "--max-latency", "42ms", "--jobs", 1)
    assert found["points"] == 2 * 2 * 2 * 2 * 3
    points = rows(out)
    assert len(points) == found["points"] - found["refused"]
    assert [row for row in points if row["front"] == "0"] == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in found["front"]
    ]
    best = min((row for row in points if float(row["latency_ms"]) <= 42), key=lambda row: float(row["power_uW"]))
    assert found["best"]["power_uW"] == float(best["power_uW"])
    for row in points:
        assert float(row["clock_Hz"]) >= float(row["slowest_clock_Hz"])
        assert (row["clock_is_auto"] == "False") == (float(row["clock_Hz"]) in (2e6, 20e3))
    printed = capsys.readouterr().out
    assert "Pareto front on sky130A" in printed
    assert printed.count("an SRAM model that no foundry confirms") == 1
    assert "accuracy is not in the front" in printed
    assert "best power within the limits" in printed
    for name in ("front.svg", "clock.svg"):
        assert (out / name).read_text().startswith("<?xml")


def test_pandas_reads_the_points(models, threads, tmp_path):
    out = tmp_path / "sweep"
    found = explored(out, *models, "--lanes", "2,3", "--set", "skip_zero_blocks=false,true", "--clock", "auto,2MHz")
    points = pandas.read_csv(out / "points.csv", engine="python")
    assert len(points) == found["points"] == 16
    kinds = {name: dtype.kind for name, dtype in points.dtypes.items()}
    assert {kinds[name] for name in ("lanes", "front")} == {"i"}
    assert {kinds[name] for name in (*LEVERS, "clock_is_auto")} == {"b"}
    numbers = [name for name in points if name.endswith(("_Hz", "_ms", "_frame", "_uW", "_um2"))]
    assert len(numbers) == 13
    assert {kinds[name] for name in (*numbers, "accuracy", "lane_utilisation")} == {"f"}
    assert points["accuracy"].isna().all()
    assert points["gates_power_uW"].isna().all()
    assert set(points["model"]) == set(models)
    assert set(points["weights"]) == {"rom"}
    best = points.loc[points["power_uW"].idxmin()]
    assert best.power_uW == found["best"]["power_uW"]
    assert list(points[points["front"] == 0]["nJ_per_frame"]) == [one["nJ_per_frame"] for one in found["front"]]


def test_a_point_of_the_sweep_is_what_power_says(threads, tmp_path):
    point = explored(tmp_path / "sweep", "kws105", "--lanes", 16, "--jobs", 1)["best"]
    assert main(["power", "kws105", "--lanes", "16", "--json", str(tmp_path / "power.json")]) == 0
    power = json.loads((tmp_path / "power.json").read_text())
    assert point["power_uW"] == pytest.approx(power["sounds"]["speech"]["total_with_estimates"]["average_uW"])
    assert point["area_um2"] == pytest.approx(power["area"]["um2"])
    assert point["clock_Hz"] == power["clock_hz"]
    assert point["accuracy"] == json.loads(zoo.path("kws105", "golden.json").read_text())["accuracy"]


def test_a_sweep_that_is_done_is_not_done_again(models, threads, tmp_path, monkeypatch):
    out = tmp_path / "sweep"
    first = explored(out, *models, "--lanes", "2,3", "--jobs", 1)
    lines = (out / "points.jsonl").read_bytes()
    monkeypatch.setattr("lmu_kit.sweeps.workers", None)
    assert explored(out, *models, "--lanes", "2,3", "--max-area", "1um2") == first | {"best": None}
    assert (out / "points.jsonl").read_bytes() == lines


def test_a_file_describes_a_sweep_and_options_replace_its_lists(models, threads, tmp_path):
    file = tmp_path / "sweep.json"
    config = {"lanes": [2, 3], "skip_zero_blocks": [False, True]}
    file.write_text(json.dumps({"models": models[:1], "config": config, "clocks": ["auto", 1e6]}))
    found = explored(
        tmp_path / "sweep", "--sweep", file, "--lanes", "5", "--set", "state=keep,pulse", "--accuracy",
        f"{models[0]}=91.5", "--best", "accuracy", "--min-accuracy", 91,
    )  # fmt: skip
    expected = {"lanes": [5], "skip_zero_blocks": [False, True], "state": ["keep", "pulse"]}
    assert found["sweep"]["config"] == expected
    assert found["sweep"]["clocks"] == ["auto", 1e6]
    assert found["best"]["accuracy"] == 0.915


def test_a_sweep_without_points_is_refused(models, threads, tmp_path, capsys):
    error = refused(capsys, models[0], "--clock", "1Hz", "--out", tmp_path / "sweep")
    assert "no point of the sweep can be built" in error
    assert "clock must be at least" in error
    assert not (tmp_path / "sweep" / "points.csv").exists()


def test_another_sweep_is_refused(models, threads, tmp_path, capsys):
    out = tmp_path / "sweep"
    explored(out, models[0], "--lanes", "2")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert "points.jsonl: holds another sweep" in refused(capsys, models[1], "--lanes", "2", "--out", out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "models is missing"),
        (("no-such",), "no-such: no such file, and no shipped network"),
        (("kws105", "--lanes", "4,4"), "config lanes has 4 twice"),
        (("kws105", "--lanes", "many"), "lanes must be an integer, not 'many'"),
        (("kws105", "--clock", "auto,soon"), "--clock: must be a frequency above 0, such as 500kHz, 1.5MHz"),
        (("kws105", "--technology", "ihp"), "ihp: no such table"),
        (("kws105", "--set", "lanes"), "--set takes KEY=V,..., not 'lanes'"),
        (("kws105", "--accuracy", "kws361=93"), "--accuracy takes a MODEL of the sweep"),
        (("kws105", "--accuracy", "kws105=930"), "--accuracy takes a MODEL of the sweep"),
        (("kws105", "--min-accuracy", "-1"), "the limit of accuracy must be a number above 0"),
        (("--sweep", "no-such.json"), "no-such.json: cannot be read"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(arguments, message, tmp_path, capsys):
    assert message in refused(capsys, *arguments, "--out", tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_a_wrong_file_is_named(tmp_path, capsys):
    file = tmp_path / "sweep.json"
    file.write_text('{"models": ["kws105"], "lanes": [4]}')
    error = refused(capsys, "--sweep", file, "--out", tmp_path / "sweep")
    assert f"{file}: unknown key 'lanes' in the sweep" in error


def test_without_cells_nothing_is_confirmed(threads, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PDK_ROOT", raising=False)
    arguments = ("kws105", "--lanes", "16", "--confirm", "1", "--jobs", "1", "--out", tmp_path / "sweep")
    assert "--confirm: " in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("units", "text", "value"),
    [
        (TIME, "100ms", 0.1), (TIME, "1.5 s", 1.5), (TIME, "20us", 2e-5), (TIME, "20µs", 2e-5),
        (AREA, "0.5mm2", 5e5), (AREA, "9um2", 9.0), (POWER, "50uW", 5e-5), (POWER, "1e-2mW", 1e-5),
        (FREQUENCY, "0.1MHz", 1e5), (FREQUENCY, "250k", 2.5e5), (FREQUENCY, "7", 7.0),
    ],
)  # fmt: skip
def test_units(units, text, value):
    assert units(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "0ms", "-1ms", "1..2ms", "1e999s", "5", "5 parsecs", "5mm2"])
def test_what_is_no_time(text, capsys):
    with pytest.raises(SystemExit):
        main(["explore", "kws105", "--out", "x", f"--max-latency={text}"])
    assert "must be a time above 0, such as 100ms, 1.5s or 20us" in capsys.readouterr().err


def test_processes_work_and_their_loss_is_told():
    with workers(1, None) as (pool, ahead):
        assert ahead > 1
        assert pool.submit(abs, -3).result() == 3
    with pytest.raises(InputError, match="a worker process was killed"), workers(1, None) as (pool, _):
        pool.submit(os._exit, 1).result()


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("lmu_kit.workers.CONNECT_S", 0.2)
    message = "tcp://127.0.0.1:9: no Dask scheduler answers"
    with pytest.raises(InputError, match=message), workers(1, "tcp://127.0.0.1:9"):
        pass


def started(*arguments, **pipes):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)], stdout=subprocess.DEVNULL, text=True, **pipes
    )


def wait_for_lines(path, count, process):
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "ended before it could be stopped"
        time.sleep(0.01)


LISTS = ("--lanes", ",".join(map(str, range(1, 41))), "--weights", "rom,ram", "--clock", "auto,2MHz")


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_leaves_no_process(models, tmp_path):
    out = tmp_path / "sweep"
    arguments = ("explore", *models, *LISTS, "--jobs", 2, "--out", out)
    process = started(*arguments)
    wait_for_lines(out / "points.jsonl", 20, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = (out / "points.jsonl").read_bytes().splitlines()
    assert 20 <= len(kept) < 321
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a worker outlives the command"
        time.sleep(0.05)
    assert main([*map(str, arguments)]) == 0
    lines = (out / "points.jsonl").read_bytes().splitlines()
    keys = [json.loads(line)["point"] for line in lines[1:]]
    assert lines[: len(kept) - 1] == kept[:-1]
    assert len(keys) == len(set(keys)) == 2 * 40 * 2 * 2


@pytest.mark.slow
def test_a_dask_cluster_does_the_same_though_a_worker_is_killed(models, threads, tmp_path):
    from distributed import LocalCluster

    alone = tmp_path / "alone"
    explored(alone, *models, *LISTS, "--jobs", 1)
    with LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        out = tmp_path / "cluster"
        process = started("explore", *models, *LISTS, "--dask", cluster.scheduler_address, "--out", out)
        wait_for_lines(out / "points.jsonl", 20, process)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        assert process.wait() == 0
    ours, theirs = ((folder / "points.jsonl").read_bytes().splitlines() for folder in (out, alone))
    assert sorted(ours) == sorted(theirs)
    assert (out / "points.csv").read_bytes() == (alone / "points.csv").read_bytes()


@pytest.mark.slow
def test_a_cluster_that_is_lost_is_told(models, tmp_path):
    def served(kind, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *map(str, arguments)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    file, out = tmp_path / "scheduler.json", tmp_path / "sweep"
    scheduler = served("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
    worker = served("worker", "--scheduler-file", file, "--nthreads", 1, "--no-nanny")
    try:
        wait_for_lines(file, 1, scheduler)
        address = json.loads(file.read_text())["address"]
        process = started("explore", *models, *LISTS, "--dask", address, "--out", out, stderr=subprocess.PIPE)
        wait_for_lines(out / "points.jsonl", 5, process)
        scheduler.kill()
        _, error = process.communicate()
    finally:
        for one in (worker, scheduler):
            one.kill()
            one.wait()
    assert process.returncode == 1
    assert error == f"lmu-hw: error: the Dask cluster at {address} was lost; start again to go on where it was\n"


@pytest.mark.slow
def test_gates_confirm_the_front(pdk_in_environment, threads, tmp_path, monkeypatch, capsys):
    pdk_in_environment("ihp-sg13g2")
    model, frames = tmp_path / "small.safetensors", tmp_path / "frames.safetensors"
    program_file.save(cut(program_file.load(zoo.path("kws361", "quantized.safetensors")), Cut(1, 6, 1, 4)), model)
    shipped = load_frames(zoo.path("kws361", "test.safetensors"))
    chosen = slice(None, None, 19)
    save_frames(replace(shipped, frames=shipped.frames[chosen, :12, :6], truth=shipped.truth[chosen]), frames)
    out = tmp_path / "sweep"
    levers = "--set", "levers=plain,frugal"
    arguments = (model, "--lanes", "1,2", *levers, "--confirm", 1, "--frames", frames, "--jobs", 1)
    found = explored(out, *arguments)
    confirmed = [row for row in found["front"] if row["gates_nJ_per_frame"] is not None]
    assert confirmed == [found["best"]]
    assert confirmed[0]["skip_zero_elements"] is confirmed[0]["isolate_operands"] is True
    config = AcceleratorConfig.frugal()
    band = load_technology("ihp-sg13g2").energies(config).band("table")
    assert confirmed[0]["gates_nJ_per_frame"] == pytest.approx(confirmed[0]["nJ_per_frame"], rel=2 * band)
    assert confirmed[0]["gates_achievable_clock_Hz"] > 1e6
    assert "confirmed by gates" in capsys.readouterr().out
    monkeypatch.setattr("lmu_kit.sweeps.map_plan", None)
    assert explored(out, *arguments) == found
