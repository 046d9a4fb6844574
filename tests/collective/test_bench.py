"""The report of the speeds: its bars, its ratios and its bytes. Speed itself is not tested."""

import json
import os
from pathlib import Path

import pytest

from suites import publish
from suites.ranks.pool import Pool
from suites.ranks.timing import PLAIN, Spread, Timing
from suites.speed import bench
from suites.speed.bench import (
    BYTES,
    NAIVE,
    NAIVE_FP32,
    NAIVE_UPSTREAM,
    ONE_SHOT,
    TWO_SHOT,
    contenders,
    main,
    ratios,
    sent,
    times,
    verdict,
    words,
)


def ratio(median: float) -> Spread:
    return Spread(median, median / 2, median * 2)


def timings(**rounds: float) -> dict[str, Timing]:
    names = {"plain": PLAIN, "ours": ONE_SHOT, "two": TWO_SHOT, "upstream": NAIVE_UPSTREAM, "fp32": NAIVE_FP32}
    return {names[name]: Timing((seconds,) * 3, (rounds["plain"],) * 3) for name, seconds in rounds.items()}


@pytest.mark.parametrize(
    ("over_plain", "upstream", "fp32", "expected"),
    [
        (2.5, 2.5, 2.5, "met"),
        (2.51, 2.5, 9, "missed: 2.51 x plain"),
        (1, 2.49, 9, f"missed: only 2.49 x faster than {NAIVE[NAIVE_UPSTREAM]}"),
        (3, 9, 2, f"missed: 3.00 x plain, only 2.00 x faster than {NAIVE[NAIVE_FP32]}"),
    ],
)
def test_the_medians_are_held_to_the_bars(over_plain: float, upstream: float, fp32: float, expected: str) -> None:
    naive = {NAIVE_UPSTREAM: ratio(upstream), NAIVE_FP32: ratio(fp32)}
    assert verdict(ratio(over_plain), naive) == expected


def test_what_was_not_run_is_not_called_met() -> None:
    assert verdict(ratio(1), {}) == "met, as far as run"


def test_ratios_and_times_of_a_row() -> None:
    row = timings(plain=0.010, ours=0.020, two=0.030, upstream=0.060, fp32=0.080)
    assert times(row) == ["10.0", "20.0", "30.0", "60.0", "80.0"]
    expected = ["2.00 (2.00 to 2.00)", "3.00 (3.00 to 3.00)", "3.00 (3.00 to 3.00)", "4.00 (4.00 to 4.00)"]
    assert ratios(2, row) == [*expected, "met"]
    assert ratios(4, row) == [*expected, "-"], "the bar is for two ranks"


def test_a_contender_that_did_not_run_is_said_not_to_have() -> None:
    row = timings(plain=0.010, ours=0.020, two=0.030)
    assert times(row)[-2:] == ["not run", "not run"]
    assert ratios(2, row)[2:] == ["not run", "not run", "met, as far as run"]


@pytest.mark.parametrize(("free_gib", "run"), [(64, 5), (1, 3)])
def test_naive_versions_run_only_where_they_fit(monkeypatch: pytest.MonkeyPatch, free_gib: int, run: int) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": free_gib << 18}.get)
    assert len(contenders(4, (8192, 8192))) == run


def test_more_ranks_than_cores_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert "\n4 and 8 ranks share 3 cores" in words([2, 4, 8], 9, (0.0, 1.0))
    assert "share" not in words([2, 3], 9, (0.0, 1.0))


@pytest.mark.parametrize(("ranks", "one_shot"), [(2, "0.5312"), (4, "1.0625")])
def test_bytes_are_the_models_and_two_shot_sends_half(pool: Pool, ranks: int, one_shot: str) -> None:
    row = sent(pool, ranks, (8, 64))
    assert len(row) == len(BYTES) - 2
    assert row[-2:] == [one_shot, "0.5312"]  # half, and 4 bytes of scale on 64 of values


def test_bytes_that_differ_from_the_model_are_an_error(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "wire_bytes", lambda *_, **__: 1)
    with pytest.raises(ValueError, match=r"int8_token/one_shot, 2 ranks, .* says 1 bytes, ranks sent \[544"):
        sent(pool, 2, (8, 64))


def test_a_run_prints_and_keeps_a_row_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "REPORTS", tmp_path)
    assert main(["--ranks", "2", "--sizes", "3x64,5x128", "--rounds", "1"]) == 0
    report = tmp_path / "latest-bench" / "report.md"
    text = report.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    data = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))["bench"]
    assert [row["T x H"] for row in data["ratios"]] == ["3 x 64", "5 x 128"]
    for title in ("Ratios", "Milliseconds", "Megabytes"):
        section = text.partition(f"## {title}")[2].partition("##")[0]
        rows = [line for line in section.splitlines() if line.startswith("| 2")]
        assert [row.split("|")[2].strip() for row in rows] == ["3 x 64", "5 x 128"], title
