"""Project files: written, read, changed, resolved; and everything that is wrong with one is said at once."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

import lmu_hw as lh
from lmu_hw.plan.config import Interface
from lmu_kit.cli.main import main
from lmu_kit.project import project as projects
from lmu_kit.project import text
from lmu_kit.project.run import run_project
from lmu_quantize.train import RECIPES, TrainConfig

YES, PLEASE = "نعم", "من فضلك"


def write(path: Path, content: str, labels: str = f"['{YES}', '{PLEASE}']") -> Path:
    path.write_text(f"labels = {labels}\n{content}")
    return path


def problems(path: Path, content: str, **options: str) -> list[str]:
    with pytest.raises(lh.ProjectError) as refused:
        lh.open_project(write(path, content, **options))
    return [str(problem) for problem in refused.value.problems]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.toml"


def test_a_small_file_is_enough(file: Path):
    project = lh.open_project(write(file, ""))
    assert (project.name, project.labels) == ("own", (YES, PLEASE))
    assert project.recordings == file.parent / "recordings"
    assert project.folder == file.parent / "build"
    assert project.recipe is not None
    assert project.recipe == TrainConfig(name="own", labels=(YES, PLEASE), front_end=project.front_end.to_dict())
    assert project.accelerator == lh.AcceleratorConfig.frugal()
    assert project.quantization == lh.QuantizationConfig()


def test_keys_override_a_shipped_recipe(file: Path):
    project = lh.open_project(write(file, "[recipe]\nbase = 'lmu105'\nepochs = 3\nframe_augment = false\n"))
    base = TrainConfig.from_recipe("lmu105", "", "")
    assert project.recipe is not None
    assert project.recipe.layers == base.layers
    assert (project.recipe.epochs, project.recipe.quantized_epochs) == (3, base.quantized_epochs)
    assert (base.frame_augment is None, project.recipe.frame_augment) == (False, None)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("kws*.json")))
def test_shipped_recipes_of_hardware_are_bases(file: Path, name: str):
    """All but the labels, the teacher and the warm start, which are of English words."""
    project = lh.open_project(write(file, f"[recipe]\nbase = '{name}'\nteacher = false\ninit = ''\n"))
    shipped = TrainConfig.from_recipe(name, "", "")
    changed = {"name": "own", "labels": project.labels, "teacher": None, "init": ""}
    assert project.recipe == dataclasses.replace(shipped, **changed, front_end=project.front_end.to_dict())


def test_levers_and_other_keys_of_the_accelerator(file: Path):
    accelerator = "[accelerator]\nlevers = 'plain'\nstop_clock = true\ninterface = 'axi'\n"
    project = lh.open_project(write(file, accelerator))
    assert project.accelerator == lh.AcceleratorConfig(stop_clock=True, interface=Interface.AXI)
    project = lh.open_project(file, {"accelerator.levers": "frugal", "accelerator.frames_per_fetch": 2,
                                     "accelerator.interface": "stream"})  # fmt: skip
    assert project.accelerator == lh.AcceleratorConfig.frugal(frames_per_fetch=2)
    sky = lh.open_project(write(file, "[flow.power]\ntechnology = 'sky130A'\n"))
    assert sky.accelerator == lh.AcceleratorConfig.frugal(state_bank_words=16)


def test_everything_that_is_wrong_is_said_at_once(file: Path):
    content = """
