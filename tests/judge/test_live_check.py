import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.judge.engagement import Engagement, RankCounts
from harness.judge.live_check import CheckedSums, read_live_check
from harness.report.live_check import live_check_line, worst_layers
from harness.sglang_plugin.policy import Choice, Policy, Rule, uniform
from tests.rank_logs import LAYERS, WIDTH, checked, tally, write_live_check

CALLS = 2 * LAYERS
POLICY = uniform(Choice(codec="int8_token"))


def read(folder: Path, *, tp: int = 2, calls: int = CALLS, policy: Policy = POLICY) -> CheckedSums:
    """Read the checks of an arm whose ranks logged so many calls."""
    ranks = [
        RankCounts(
            rank=rank, calls=calls, elements=0, wire_bytes=0, sites={}, prefills=1, prefill_tokens=1, decodes=0
        )
        for rank in range(tp)
    ]
    engagement = Engagement(ranks=ranks, facts={"layers": LAYERS}, faults=[])
    found = read_live_check(folder, engagement, tp=tp, every=97, policy=policy)
    assert found is not None
    return found


def with_one(**changed: Any) -> list[dict[str, Any]]:
    """All calls, of which number 3 (layer 1, ffn) is changed."""
    return [checked(call, **(changed if call == 3 else {})) for call in range(CALLS)]


def wrong_on_rank_1(folder: Path, **changed: Any) -> list[str]:
    write_live_check(folder, ranks=[0])
    write_live_check(folder, with_one(**changed), ranks=[1])
    found = read(folder)
    assert found.faults == []
    return found.wrong


def test_a_check_that_is_off_is_none(tmp_path: Path) -> None:
    engagement = Engagement(ranks=[], facts={}, faults=[])
    assert read_live_check(tmp_path, engagement, tp=2, every=0, policy=POLICY) is None


def test_errors_are_added_up_by_site_layer_and_kind_of_token(tmp_path: Path) -> None:
    write_live_check(tmp_path)
    found = read(tmp_path)
    assert (found.wrong, found.faults, found.warnings) == ([], [], [])
    assert (found.every, found.codec, found.algorithm) == (97, "int8_token", "one_shot")
    assert (found.calls, found.checked) == (CALLS, CALLS)
    assert (found.seconds, found.share) == (0.5, 0.25)
    assert [(row.site, row.layer, row.tokens, row.calls) for row in found.sites] == [
        ("attention", None, "token0", LAYERS),
        ("attention", None, "rest", LAYERS),
        ("ffn", None, "token0", LAYERS),
        ("ffn", None, "rest", LAYERS),
    ]
    assert len(found.layers) == LAYERS * 4
    for row in found.layers:
        # Two ranks measured the same call: powers add up in signal and error alike.
        assert row.calls == 1
        assert row.sqnr_db == row.claimed_db == pytest.approx(40)
        assert (row.over_bound, row.crest) == (0.5, 4.0)
        assert row.flushed == pytest.approx(1 / WIDTH)


def test_powers_are_added_and_extremes_are_kept(tmp_path: Path) -> None:
    loud = tally(signal=1e6, error=1.0, over_bound=0.9, crest=20.0, flushed=3 * WIDTH)
    write_live_check(tmp_path, [checked(0), checked(2, rest=loud)])
    (row,) = [entry for entry in read(tmp_path).sites if entry.tokens == "rest"]
    assert row.calls == 2
    assert row.sqnr_db == pytest.approx(10 * math.log10((1e6 + 300) / 1.03))
    assert (row.over_bound, row.crest) == (0.9, 20.0)
    assert row.flushed == pytest.approx((3 * WIDTH + 3) / (6 * WIDTH))


def test_an_element_beyond_the_bound_on_one_rank(tmp_path: Path) -> None:
    worst = {"row": 7, "column": 5, "served": 3.0, "expected": 1.0, "allowed": 0.25}
    (fault,) = wrong_on_rank_1(tmp_path, rest=tally(beyond=2, over_bound=8.0, error=9.0), worst=worst)
    assert fault == (
        "rank 1, layer 1, ffn: 2 of 32 elements are further from the exact sum than int8_token (one_shot) allows, up "
        "to 8 times as far; the worst: row 7, column 5: served 3, the exact sum is 1, bound 0.25"
    )


def test_token_0_is_judged_too(tmp_path: Path) -> None:
    (fault,) = wrong_on_rank_1(tmp_path, token0=tally(1, beyond=1, over_bound=2.0))
    assert fault.startswith("rank 1, layer 1, ffn: 1 of 32 elements are further")


