import os
import time
from pathlib import Path

import pytest

from harness.config.suite import Source
from harness.prepare.data import data_place, prepare
from harness.prepare.unused import UNUSED_S, note_use


def aged(folder: Path, seconds: float) -> Path:
    """Make a folder that was used so long ago."""
    folder.mkdir(parents=True)
    (folder / "file").touch()
    os.utime(folder, (time.time() - seconds,) * 2)
    return folder


def test_what_nobody_used_for_a_month_goes_and_what_is_used_now_stays(tmp_path: Path) -> None:
    mine, old = aged(tmp_path / "data-mine", 2 * UNUSED_S), aged(tmp_path / "data-old", UNUSED_S + 60)
    young, other = aged(tmp_path / "data-young", UNUSED_S - 60), aged(tmp_path / "models", 2 * UNUSED_S)
    note_use(mine, "data-*")
    assert [folder.exists() for folder in (mine, old, young, other)] == [True, False, True, True]
    assert time.time() - mine.stat().st_mtime < UNUSED_S


def test_where_there_is_nothing_yet_nothing_happens(tmp_path: Path) -> None:
    note_use(tmp_path / "not" / "there", "*")
    note_use(tmp_path / "data-new", "data-*")
    assert not list(tmp_path.iterdir())


def test_prepared_data_of_long_ago_goes_when_other_data_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "mine.jsonl").write_text('{"question": "q"}\n')
    first, second = data_place(Source.FOLDER, raw), data_place(Source.FOLDER, tmp_path)
    prepare(Source.FOLDER, first, folder=raw, files=["mine.jsonl"])
    os.utime(first, (time.time() - 2 * UNUSED_S,) * 2)
    prepare(Source.FOLDER, second, folder=raw, files=["mine.jsonl"])
    assert not first.exists()
    assert second.exists()