colour = "red"
[data]
speaker = "("
[front_end]
n_mels = "40"
[recipe]
base = "kws105"
epoch = 3
dropout = 1.5
layers = [{units = 0, memories = 4, order = 4, thetas = [20]}]
[quantization]
weight_bits = 8
[accelerator]
frames_per_fetch = 2
state = "pulse"
skip_zero_blocks = true
[flow.cosim]
simulator = "modelsim"
[flow.power]
tier = "table"
settled = true
"""
    found = problems(file, content)
    starts = [
        'colour = "red": unknown key; allowed: name, labels, data, front_end, recipe, quantization, accelerator, flow',
        'data.speaker = "(": speaker must be a regular expression, not \'(\' (',
        'flow.cosim.simulator = "modelsim": simulator must be one of icarus, verilator, not \'modelsim\'',
        "flow.power.settled = true: settled belongs to tier gates, not to table",
        'front_end.n_mels = "40": must be an integer',
        "recipe.epoch = 3: unknown key, perhaps epochs; allowed: base, layers, init, ",
        "recipe.layers[0].units = 0: layer units must be at least 1, not 0",
        "recipe.dropout = 1.5: dropout must be a finite number at least 0 and below 1, not 1.5",
        "quantization.weight_bits = 8: must be left out: with recipe.scheme.exact training makes the integers itself",
        'accelerator.frames_per_fetch = 2, accelerator.state = "pulse": frames_per_fetch of 2 needs the state policy',
        "accelerator.frames_per_fetch = 2, accelerator.skip_zero_blocks = true: frames_per_fetch of 2 and skip_zero_",
        "recipe.teacher.model = \"kws361-tuned\": was trained for the labels yes, no, ",
    ]
    assert len(found) == len(starts), found
    for problem, start in zip(found, starts, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("name = ''\n", "name = \"\": must be a text that is not empty"),
        ("recipe = 3\n", "recipe = 3: must be a table"),
        ("accelerator = 'plain'\n", 'accelerator = "plain": must be a table'),
        ("[accelerator]\nlevers = 'all'\n", 'accelerator.levers = "all": must be frugal or plain'),
        ("[recipe]\nbase = 'gru105'\n",
         'recipe.base = "gru105": is a network of another kind, which cannot become hardware'),
        ("[recipe]\nbase = 3\n", "recipe.base = 3: "),
        ("[recipe]\nbase = 'none'\n", 'recipe.base = "none": none: no such file, and no shipped recipe of that name'),
        ("[recipe]\ninit = 'none'\n", 'recipe.init = "none": is no file and no shipped network; those are kws105, '),
        ("[front_end]\nsample_rate = 8000\nf_max = 4000\n",
         "front_end.sample_rate = 8000: must be 16000: recordings are converted to it"),
        ("[front_end]\nwindow = 16001\nn_fft = 32768\n",
         "front_end.window = 16001: must be at most 16000, the samples of a clip"),
        ("[recipe.scheme]\nweight_bits = 6\n[quantization]\nweight_bits = 8\n",
         "quantization.weight_bits = 8: must be 6, as in recipe.scheme, with which the network is trained"),
        ("[recipe]\nlabels = ['a']\n", 'recipe.labels = ["a"]: unknown key, perhaps layers; allowed: base, '),
        ("[flow]\nout = ''\n", 'flow.out = "": out must name a folder, not \'\''),
        ("[flow.verilog]\nname = 'reg'\n", 'flow.verilog.name = "reg": the name of a module must be a plain Verilog'),
        ("[flow.evaluate]\nengines = ['golden', 'golden']\n",
         'flow.evaluate.engines = ["golden", "golden"]: engines must be some of float, golden, rtl, each once, not'),
        ("[flow.evaluate]\nengines = ['gpu']\n",
         'flow.evaluate.engines = ["gpu"]: an engine in engines must be one of float, golden, rtl, not \'gpu\''),
        ("[flow.cosim]\nfolder = 'x'\n", 'flow.cosim.folder = "x": unknown key; allowed: simulator, stalls, '),
        ("[flow.power]\nclips = 3\n",
         "flow.power.clips = 3: clips belong to the tiers rtl and gates: tier table uses no frames"),
        ("[flow.power]\ntier = 'gates'\nliberty = ['a.lib']\ncorner = '1p20V'\n",
         'flow.power.tier = "gates", flow.power.liberty = ["a.lib"], flow.power.corner = "1p20V": corner belongs '),
        ("[flow.power]\ntier = 'gates'\ninterval = 100\n",
         "flow.power.interval = 100: interval must be a finite number above 0 and below 100, not 100"),
        ("[flow.power]\nclock = 0\n", "flow.power.clock = 0: clock must be a finite number above 0, not 0"),
    ],
)  # fmt: skip
def test_values_and_combinations_that_are_refused(file: Path, content: str, problem: str):
    (found,) = problems(file, content)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ("'a'", 'labels = "a": must be a list of texts'),
        ("['silence', 'unknown']", 'labels = ["silence", "unknown"]: must be two or more, one of them a word'),
        ("['a']", 'labels = ["a"]: must be two or more, one of them a word'),
        ("['a', 'a']", 'labels = ["a", "a"]: labels must be distinct, not a, a'),
        ("['a', 'b/c']", 'labels = ["a", "b/c"]: a label must be a plain word, not \'b/c\''),
    ],
)
def test_labels_that_are_refused(file: Path, labels: str, problem: str):
    assert problems(file, "", labels=labels) == [problem]


def test_files_that_are_no_project(tmp_path: Path):
    with pytest.raises(lh.InputError, match=r"none.toml: cannot be read \(No such file or directory\); `lmu-hw init`"):
        lh.open_project(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("labels = [")
    with pytest.raises(lh.InputError, match=r"a.toml: is not TOML: "):
        lh.open_project(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(lh.InputError, match=r"a.toml: is not UTF-8 text; a project is a TOML file$"):
        lh.open_project(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("name = 'a'")
    with pytest.raises(lh.ProjectError, match=r"a.toml: labels: is missing: the words that are told apart$"):
        lh.open_project(tmp_path / "a.toml")
    with pytest.raises(lh.InputError, match=r"^name.x: name is a value, not a table$"):
        lh.open_project(tmp_path / "a.toml", {"name.x": 3})


def test_the_command_prints_a_line_for_each_problem(file: Path, capsys: pytest.CaptureFixture[str]):
    write(file, "colour = 1\n[accelerator]\nlanes = 65\n")
    assert main(["run", str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"lmu-hw: error: {file}: colour = 1: unknown key; allowed: {', '.join(('name', 'labels', *projects.SECTIONS))}",
        f"lmu-hw: error: {file}: accelerator.lanes = 65: lanes must be in 1 to 64, not 65",
    ]


def test_a_resolved_project_is_the_same_project(tmp_path: Path, file: Path):
    content = """
