"""The table of releases: what was counted, what was read, and what is not as it should be."""

import json
from typing import Any

import pytest

from harness.judge.rank_log import RankLog
from harness.places import ROOT
from suites.compat.__main__ import KEPT
from suites.compat.count import Counted, read_counts
from suites.compat.release import Asked
from suites.compat.table import CLASSES, Seen, Table, lines, merged, placed, wrong

FACTS = {"layers": 3}


def asked(**changed: Any) -> Asked:
    usual: dict[str, Any] = {
        "version": "0.5.22",
        "suites": 5,
        "spelled": {},
        "problems": [],
        "passed": 10,
        "skipped": 2,
        "failed": [],
    }
    return Asked(**usual | changed)


def counted(attention: int | None = 3, ffn: int | None = 3, **changed: Any) -> Counted:
    usual: dict[str, Any] = {
        "sites": {"attention": attention, "ffn": ffn},
        "layers": 3,
        "prefills": 2,
        "decodes": 3,
        "in_decode": 0,
        "known_answer": True,
    }
    return Counted(**usual | changed)


def seen(counts: dict[str, Counted] | None = None, **changed: Any) -> Seen:
    usual: dict[str, Any] = {"date": "2026-11-26", "asked": asked(), "counted": counts or {}, "failed": {}}
    return Seen(**usual | changed)


def forward(mode: str, tokens: int, **calls: int) -> dict[str, Any]:
    return {"mode": mode, "tokens": tokens, "sites": {site: {"calls": count} for site, count in calls.items()}}


def test_sums_are_counted_by_prefill_and_none_where_prefills_or_ranks_differ() -> None:
    passes = [forward("EXTEND", 5, attention=3), forward("EXTEND", 2, attention=3), forward("DECODE", 1, ffn=1)]
    found = read_counts([RankLog(FACTS, passes), RankLog(FACTS, passes)], known=True)
    assert found == counted(3, 0, prefills=2, decodes=1, in_decode=2)
    other = [forward("EXTEND", 5, attention=3, ffn=1), *passes[1:]]
    assert read_counts([RankLog(FACTS, passes), RankLog(FACTS, other)], known=True).sites["ffn"] is None


def test_what_is_as_the_table_of_coverage_says_is_not_wrong() -> None:
    assert wrong("0.5.23", seen({"random-llama": counted(), "random-qwen3-moe": counted(3, 0)})) == []
    assert wrong("0.5.16", seen({"random-llama": counted(0, 0)})) == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (seen({"random-llama": counted(3, 0)}), "{'attention': 3, 'ffn': 3} were expected"),
        (seen({"random-qwen3": counted(in_decode=4)}), "4 sums were compressed in decode"),
        (seen({"random-qwen3": counted(decodes=0)}), "0 passes of decode prove nothing"),
        (seen({"random-qwen3": counted(known_answer=False)}), "does not know the one thing"),
        (seen(failed={"random-llama": "it died"}), "random-llama: it died"),
        (seen(asked=asked(problems=["refuses --x"])), "refuses --x"),
        (seen(asked=asked(failed=["test_gate"])), "the test test_gate failed"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(found: Seen, says: str) -> None:
    [said] = wrong("0.5.23", found)
    assert says in said


def test_a_release_that_the_table_of_coverage_does_not_know_is_wrong() -> None:
    assert "does not know this release" in wrong("0.6.0", seen({"random-llama": counted()}))[0]


def test_a_row_has_what_was_counted_and_marks_what_was_only_read() -> None:
    table = Table(releases={"0.5.22": seen({"random-qwen3": counted()}), "0.5.9": seen()})
    _head, _rule, oldest, row = lines(table)
    assert oldest.startswith("| 0.5.9 | taken | 10 pass | unknown")
    assert "| 3 + 3 |" in row
    assert row.endswith("| *attention, read* |")


def test_a_server_that_was_not_started_again_keeps_its_count_and_one_that_failed_does_not() -> None:
    old = Table(releases={"0.5.22": seen({"random-llama": counted(), "random-qwen3": counted()})})
    new = {"0.5.22": seen({"random-qwen2": counted()}, failed={"random-qwen3": "died"}), "0.5.23": seen()}
    found = merged(old, new).releases
    assert found["0.5.22"].counted.keys() == {"random-llama", "random-qwen2"}
    assert found.keys() == {"0.5.22", "0.5.23"}


def test_the_page_has_the_table_of_what_is_kept() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    table = Table.model_validate_json(KEPT.read_text(encoding="utf-8"))
    assert placed(page, table) == page
    assert not [fault for release, found in table.releases.items() for fault in wrong(release, found)]
    assert json.loads(KEPT.read_text(encoding="utf-8"))["releases"].keys() >= {"0.5.11", "0.5.23"}
    assert len(CLASSES) == 4