def test_a_sum_that_is_not_finite(tmp_path: Path) -> None:
    worst = {"row": 0, "column": 0, "served": math.nan, "expected": 1.0, "allowed": 0.25}
    (fault,) = wrong_on_rank_1(tmp_path, rest=tally(beyond=1, over_bound=math.inf, error=math.inf), worst=worst)
    assert "up to inf times as far" in fault
    assert "served nan, the exact sum is 1" in fault
    found = read(tmp_path)
    assert [row.sqnr_db for row in found.sites if (row.site, row.tokens) == ("ffn", "rest")] == [-math.inf]
    assert CheckedSums.model_validate_json(found.model_dump_json()) == found


def test_ranks_that_served_different_bits(tmp_path: Path) -> None:
    most = {"row": 2, "column": 1, "served": 1.5, "expected": 1.25, "allowed": 0.0}
    (fault,) = wrong_on_rank_1(tmp_path, differing=4, differing_most=most)
    assert fault == (
        "rank 1, layer 1, ffn: 4 elements are not the bits that rank 0 served; the worst: row 2, column 1: "
        "served 1.5, rank 0 served 1.25"
    )


@pytest.mark.parametrize(("error", "db"), [(0.0, "inf"), (0.03e-3, "70.0")])
def test_a_sum_too_good_to_be_the_claimed_codecs(tmp_path: Path, error: float, db: str) -> None:
    """A plain all-reduce keeps every bound."""
    (fault,) = wrong_on_rank_1(tmp_path, rest=tally(error=error))
    assert fault == (
        f"rank 1, layer 1, ffn, other tokens: an SQNR of {db} dB, where int8_token (one_shot) makes 40.0 dB of the "
        "same inputs: too good, so that something else ran, such as a plain all-reduce"
    )


def test_a_sum_within_its_bound_but_too_noisy(tmp_path: Path) -> None:
    (fault,) = wrong_on_rank_1(tmp_path, token0=tally(1, error=0.021))
    assert fault.endswith("token 0: an SQNR of 36.8 dB, where int8_token (one_shot) makes 40.0 dB of the same inputs")


@pytest.mark.parametrize(
    "rest",
    [
        tally(error=0.03 * 1.9),
        tally(error=0.03 / 1.9),
        # Roundings of fp32 sums.
        tally(error=0.0, claimed=1e-12),
        tally(error=1e-10, claimed=0.0),
        # Zeros.
        tally(signal=0.0, error=0.0, claimed=0.0, nonzero=0, flushed=0),
        tally(0),
    ],
)
def test_noise_that_is_no_fault(tmp_path: Path, rest: dict[str, Any]) -> None:
    write_live_check(tmp_path, with_one(rest=rest))
    assert read(tmp_path).wrong == []


def test_a_rank_without_a_check_is_named(tmp_path: Path) -> None:
    write_live_check(tmp_path, ranks=[0])
    assert [entry.split(" (")[0] for entry in read(tmp_path).faults] == ["rank 1 left no live check"]


def test_no_checked_call_is_a_fault(tmp_path: Path) -> None:
    write_live_check(tmp_path, [])
    found = read(tmp_path, calls=0)
    assert found.faults == [f"rank {rank} checked no call, though the live check was on" for rank in (0, 1)]
    assert found.sites == []
    assert live_check_line(found) == "live check: no compressed call was summed exactly"


def test_a_log_that_ends_before_the_first_pass(tmp_path: Path) -> None:
    write_live_check(tmp_path)
    file = tmp_path / "live-rank-1.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert read(tmp_path).faults[0] == "rank 1 checked no call, though the live check was on"


def test_ranks_that_checked_different_calls(tmp_path: Path) -> None:
    write_live_check(tmp_path, ranks=[0])
    write_live_check(tmp_path, [checked(call) for call in range(CALLS - 1)], ranks=[1])
    assert read(tmp_path).faults == ["the ranks checked different calls (rank 0: 6 calls, rank 1: 5 calls)"]


@pytest.mark.parametrize("text", ["", "[]\n", '{"rank": 0}\n', "{"])
def test_a_log_that_is_none(tmp_path: Path, text: str) -> None:
    write_live_check(tmp_path)
    (tmp_path / "live-rank-0.jsonl").write_text(text)
    assert read(tmp_path).faults[0].startswith("rank 0 left no live check (live-rank-0.jsonl: ")


@pytest.mark.parametrize("spoil", [{"rest": {}}, {"token0": None}, {"nonfinite": "1"}, {"rest": {"over_bound": "x"}}])
def test_a_checked_call_that_lacks_what_is_judged_is_no_proof(tmp_path: Path, spoil: dict[str, Any]) -> None:
    write_live_check(tmp_path, [checked(0)])
    file = tmp_path / "live-rank-1.jsonl"
    head, line, *_ = map(json.loads, file.read_text().splitlines())
    line["samples"][0] |= spoil
    file.write_text(json.dumps(head) + "\n" + json.dumps(line) + "\n")
    said = "rank 1 left no live check (live-rank-1.jsonl: it holds a line that is no checked pass: samples.0."
    assert any(fault.startswith(said) for fault in read(tmp_path).faults)


