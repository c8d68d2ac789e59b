from pathlib import Path

import pytest

from lmu_hw.flows.folder import MANIFEST, check_folder, write_folder


def test_a_folder_appears_whole(tmp_path: Path):
    (tmp_path / "source").write_bytes(b"copied")
    target = tmp_path / "deep" / "out"
    write_folder(target, {"a/b": b"text", "c": tmp_path / "source"})
    assert (target / "a" / "b").read_bytes() == b"text"
    assert (target / "c").read_bytes() == b"copied"


def test_what_was_there_stays_if_writing_fails(tmp_path: Path):
    target = tmp_path / "out"
    write_folder(target, {"a": b"earlier"})
    with pytest.raises(FileNotFoundError):
        write_folder(target, {"a": b"later", "b": tmp_path / "nothing"})
    assert (target / "a").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_earlier_results_are_replaced(tmp_path: Path):
    target = tmp_path / "out"
    check_folder(target, "schema")
    target.mkdir()
    check_folder(target, "schema")
    for text in ("not json", "[]", '{"schema": "other"}'):
        (target / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match="holds other files than a result of this command"):
            check_folder(target, "schema")
    (target / MANIFEST).write_text('{"schema": "schema"}')
    check_folder(target, "schema")
