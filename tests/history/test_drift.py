"""A drift of two points, which no night sees by itself: what the memory makes of it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.history.store import FILE
from harness.records.run import write_lines
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from tests.history.nights import SUITE, Command, alarm_of, flicker, judged, write_night

DRIFT, BEGUN = 20, 12


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty nights of 1,314 questions, of which 4 % differ from night to night; an upgrade costs 2 points."""
    folder, rng, questions = tmp_path_factory.mktemp("drift"), np.random.default_rng(0), 1314
    before = flicker(rng, questions, 0.04)
    after = before.copy()
    after[rng.choice(np.flatnonzero(before == 1), 26, replace=False)] = 0.0
    for night in range(DRIFT):
        upgraded = night >= BEGUN
        write_night(
            folder,
            night,
            questions=questions,
            wrong=np.flatnonzero(rng.random(questions) >= before).tolist(),
            lost=np.flatnonzero(rng.random(questions) >= (after if upgraded else before)).tolist(),
            facts={"sglang": "0.5.24" if upgraded else "0.5.23", "harness": f"{night // 3:064d}"},
        )
    return folder / "reports"


def test_a_planted_drift_is_named_with_its_night_and_its_suspect(drift: Path, command: Command) -> None:
    code, said = command("history", "--reports", drift)
    assert code == 1
    alarm = alarm_of(judged(drift))
    nights = sorted(path.name for path in drift.iterdir() if path.name.endswith(SUITE))
    assert alarm.since.run_id == nights[BEGUN]
    assert alarm.by == pytest.approx(0.02, abs=0.005)
    # What changed every third night is no better suspect than what changed with the night it began with.
    assert [(change.what.name, change.run.run_id) for change in alarm.changes][:2] == [
        ("sglang", nights[BEGUN]),
        ("harness", nights[BEGUN]),
    ]
    assert f"WORSE boolq compressed: worse by 2.0 points since {nights[BEGUN]}" in said
    assert f"suspect: SGLang: sglang: 0.5.23 -> 0.5.24 (with {nights[BEGUN]})" in said
    assert 24 <= len(alarm.items) <= 32
    svg = (drift / f"history-{SUITE}.svg").read_text()
    assert "boolq: accuracy of both arms" in svg
    assert "http" not in svg.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")


def test_a_single_night_of_it_shows_nothing(drift: Path) -> None:
    """What the memory is for: no run by itself could see 2 points, since its own margin is 10."""
    reports = [RunFolder(path) for path in drift.iterdir() if path.name.endswith(SUITE)]
    assert {judged(drift).runs[number].verdict for number in range(DRIFT)} == {"PASS"}
    assert len(reports) == DRIFT


def turned(one: Path, other: Path) -> tuple[int, int]:
    before, after = (
        [bool(its.right) for its in read_samples(run / "compressed" / "samples-boolq.jsonl")] for run in (one, other)
    )
    pairs = list(zip(before, after, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def test_two_runs_side_by_side(drift: Path, command: Command) -> None:
    nights = sorted(path for path in drift.iterdir() if path.name.endswith(SUITE))
    code, said = command("compare", nights[BEGUN - 1], nights[BEGUN])
    assert code == 0
    assert "SGLang: sglang: 0.5.23 -> 0.5.24" in said
    lost, won = turned(nights[BEGUN - 1], nights[BEGUN])
    assert lost - won > 10
    assert f"boolq compressed: {lost} lost, {won} won of 1314" in said
    assert re.search(r"  lost: question (\d+) \(document \1\): '(yes|no)' -> '(yes|no)', right is '\2'", said)
    code, said = command("compare", nights[0], nights[0])
    assert "what they depend on: no difference" in said
    assert "boolq compressed: 0 lost, 0 won of 1314" in said


def test_answers_side_by_side_are_those_of_the_filter_that_is_judged(tmp_path: Path, command: Command) -> None:
    before, after = write_night(tmp_path, 0), write_night(tmp_path, 1, lost=[0])
    for night in (before, after):
        file = night.arm("compressed").samples("boolq")
        strict = {"filter": "strict", "answer": "?", "target": "?"}
        write_lines(file, [sample.model_copy(update=strict) for sample in read_samples(file)])
    _, said = command("compare", before.path, after.path)
    assert re.search(r"  lost: question 0 .*: 'yes' -> 'no', right is 'yes'", said), said


def test_what_was_pruned_is_compared_by_what_the_memory_holds(drift: Path, tmp_path: Path, command: Command) -> None:
    nights = sorted(path for path in drift.iterdir() if path.name.endswith(SUITE))
    judged(drift)
    copy = tmp_path / nights[BEGUN].name
    shutil.copytree(nights[BEGUN], copy)
    shutil.rmtree(copy / "compressed")
    shutil.rmtree(copy / "baseline")
    _, said = command("compare", nights[BEGUN - 1], copy)
    lost, won = turned(nights[BEGUN - 1], nights[BEGUN])
    assert f"boolq compressed: {lost} lost, {won} won of 1314" in said
    assert re.search(r"  lost: question (\d+) \(document \1\): '(yes|no)' -> not kept, right is '\2'", said)


def test_the_database_is_no_only_copy(drift: Path) -> None:
    before = judged(drift)
    (drift / FILE).unlink()
    after = judged(drift)
    assert after == before