def test_many_equal_faults_are_cut_short(tmp_path: Path) -> None:
    write_live_check(tmp_path, [checked(call, rest=tally(beyond=1, over_bound=3.0)) for call in range(40)])
    found = read(tmp_path, calls=40).wrong
    assert len(found) == 9
    assert found[0] == (
        "in short, 80 of 80 checked calls are beyond the bound, up to 3 times as far as it allows: always column 2, "
        "always row 1, rank 0's part of the row, all 6 sites, seen by ranks 0, 1"
    )
    assert found[4] == "and 37 more like these on the same rank"


def test_violations_in_a_part_of_the_sites_and_of_several_columns_are_told_as_that(tmp_path: Path) -> None:
    def broken(call: int, column: int) -> dict[str, Any]:
        worst = {"row": call, "column": column, "served": 1.5, "expected": 1.25, "allowed": 0.5}
        return checked(call, rest=tally(beyond=1, over_bound=3.0), worst=worst)

    write_live_check(tmp_path, [checked(0), broken(1, 5), broken(2, 7), checked(3)])
    assert read(tmp_path, calls=4).wrong[0] == (
        "in short, 4 of 8 checked calls are beyond the bound, up to 3 times as far as it allows: rank 1's part of "
        "the row, 2 of 4 sites, seen by ranks 0, 1"
    )


def test_the_line_and_the_worst_layers(tmp_path: Path) -> None:
    write_live_check(tmp_path, with_one(rest=tally(error=0.05, claimed=0.05, over_bound=0.75)))
    found = read(tmp_path)
    assert live_check_line(found) == (
        "live check: 6 of 6 compressed calls summed exactly; excluded with 95 %: faults in more than 39.3% of the "
        "calls; error at most 0.750 of the bound of int8_token (layer 1, ffn); SQNR 40.0 dB in attention, "
        "SQNR 39.1 dB in ffn; it took 0.5 s, 25.0% of its prefills"
    )
    first, *_ = worst_layers(found)
    assert (first.layer, first.site, first.tokens) == (1, "ffn", "rest")


def test_163_checked_calls_exclude_faults_in_more_than_1_8_percent(tmp_path: Path) -> None:
    write_live_check(tmp_path, [checked(call) for call in range(163)])
    found = read(tmp_path, calls=163)
    assert found.excluded == pytest.approx(1 - 0.05 ** (1 / 163))
    assert "; excluded with 95 %: faults in more than 1.8% of the calls; " in live_check_line(found)


def test_a_check_that_found_something_excludes_nothing(tmp_path: Path) -> None:
    write_live_check(tmp_path, with_one(rest=tally(beyond=1, over_bound=3.0)))
    assert "excluded" not in live_check_line(read(tmp_path))


def test_each_layer_and_site_needs_a_checked_call(tmp_path: Path) -> None:
    calls = [checked(call) for call in range(CALLS) if call != 3]
    write_live_check(tmp_path, [*calls, checked(0)])
    assert read(tmp_path).faults == ["no call of layer 1, ffn was checked"]
    spared = Policy(rules=(*POLICY.rules, Rule(choice=None, site="ffn", layers=(1,))))
    assert read(tmp_path, policy=spared).faults == []


def test_fewer_checks_than_were_due_are_a_log_that_was_cut(tmp_path: Path) -> None:
    write_live_check(tmp_path)
    # Of 6 + 200 calls number 97 and 194 were due beside the first pass's.
    assert read(tmp_path, calls=206).faults == ["6 calls were checked; of 206, 8 were due: the log was cut"]
    for rank in (0, 1):
        (tmp_path / f"live-rank-{rank}.jsonl").unlink()
    write_live_check(tmp_path, [*(checked(call) for call in range(CALLS)), checked(97), checked(194)])
    assert read(tmp_path, calls=206).faults == []


def test_messages_that_are_not_finite_are_a_warning(tmp_path: Path) -> None:
    write_live_check(tmp_path, with_one(nonfinite=2))
    found = read(tmp_path)
    assert (found.wrong, found.faults) == ([], [])
    (text,) = found.warnings
    assert text.startswith("messages or sums of 2 checked tokens are not finite (layer 1, ffn), so that no bound ")


def test_a_nan_that_was_hidden_is_a_wrong_sum(tmp_path: Path) -> None:
    (text,) = wrong_on_rank_1(tmp_path, nonfinite=1, swallowed=8)
    assert text == ("rank 1, layer 1, ffn: 8 elements are finite, though a message is not there: a NaN was hidden")
