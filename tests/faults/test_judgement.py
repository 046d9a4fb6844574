"""The campaign's own judgement: an outcome that is wrong is reported as wrong, each way of it by itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suites.faults import __main__ as campaign
from suites.faults.invariants import differences, folder_problems, lost_problems, verdict_problems
from suites.faults.kinds import ERROR, PASS, Expected, Kind, Seen, judge
from suites.faults.lab import Ended, Lab
from suites.faults.table import document

pytestmark = pytest.mark.usefixtures("no_strays")


def ended(code: int | None = ERROR, said: str = "ERROR\nthe server ended", **changed: Any) -> Ended:
    usual: dict[str, Any] = {"seconds": 3.0, "peak_mb": 100.0, "strays": ()}
    return Ended(code=code, said=said, **{**usual, **changed})


def kind(act: Callable[[Lab], Seen] | None = None, **expected: Any) -> Kind:
    usual: dict[str, Any] = {"codes": (ERROR,), "says": "server ended", "within_s": 60.0}
    act = act or (lambda _lab: Seen(ended=[ended()]))
    return Kind(name="a kind", family="family", where="there", expected=Expected(**{**usual, **expected}), act=act)


def test_an_outcome_as_expected_is_one() -> None:
    row = judge(kind(), Seen(ended=[ended()]), 3.0, commit="abc")
    assert (row.problems, row.seen) == ((), "ERROR")


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        (ended(PASS), "ended with PASS"),
        (ended(-9), "ended with killed"),
        (ended(None), "did not end"),
        (ended(said="ERROR\nsomething else"), "does not say"),
        (ended(seconds=61.0), "took 61 s, more than 60"),
        (ended(strays=("sglang serve",)), "left a process: sglang serve"),
        (ended(said="server ended\nTraceback (most recent call last):\nKeyError: 'text'"), "a traceback: KeyError"),
        (ended(said="server ended \x1b[31m"), "control characters"),
        (ended(said="server ended\n  ::error::injected"), "a command to a CI system"),
    ],
)
def test_a_planted_wrong_outcome_is_reported(planted: Ended, says: str) -> None:
    row = judge(kind(), Seen(ended=[planted]), 3.0, commit="abc")
    assert [problem for problem in row.problems if says in problem], row.problems


def test_one_wrong_outcome_among_many_is_reported() -> None:
    row = judge(kind(), Seen(ended=[ended(), ended(PASS), ended()]), 3.0, commit="abc")
    assert len(row.problems) == 1
    assert row.seen == "PASS, ERROR"


def write_run(folder: Path, **changed: str) -> Path:
    report = {"exit_code": PASS, "tasks": {"boolq": 1}, "run_id": folder.name}
    files = {
        "report.json": json.dumps(report),
        "baseline/requests.jsonl": "".join(f'{{"task": "boolq", "doc_id": {number}}}\n' for number in range(20)),
        "baseline/samples-boolq.jsonl": '{"doc_id": 0, "right": true}\n{"doc_id": 1, "right": false}\n',
    }
    for name, text in {**files, **changed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_whole_run_has_nothing_half_written_and_equals_itself(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "first"), write_run(tmp_path / "second")
    assert list(folder_problems(first)) == []
    assert list(differences(first, second)) == []
    assert list(verdict_problems(first, ended(PASS))) == []


@pytest.mark.parametrize(
    ("name", "text", "torn", "says"),
    [
        ("report.json", '{"exit_code": 0', False, "report.json is half-written"),
        ("baseline/samples-boolq.jsonl", '{"a": 1}\n{"b"\n{"c": 1}\n', True, "line 2 is half-written"),
        ("baseline/samples-boolq.jsonl", '{"a": 1}\n{"b"', False, "its last line is half-written"),
        ("run.json.partial", "{}", False, "run.json.partial was left behind"),
    ],
)
def test_a_file_that_is_there_in_part_is_reported(
    tmp_path: Path, *, name: str, text: str, torn: bool, says: str
) -> None:
    folder = write_run(tmp_path / "run", **{name: text})
    assert [problem for problem in folder_problems(folder, torn=torn) if says in problem]


def test_what_a_kill_may_leave_is_not_reported(tmp_path: Path) -> None:
    torn = {"baseline/samples-boolq.jsonl": '{"a": 1}\n{"b"', "run.json.partial": "{"}
    assert list(folder_problems(write_run(tmp_path / "run", **torn), torn=True)) == []


def test_an_exit_code_that_the_report_does_not_know_is_reported(tmp_path: Path) -> None:
    assert list(verdict_problems(write_run(tmp_path / "run"), ended(ERROR))) == ["exit code 3, but the report says 0"]
    (tmp_path / "run" / "report.json").unlink()
    assert list(verdict_problems(tmp_path / "run", ended(ERROR))) == ["there is no report"]
    assert list(verdict_problems(None, ended(ERROR))) == ["there is no run's folder"]


def test_lost_answers_are_reported_beyond_the_batch_that_was_on_its_way(tmp_path: Path) -> None:
    lab, folder = Lab(tmp_path), write_run(tmp_path / "run")
    line = {"arm": "baseline", "event": "answered", "time": 1.0}
    lab.journal_file.write_text(json.dumps({**line, "number": 28}) + "\n")
    assert list(lost_problems(lab, folder)) == []
    lab.journal_file.write_text(json.dumps({**line, "number": 29}) + "\n")
    assert list(lost_problems(lab, folder)) == ["baseline: 29 answers were given, 20 are on disk"]


def test_a_resumed_run_that_measured_something_else_is_reported(tmp_path: Path) -> None:
    unbroken, resumed = write_run(tmp_path / "unbroken"), write_run(tmp_path / "resumed")
    samples = resumed / "baseline" / "samples-boolq.jsonl"
    samples.write_text('{"doc_id": 0, "right": true}\n')
    assert list(differences(unbroken, resumed)) == ["baseline/samples-boolq.jsonl differs"]
    (resumed / "report.json").write_text('{"exit_code": 1, "tasks": {"boolq": 1}}')
    assert "the report's exit_code differs: 1" in list(differences(unbroken, resumed))


def test_the_table_counts_what_is_wrong_and_hides_no_pipe() -> None:
    rows = [
        judge(kind(), Seen(ended=[ended()]), 1.0, commit="abc"),
        judge(kind(), Seen(ended=[ended(PASS)], problems=["a | b"]), 1.0, commit="abc"),
        judge(kind(), Seen(note="not run: no tmpfs", cases=0), 1.0, commit="abc"),
    ]
    text = document(rows, form="all kinds")
    assert "**2 kinds, 2 faults; 1 kinds as expected, 1 not.**" in text
    assert "a \\| b" in text
    assert [line.rsplit("|", 2)[1].strip() for line in text.splitlines() if line.startswith("| a kind")] == [
        "yes",
        "**no**",
        "not run",
    ]


def test_a_kind_that_breaks_the_campaign_itself_is_a_failure(tmp_path: Path) -> None:
    def act(_lab: Lab) -> Seen:
        raise ValueError("planted")

    (tmp_path / "base" / "bin").mkdir(parents=True)
    row = campaign.tried(Lab(tmp_path / "base"), tmp_path, "abc", 0, kind(act))
    assert row.problems == ("the campaign itself failed: ValueError('planted')",)


def test_there_are_enough_kinds_and_no_name_twice() -> None:
    every = campaign.chosen_kinds(short=False, with_real=True)
    names = [f"{kind.family}: {kind.name}" for kind in every]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
    short = campaign.chosen_kinds(short=True, with_real=False)
    assert 20 <= len(short) < len(every)
    assert not any(kind.real for kind in short)


@pytest.mark.slow
def test_a_run_that_is_wrongly_expected_to_fail_is_reported_by_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: a real run passes, the plant says that it must not, and the campaign ends with 1."""

    def act(lab: Lab) -> Seen:
        return Seen(ended=[lab.run()])

    def run_with(code: int, part: str) -> int:
        monkeypatch.setattr(campaign, "chosen_kinds", lambda **_: [kind(act, codes=(code,), says="")])
        return campaign.main(["--out", str(tmp_path), "--into", str(tmp_path / part)])

    assert run_with(ERROR, "first") == 1
    assert "1 not.**" in (tmp_path / "reliability.md").read_text()
    assert run_with(PASS, "second") == 0
    assert run_with(ERROR, "second") == 0, "what an earlier part has tried is not tried again"
