import importlib.util
import io
import types
import unicodedata
import warnings
import wave

import numpy as np
import pytest

from lmu_quantize.audio import AudioError, read_wav
from lmu_quantize.dataset import (
    KEYWORD_LABELS,
    SPLITS,
    DatasetError,
    HiddenFileWarning,
    SpeakerWarning,
    SpeechCommands,
    SplitRule,
    load_clips,
    published_split,
)

OTHER_WORDS = ("bed", "cat")
# Speakers that the published rule puts into each split.
SPEAKERS = {
    split: [f"{n:08x}" for n in range(200) if published_split(f"{n:08x}_nohash_0.wav") == split]
    for split in SPLITS
}


def write_wav(path, samples, *, rate=16_000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as writer:
        writer.setsampwidth(2)
        writer.setnchannels(channels)
        writer.setframerate(rate)
        writer.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return path


def make(root, *, test_set=True, speakers=3):
    """Make a small dataset: ``speakers`` speakers of each split say every word."""
    words = root / "speech_commands"
    for split in SPLITS:
        for number, speaker in enumerate(SPEAKERS[split][:speakers]):
            for word in (*KEYWORD_LABELS[:8], *OTHER_WORDS):
                write_wav(words / word / f"{speaker}_nohash_{number}.wav", [number])
    write_wav(words / "_background_noise_" / "tap.wav", np.arange(50))
    write_wav(words / "_background_noise_" / "bike.wav", np.arange(70))
    (words / "_background_noise_" / "README.md").write_text("about the noise")
    if test_set:
        for label in (*KEYWORD_LABELS[:8], "_unknown_", "_silence_", "on", "off"):
            for number in range(2):
                write_wav(root / "speech_commands_test_set" / label / f"{number}.wav", [number])
    return root


def count(dataset, split):
    return np.bincount(dataset.clips(split)[1], minlength=len(dataset.labels)).tolist()


# Splits and labels


def test_splits_of_a_small_set(tmp_path):
    dataset = SpeechCommands(make(tmp_path))
    assert dataset.labels == KEYWORD_LABELS
    assert count(dataset, "train") == [3] * 8 + [6, 0]
    assert count(dataset, "validation") == [3] * 8 + [6, 0]
    assert count(dataset, "test") == [2] * 10
    assert dataset.count_speakers() == {"train": 3, "validation": 3, "test": 3}
    for split in ("train", "validation"):
        paths, labels = dataset.clips(split)
        assert labels.dtype == np.int64
        assert len(set(paths)) == len(paths)
        for path, label in zip(paths, labels, strict=True):
            expected = "unknown" if path.parent.name in OTHER_WORDS else path.parent.name
            assert KEYWORD_LABELS[label] == expected
            assert published_split(path.name) == split


def test_the_words_folder_itself_is_a_root(tmp_path):
    whole = SpeechCommands(make(tmp_path))
    words = SpeechCommands(tmp_path / "speech_commands")
    assert words.words_folder == whole.words_folder == tmp_path / "speech_commands"
    assert words.test_folder == whole.test_folder == tmp_path / "speech_commands_test_set"
    for split in SPLITS:
        assert words.clips(split)[0] == whole.clips(split)[0]


def test_order_does_not_depend_on_the_file_system(tmp_path):
    dataset = SpeechCommands(make(tmp_path))
    for split in SPLITS:
        paths, labels = dataset.clips(split)
        assert labels.tolist() == sorted(labels)
        keys = [(label, str(path)) for label, path in zip(labels, paths, strict=True)]
        assert keys == sorted(keys)


def test_without_the_official_test_set(tmp_path):
    dataset = SpeechCommands(make(tmp_path, test_set=False))
    assert dataset.test_folder is None
    assert count(dataset, "test") == [3] * 8 + [6, 0]
    assert {published_split(path.name) for path in dataset.clips("test")[0]} == {"test"}


def test_the_official_test_set_elsewhere(tmp_path):
    make(tmp_path)
    (tmp_path / "speech_commands_test_set").rename(tmp_path / "held out")
    assert SpeechCommands(tmp_path).test_folder is None
    dataset = SpeechCommands(tmp_path, test_root=tmp_path / "held out")
    assert count(dataset, "test") == [2] * 10


def test_lists_take_precedence_over_the_rule(tmp_path):
    make(tmp_path, test_set=False)
    words = tmp_path / "speech_commands"
    moved = f"{SPEAKERS['train'][0]}_nohash_0.wav"
    chosen = [f"{word}/{moved}" for word in (*KEYWORD_LABELS[:8], "bed")]
    (words / "validation_list.txt").write_text("\n".join(chosen) + "\n")
    dataset = SpeechCommands(tmp_path)
    assert count(dataset, "validation") == [1] * 9 + [0]
    assert count(dataset, "train") == [5] * 8 + [11, 0]
    assert count(dataset, "test") == [3] * 8 + [6, 0]
    taken = [f"{path.parent.name}/{path.name}" for path in dataset.clips("validation")[0]]
    assert taken == chosen


def test_testing_list_takes_clips_out(tmp_path):
    make(tmp_path, test_set=False)
    words = tmp_path / "speech_commands"
    moved = f"{SPEAKERS['validation'][1]}_nohash_1.wav"
    names = [f"{word}/{moved}" for word in (*KEYWORD_LABELS[:8], *OTHER_WORDS)]
    (words / "testing_list.txt").write_text("\n".join(names))
    dataset = SpeechCommands(tmp_path)
    assert count(dataset, "test") == [1] * 8 + [2, 0]
    assert count(dataset, "validation") == [2] * 8 + [4, 0]
    assert count(dataset, "train") == [6] * 8 + [12, 0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \n\n"])
def test_a_list_is_read_by_lines(tmp_path, encoding, end):
    for word in ("zoom in", "zoom out"):
        for speaker in range(6):
            write_wav(tmp_path / word / f"{speaker:08x}_nohash_0.wav", [1])
    names = [f"zoom in/{0:08x}_nohash_0.wav", f"./zoom out/{1:08x}_nohash_0.wav", f"zoom out\\{2:08x}_nohash_0.wav"]
    (tmp_path / "validation_list.txt").write_bytes(end.join(names).encode(encoding))
    (tmp_path / "testing_list.txt").write_text("")
    dataset = SpeechCommands(tmp_path, ["zoom in", "zoom out"])
    assert count(dataset, "validation") == [1, 2]
    assert count(dataset, "train") == [5, 4]


def test_a_line_without_a_clip_is_refused(tmp_path):
    words = make(tmp_path) / "speech_commands"
    known = f"yes/{SPEAKERS['train'][0]}_nohash_0.wav"
    (words / "testing_list.txt").write_text(f"{known}\n\nyes/none.wav\nno/none.wav\n")
    message = r"testing_list\.txt:3: there is no clip 'yes/none\.wav', nor those of 1 other lines$"
    with pytest.raises(DatasetError, match=message):
        SpeechCommands(tmp_path)


@pytest.mark.parametrize(("encoding", "line", "byte"), [("latin-1", 2, "0xe9"), ("utf-16", 1, "0xff")])
def test_a_list_of_another_encoding_is_refused(tmp_path, encoding, line, byte):
    words = make(tmp_path) / "speech_commands"
    (words / "validation_list.txt").write_bytes("yes/a.wav\ncaf\u00e9/a.wav\n".encode(encoding))
    with pytest.raises(DatasetError, match=rf"validation_list\.txt:{line}: byte {byte} is not UTF-8; save the list as"):
        SpeechCommands(tmp_path)


def test_hidden_files_are_skipped_and_counted(tmp_path):
    plain = [count(SpeechCommands(make(tmp_path)), split) for split in SPLITS]
    for path in [*tmp_path.rglob("*.wav")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    with pytest.warns(HiddenFileWarning, match=r"speech_commands: 116 hidden files are skipped, such as bed/\._"):
        dataset = SpeechCommands(tmp_path)
    assert [count(dataset, split) for split in SPLITS] == plain
    assert len(dataset.background_noise()) == 2


@pytest.fixture(scope="module")
def handed_datasets(handed_cases, tmp_path_factory):
    """Those that ``make.py`` writes; its archives, which take a minute, are left out."""
    spec = importlib.util.spec_from_file_location("handed_make", handed_cases / "make.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    made.zipfile = types.SimpleNamespace(ZipFile=NoArchive, ZIP_DEFLATED=8)
    folder = tmp_path_factory.mktemp("handed")
    made.main(folder)
    return folder / "dataset"


class NoArchive(io.BytesIO):
    """Takes what is written to an archive and forgets it."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def writestr(self, *args):
        pass

    def open(self, *args, **kwargs):
        return NoArchive()

    def write(self, data):
        return len(data)


@pytest.mark.parametrize(("name", "words"), [("bom", ["yes", "no"]), ("spaces", ["zoom in", "zoom out"])])
def test_handed_lists_are_read(handed_datasets, name, words):
    dataset = SpeechCommands(handed_datasets / name, [*words, "bird"])
    assert count(dataset, "validation") == [9, 9, 9]
    assert count(dataset, "train") == [18, 18, 18]


def test_handed_faults_are_told(handed_datasets):
    with pytest.raises(DatasetError, match=r"validation_list\.txt:10: byte 0xe9 is not UTF-8"):
        SpeechCommands(handed_datasets / "latin1", ["oui", "bird"])
    with pytest.warns(HiddenFileWarning, match="82 hidden files"):
        dataset = SpeechCommands(handed_datasets / "macos", ["yes", "no", "bird"])
    assert count(dataset, "validation") == [9, 9, 9]
    with pytest.warns(SpeakerWarning, match="no speaker is known"):
        SpeechCommands(handed_datasets / "speakers", ["yes", "no", "bird"]).clips("train")
    dataset = SpeechCommands(handed_datasets / "speakers", ["yes", "no", "bird"], rule=SplitRule(r"^(\d+)_"))
    speakers = {split: {path.name[:8] for path in dataset.clips(split)[0]} for split in SPLITS}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values())) == 9


def test_an_empty_list_holds_nothing_out(tmp_path):
    make(tmp_path)
    (tmp_path / "speech_commands" / "testing_list.txt").write_text("")
    dataset = SpeechCommands(tmp_path)
    assert count(dataset, "train") == [6] * 8 + [12, 0]
    assert count(dataset, "validation") == [3] * 8 + [6, 0]


def test_every_word_clip_is_in_one_split(tmp_path):
    dataset = SpeechCommands(make(tmp_path, test_set=False))
    paths = [path for split in SPLITS for path in dataset.clips(split)[0]]
    on_disk = {*dataset.words_folder.glob("[a-z]*/*.wav")}
    assert len(paths) == len(on_disk)
    assert set(paths) == on_disk


def test_other_labels(tmp_path):
    make(tmp_path)
    dataset = SpeechCommands(tmp_path, labels=["go", "unknown", "stop"])
    assert count(dataset, "train") == [3, 24, 3]
    assert count(dataset, "test") == [2, 2, 2]
    dataset = SpeechCommands(tmp_path, labels=("yes", "no"))
    assert count(dataset, "train") == [3, 3]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0a2b400e_nohash_3.wav", "train"),
        ("b1426003_nohash_0.wav", "validation"),
        ("b49caed3_nohash_1.wav", "test"),
        ("b49caed3_nohash_4.wav", "test"),
    ],
)
def test_published_split_of_published_names(name, split):
    assert published_split(name) == split


def test_published_split_depends_on_the_speaker_alone():
    for split, speakers in SPEAKERS.items():
        for speaker in speakers[:5]:
            names = [f"{speaker}_nohash_{number}.wav" for number in range(4)]
            assert {published_split(name) for name in names} == {split}


def test_published_split_takes_ten_percent_each():
    splits = [published_split(f"{n:08x}_nohash_0.wav") for n in range(20_000)]
    assert splits.count("validation") / len(splits) == pytest.approx(0.1, abs=0.01)
    assert splits.count("test") / len(splits) == pytest.approx(0.1, abs=0.01)


def test_published_split_of_the_real_recordings(speech):
    clips = [clip for clip in speech.clips if clip.word != "_silence_"]
    assert [clip for clip in clips if published_split(clip.file) != clip.split] == []


def test_counts_of_the_official_test_set(speech, tmp_path):
    make(tmp_path, test_set=False)
    for clip in speech.clips:
        if clip.split == "test":
            path = tmp_path / "speech_commands_test_set" / clip.label / clip.published
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert len([*tmp_path.glob("speech_commands_test_set/*/*.wav")]) == 4890
    dataset = SpeechCommands(tmp_path)
    assert count(dataset, "test") == [419, 405, 425, 406, 412, 396, 411, 402, 408, 408]
    assert len(dataset.clips("test")[0]) == 4092


def test_real_recordings_in_the_published_layout(speech, tmp_path):
    labels = dict.fromkeys(("train", "validation"), ("yes", "go", "bed"))
    labels["test"] = ("yes", "go", "_unknown_", "_silence_")
    originals = speech.write(
        tmp_path, [clip for split in labels for label in labels[split] for clip in speech.take(split, label, 3)]
    )
    dataset = SpeechCommands(tmp_path, labels=("yes", "go", "unknown", "silence"))
    assert count(dataset, "train") == [3, 3, 3, 0]
    assert count(dataset, "validation") == [3, 3, 3, 0]
    assert count(dataset, "test") == [3, 3, 3, 3]
    for split in SPLITS:
        paths, _ = dataset.clips(split)
        loaded = load_clips(paths)
        assert loaded.problems == []
        for path, clip in zip(paths, loaded.clips, strict=True):
            length = len(originals[path])
            np.testing.assert_array_equal(clip[:length], originals[path])
            assert not clip[length:].any()


@pytest.mark.parametrize("version", ["_v0.01", "_v0.02"])
def test_folders_may_have_the_names_of_the_archives(tmp_path, version):
    plain = SpeechCommands(make(tmp_path / "plain"))
    words = (make(tmp_path / "named") / "speech_commands").rename(tmp_path / "named" / f"speech_commands{version}")
    for test_set in ("speech_commands_test_set", f"speech_commands_test_set{version}"):
        (tmp_path / "named" / "speech_commands_test_set").rename(tmp_path / "named" / test_set)
        for root in (tmp_path / "named", words):
            dataset = SpeechCommands(root)
            assert (dataset.words_folder, dataset.test_folder) == (words, tmp_path / "named" / test_set)
            for split in SPLITS:
                assert count(dataset, split) == count(plain, split)


def test_one_version_at_a_time(tmp_path):
    make(tmp_path)
    (tmp_path / "speech_commands_v0.01").mkdir()
    (tmp_path / "speech_commands_v0.02").mkdir()
    message = r"holds speech_commands and speech_commands_v0\.01 and speech_commands_v0\.02; give one of these folders$"
    with pytest.raises(DatasetError, match=message):
        SpeechCommands(tmp_path)
    assert SpeechCommands(tmp_path / "speech_commands").test_folder == tmp_path / "speech_commands_test_set"


# Own recordings

YES, NO, PLEASE = "نعم", "لا", "من فضلك"
PATTERN = r"^(\w+)-\d"


def own(root, *, speakers=("amal", "badr", "c", "d", "e"), takes=2, words=(YES, NO, PLEASE)):
    """Folders of words in Arabic, one with a blank: no lists, no noise."""
    for word in words:
        for speaker in speakers:
            for take in range(takes):
                write_wav(root / word / f"{speaker}-{take} {word}.wav", [take + 1])
    return root


def speakers_of(dataset, split):
    return {path.name.partition("-")[0] for path in dataset.clips(split)[0]}


def test_own_recordings_are_split_by_speaker(tmp_path):
    dataset = SpeechCommands(own(tmp_path), (YES, PLEASE, "unknown"), rule=SplitRule(PATTERN))
    splits = [speakers_of(dataset, split) for split in SPLITS]
    assert [len(names) for names in splits] == [3, 1, 1]
    assert set.union(*splits) == {"amal", "badr", "c", "d", "e"}
    assert [count(dataset, split) for split in SPLITS] == [[6, 6, 6], [2, 2, 2], [2, 2, 2]]
    assert dataset.has_test
    assert dataset.count_speakers() == {"train": 3, "validation": 1, "test": 1}
    again = SpeechCommands(own(tmp_path / "again"), (YES, NO), rule=SplitRule(PATTERN))
    assert [speakers_of(again, split) for split in SPLITS] == splits


def test_a_pattern_without_a_group_is_the_speaker(tmp_path):
    dataset = SpeechCommands(own(tmp_path), (YES, NO), rule=SplitRule(r"^\w+"))
    assert [len(speakers_of(dataset, split)) for split in SPLITS] == [3, 1, 1]


def test_parts_of_the_split(tmp_path):
    root = own(tmp_path, speakers=[f"s{n}" for n in range(20)], takes=1, words=(YES, NO))
    dataset = SpeechCommands(root, (YES, NO), rule=SplitRule(PATTERN, validation_percent=25, test_percent=15))
    assert [len(speakers_of(dataset, split)) for split in SPLITS] == [12, 5, 3]
    without = SpeechCommands(root, (YES, NO), rule=SplitRule(PATTERN, test_percent=0))
    assert not without.has_test
    with pytest.raises(DatasetError, match=f"no test clips for label '{YES}'$"):
        without.clips("test")


def test_without_speakers_takes_are_split_with_a_warning(tmp_path):
    dataset = SpeechCommands(own(tmp_path), (YES, NO, PLEASE))
    with pytest.warns(SpeakerWarning, match=r"no speaker is known, so each take counts as its own; one speaker may be"):
        paths = {split: dataset.clips(split)[0] for split in SPLITS}
    assert [len(paths[split]) for split in SPLITS] == [24, 3, 3]
    assert {path.parent.name for path in paths["test"]} == {YES, NO, PLEASE}
    assert dataset.count_speakers() == {}


def test_too_few_speakers_and_takes(tmp_path):
    dataset = SpeechCommands(own(tmp_path, speakers=("amal", "badr")), (YES, NO), rule=SplitRule(PATTERN))
    with pytest.raises(DatasetError, match=r"2 speaker\(s\): amal, badr; 3 are needed, for every split one$"):
        dataset.clips("train")
    dataset = SpeechCommands(own(tmp_path / "few", speakers=("amal", "badr"), takes=1), (YES, NO))
    with (
        pytest.warns(SpeakerWarning),
        pytest.raises(DatasetError, match=r"2 take\(s\); 3 are needed, for every split one$"),
    ):
        dataset.clips("train")


def test_file_names_without_a_speaker(tmp_path):
    write_wav(own(tmp_path) / YES / "other.wav", [1])
    dataset = SpeechCommands(tmp_path, (YES, NO), rule=SplitRule(PATTERN))
    message = r"1 file name\(s\) without a speaker by the pattern '.*', such as .*/other\.wav$"
    with pytest.raises(DatasetError, match=message):
        dataset.clips("train")


def test_published_names_and_lists_need_no_speaker(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count(SpeechCommands(make(tmp_path / "published")), "train")
        root = own(tmp_path / "own")
        for name in ("validation_list.txt", "testing_list.txt"):
            (root / name).write_text("")
        (root / "validation_list.txt").write_text(f"{YES}/amal-0 {YES}.wav\n{NO}/amal-0 {NO}.wav\n")
        assert count(SpeechCommands(root, (YES, NO)), "validation") == [1, 1]


def test_letters_with_marks_may_be_decomposed(tmp_path):
    composed = unicodedata.normalize("NFC", "ja, schön")
    decomposed = unicodedata.normalize("NFD", composed)
    root = own(tmp_path, words=(decomposed, NO))
    dataset = SpeechCommands(root, (composed, "unknown"), rule=SplitRule(PATTERN))
    assert count(dataset, "train") == [6, 6]


def test_noise_is_needed_for_silence_only(tmp_path):
    assert SpeechCommands(own(tmp_path), (YES, NO)).background_noise() == []
    with pytest.raises(DatasetError, match=r"_background_noise_: no WAV files in it; the label silence is cut from"):
        SpeechCommands(tmp_path, (YES, NO, "silence")).background_noise()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"speaker": 3}, TypeError, r"^speaker must be a regular expression, not 3$"),
        ({"speaker": "("}, ValueError, r"^speaker must be a regular expression, not '\(' \("),
        ({"validation_percent": 0}, ValueError, r"^validation_percent must be a .* above 0 and below 100, not 0$"),
        ({"test_percent": -1}, ValueError, r"^test_percent must be a finite number at least 0 and below 100, not -1$"),
        (
            {"validation_percent": 60, "test_percent": 40}, ValueError,
            r"^validation_percent and test_percent must leave some of 100 for training, not 60 and 40$",
        ),
    ],
)  # fmt: skip
def test_rules_of_splits_are_checked(values, error, message):
    with pytest.raises(error, match=message):
        SplitRule(**values)


# Noise


def test_background_noise(tmp_path):
    noises = SpeechCommands(make(tmp_path)).background_noise()
    assert [len(noise) for noise in noises] == [70, 50]
    assert all(noise.dtype == np.int16 for noise in noises)
    np.testing.assert_array_equal(noises[1], np.arange(50))


def test_background_noise_missing_or_broken(tmp_path):
    folder = make(tmp_path) / "speech_commands" / "_background_noise_"
    (folder / "tap.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"tap\.wav: expected a WAV file"):
        SpeechCommands(tmp_path).background_noise()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match=r"_background_noise_: no WAV files in it; the label silence is"):
        SpeechCommands(tmp_path).background_noise()
    folder.rmdir()
    with pytest.raises(DatasetError, match=r"_background_noise_: no WAV files in it; the label silence is"):
        SpeechCommands(tmp_path).background_noise()


# Clips


def test_short_clips_are_padded_at_the_end(tmp_path):
    lengths = [1, 9, 10]
    paths = [write_wav(tmp_path / f"{n}.wav", np.arange(1, n + 1)) for n in lengths]
    clips, kept, problems = load_clips(paths, samples=10)
    assert clips.dtype == np.int16
    assert clips.shape == (3, 10)
    for clip, n in zip(clips, lengths, strict=True):
        assert clip.tolist() == [*range(1, n + 1)] + [0] * (10 - n)
    assert kept.tolist() == [0, 1, 2]
    assert problems == []


def test_long_clips_keep_their_loudest_part(tmp_path):
    word = [0] * 7 + [3, -9, 5, 2] + [0] * 9
    loud = np.full(30, -32768)
    paths = [write_wav(tmp_path / f"{n}.wav", samples) for n, samples in enumerate([word, loud, [0, 0, 1, 0, 0]])]
    clips, _, problems = load_clips(paths, samples=4)
    assert clips.tolist() == [[3, -9, 5, 2], [-32768] * 4, [0, 0, 1, 0]]
    assert problems == []


def test_clips_of_other_rates_and_channels_are_converted(tmp_path):
    slow = write_wav(tmp_path / "slow.wav", [100, 200] * 50, rate=8000)
    stereo = write_wav(tmp_path / "stereo.wav", [1, 3, 5, 7], channels=2)
    clips, _, problems = load_clips([slow, stereo], samples=200)
    assert problems == []
    np.testing.assert_array_equal(clips[0], read_wav(slow, resample=True))
    assert clips[1, :3].tolist() == [2, 6, 0]


def test_default_length_and_no_paths():
    loaded = load_clips([])
    assert loaded.clips.shape == (0, 16_000)
    assert loaded.kept.shape == (0,)
    assert loaded.kept.dtype == np.int64


def test_unusable_files_are_named_and_skipped(tmp_path):
    good = write_wav(tmp_path / "good.wav", [1, 2, 3])
    last = write_wav(tmp_path / "last.wav", [4])
    slow = write_wav(tmp_path / "slow.wav", [1], rate=3999)
    silent = write_wav(tmp_path / "silent.wav", [])
    empty = tmp_path / "empty.wav"
    empty.touch()
    cut = write_wav(tmp_path / "cut.wav", [1] * 50)
    cut.write_bytes(cut.read_bytes()[:-10])
    absent = tmp_path / "absent.wav"
    clips, kept, problems = load_clips(
        [slow, good, silent, empty, cut, absent, last], samples=3
    )
    assert clips.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert kept.tolist() == [1, 6]
    assert len(problems) == 5
    for problem, path in zip(problems, [slow, silent, empty, cut, absent], strict=True):
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem


@pytest.mark.parametrize("samples", [0, -5])
def test_clip_length_is_checked(samples):
    with pytest.raises(ValueError, match=f"^samples must be at least 1, not {samples}$"):
        load_clips([], samples=samples)


# Refusals


def test_missing_folders(tmp_path):
    with pytest.raises(DatasetError, match=r"none: no such folder$"):
        SpeechCommands(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"expected a folder speech_commands, or word folders"):
        SpeechCommands(tmp_path)
    make(tmp_path)
    with pytest.raises(DatasetError, match=r"elsewhere: no such folder$"):
        SpeechCommands(tmp_path, test_root=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("speech_commands/left", r"speech_commands: no folder for left$"),
        ("speech_commands_test_set/go", r"speech_commands_test_set: no folder for go$"),
        ("speech_commands_test_set/_unknown_", r"test_set: no folder for _unknown_$"),
        ("speech_commands_test_set/_silence_", r"test_set: no folder for _silence_$"),
    ],
)
def test_missing_label_folder(tmp_path, folder, message):
    (make(tmp_path) / folder).rename(tmp_path / "away")
    with pytest.raises(DatasetError, match=message):
        SpeechCommands(tmp_path)


def test_empty_label(tmp_path):
    make(tmp_path)
    for clip in (tmp_path / "speech_commands" / "up").iterdir():
        if published_split(clip.name) == "validation":
            clip.unlink()
    dataset = SpeechCommands(tmp_path)
    dataset.clips("train")
    with pytest.raises(DatasetError, match=r"speech_commands: no validation clips for label 'up'$"):
        dataset.clips("validation")
    for clip in (tmp_path / "speech_commands_test_set" / "_silence_").iterdir():
        clip.unlink()
    with pytest.raises(DatasetError, match=r"test_set: no test clips for label 'silence'$"):
        dataset.clips("test")


def test_no_other_words(tmp_path):
    make(tmp_path)
    for word in OTHER_WORDS:
        for clip in (tmp_path / "speech_commands" / word).iterdir():
            clip.unlink()
    with pytest.raises(DatasetError, match=r"no train clips for label 'unknown'$"):
        SpeechCommands(tmp_path).clips("train")


def test_clip_in_both_lists(tmp_path):
    words = make(tmp_path) / "speech_commands"
    (words / "validation_list.txt").write_text("up/a.wav\nup/b.wav\n")
    (words / "testing_list.txt").write_text("up/b.wav\nup/c.wav\n")
    with pytest.raises(DatasetError, match=r"1 clip\(s\) in both .*, such as up/b\.wav$"):
        SpeechCommands(tmp_path)


def test_unknown_split(tmp_path):
    message = r"^split must be one of train, validation, test, not 'val'$"
    with pytest.raises(ValueError, match=message):
        SpeechCommands(make(tmp_path)).clips("val")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((), r"^labels must be a sequence of at least one name, not \(\)$"),
        ("yes", r"^labels must be a sequence of at least one name, not 'yes'$"),
        (("yes", "no", "yes"), r"^labels must be distinct, not yes, no, yes$"),
        (("yes", "_unknown_"), r"^a label must be a plain word, not '_unknown_'$"),
        (("../yes",), r"^a label must be a plain word, not '\.\./yes'$"),
        (("yes", ""), r"^a label must be a plain word, not ''$"),
        (("yes", 3), r"^a label must be a plain word, not 3$"),
    ],
)
def test_labels_are_checked(tmp_path, labels, message):
    with pytest.raises(DatasetError, match=message):
        SpeechCommands(make(tmp_path), labels=labels)