[recipe]
base = "kws49-pruned"
teacher = false
[quantization]
[accelerator]
interface = "spi"
smoothing = {background = [1], score_bits = 8, shift = 2, threshold = 20, refractory = 40}
[flow.power]
tier = "gates"
liberty = ["a.lib"]
clock = 5e5
"""
    project = lh.open_project(write(file, content.replace('"spi"', '"stream"')))
    resolved = lh.open_project(lh.write_resolved(project, tmp_path / "elsewhere" / "x"))
    for field in ("name", "labels", "front_end", "recipe", "quantization", "accelerator"):
        assert getattr(resolved, field) == getattr(project, field), field
    assert (resolved.folder, resolved.recordings) == (project.folder, project.recordings)
    assert resolved.flow.power.liberty == (str(file.parent / "a.lib"),)
    assert text.project_content(resolved) == text.project_content(project)


@pytest.mark.parametrize("whole", [False, True])
def test_a_new_project_can_be_read(tmp_path: Path, recordings: Path, whole: bool):
    path = lh.start_project(tmp_path / "new" / "own.toml", recordings=recordings, speaker=r"^\S+", whole=whole)
    project = lh.open_project(path)
    assert project.labels == (PLEASE, YES, "silence")
    assert project.recordings == recordings
    assert project.data.speaker == r"^\S+"
    content = path.read_text()
    assert set(tomllib.loads(content)) == {"name", "labels", *projects.SECTIONS}
    assert ("# bank_words = 256\n" in content) == whole
    assert max(map(len, content.splitlines())) <= 120 or whole
    with pytest.raises(lh.InputError, match=r"own.toml: exists already, and is not replaced$"):
        lh.start_project(path)


def test_a_new_project_needs_labels_or_recordings(tmp_path: Path):
    with pytest.raises(lh.InputError, match=r"recordings: no such folder; give the labels, or the folder with a"):
        lh.start_project(tmp_path / "own.toml")
    (tmp_path / "recordings").mkdir()
    with pytest.raises(lh.InputError, match=r"recordings: no folders in it; one for each word is expected$"):
        lh.start_project(tmp_path / "own.toml")
    with pytest.raises(lh.ProjectError, match=r"labels = \[\"a\"\]: must be two or more, one of them a word$"):
        lh.start_project(tmp_path / "own.toml", ["a"])
    assert lh.open_project(lh.start_project(tmp_path / "own.toml", ["a", "b"], name="ab")).name == "ab"


def test_the_command_init(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "own.toml"
    words = ["init", str(path), "--data", str(recordings), "--labels", f"{YES}, {PLEASE}, unknown", "--all"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"labels: {YES}, {PLEASE}, unknown\nwritten: {path}\n"
    assert "# bank_words" in path.read_text()


def test_every_key_of_a_project_is_described():
    for section in ("data", "front_end", "recipe", "quantization", "accelerator", "flow", "flow.cosim", "flow.power"):
        fields = text.describe_fields(section)
        assert all(hint and meaning for hint, meaning, _ in fields.values()), section
    assert {"base", "epochs", "scheme"} <= text.describe_fields("recipe").keys()
    assert not {"data", "out", "labels", "network"} & text.describe_fields("recipe").keys()
    shown = {key for section, keys in text.SHOWN.items() for key in keys if key not in text.describe_fields(section)}
    assert shown == set()


def test_without_pytorch_everything_but_training_works(file: Path, tiny: str, monkeypatch: pytest.MonkeyPatch):
    file.write_text(tiny)
    monkeypatch.setattr(projects.importlib.util, "find_spec", lambda name: None)
    project = lh.open_project(file)
    assert project.recipe is None
    with pytest.raises(lh.InputError, match=r"^training needs PyTorch: pip install 'lmu-hw\[train\]'$"):
        run_project(project)
