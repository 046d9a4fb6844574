"""What an alarm suspects: what changed since the last good night."""

import re
from pathlib import Path

from harness.history.suspects import differences
from tests.history.nights import LOST, Command, alarm_of, judged, write_night


def test_nothing_known_that_changed_is_said_so(tmp_path: Path, command: Command) -> None:
    for night in range(4):
        write_night(tmp_path, night, lost=LOST if night == 3 else ())
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 1
    assert "suspect: nothing that a run's fingerprint knows changed" in said


def test_words_of_a_runs_folder_steer_no_terminal(tmp_path: Path, command: Command) -> None:
    write_night(tmp_path, 0, facts={"sglang": "0.5.23"})
    write_night(tmp_path, 1, lost=LOST, facts={"sglang": "\x1b[2J[bold]0.5.24\n::error::x"})
    _, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert "0.5.23 -> ?[bold]0.5.24" in said
    assert "\x1b[2J" not in said
    assert "\n::error::" not in said


def test_a_night_that_was_not_measured_says_what_changed_since_the_last_good_one(
    tmp_path: Path, command: Command
) -> None:
    """An ERROR is no point on a chart; what it is due to is asked all the same."""
    good = write_night(tmp_path, 0, facts={"package numpy": "1", "package zstandard": "1", "packages": "all 2: aa"})
    new = {"package numpy": "2", "package zstandard": "1", "packages": "all 2: bb", "sglang": "0.5.24"}
    bad = write_night(tmp_path, 1, facts=new, errors=["compressed: compression did not run right"])
    code, said = command("history", "--reports", tmp_path / "reports")
    assert code == 0
    assert f"ERROR newest run {bad.path.name}: compressed: compression did not run right" in said
    assert [
        line.strip() for line in said.split(f"since the last good run, {good.path.name}:")[1].splitlines()[1:3]
    ] == [
        "SGLang: sglang: 0.5.23 -> 0.5.24",
        # The hash of all packages says nothing beside the one that changed.
        "packages beside SGLang: package numpy: 1 -> 2",
    ]
    assert re.search(r"2 runs: 1 (PASS|INCONCLUSIVE), 1 ERROR", said)


def test_a_fact_that_runs_of_before_did_not_keep_is_no_change() -> None:
    before, after = {"packages": "all 2: aa"}, {"packages": "all 2: aa", "package numpy": "2"}
    assert differences(before, after) == []


def test_files_that_changed_are_one_suspect_that_names_them(tmp_path: Path) -> None:
    names = [f"harness judge/file{number}.py" for number in range(9)]
    write_night(tmp_path, 0, facts=dict.fromkeys(names, "a" * 64))
    write_night(tmp_path, 1, lost=LOST, facts={**dict.fromkeys(names[:-1], "b" * 64), names[-1]: "a" * 64})
    [change] = alarm_of(judged(tmp_path / "reports")).changes
    assert str(change.what).startswith("harness: harness: other files: judge/file0.py, judge/file1.py")
    assert str(change.what).endswith("judge/file4.py and 3 more")


def test_thresholds_that_changed_are_suspects_by_name(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    file = tmp_path / "thresholds.yaml"
    file.write_text(file.read_text().replace("max_drop: 0.1", "max_drop: 0.2"))
    write_night(tmp_path, 1, lost=LOST)
    [change] = alarm_of(judged(tmp_path / "reports")).changes
    assert str(change.what) == "thresholds: threshold boolq.max_drop: 0.1 -> 0.2"
