"""What is timed, and what becomes of the times. How long anything takes is not tested."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, distributed

from harness.collective import ring_bytes, simulate_all_reduce, wire_bytes
from suites.ranks.pool import Pool
from suites.ranks.timing import (
    PLAIN,
    Spread,
    Timing,
    compare,
    contender,
    message,
    sent_bytes,
    spread,
)
from suites.speed.bench import NAIVE_FP32, NAIVE_UPSTREAM

SHAPE = (6, 67)


def test_ratios_are_taken_within_each_round() -> None:
    assert spread([2.0, 9.0, 8.0, 3.0, 10.0], [1.0, 3.0, 2.0, 3.0, 2.0]) == Spread(median=3.0, low=2.0, high=4.0)


def test_one_round_is_its_own_spread() -> None:
    assert spread([3.0], [2.0]) == Spread(1.5, 1.5, 1.5)


def test_a_timing_is_the_median_round_and_the_median_ratio() -> None:
    timing = Timing(rounds=(4.0, 1.0, 30.0), plain=(2.0, 1.0, 5.0))
    assert timing.seconds == 4.0
    assert timing.over_plain == 2.0


class ScriptedPool:
    """Answers with the seconds of two ranks, ``[rank][round][contender]``."""

    device = "cpu"

    def __init__(self, seconds: list[list[list[float]]]) -> None:
        self._seconds = seconds

    def run(self, ranks: int, _job: Callable[..., object], *arguments: object) -> list[list[list[float]]]:
        assert (ranks, *arguments) == (2, "cpu", [PLAIN, "int8_token/one_shot"], SHAPE, 2)
        return self._seconds


def test_the_slowest_rank_counts_in_each_round() -> None:
    scripted = ScriptedPool([[[1, 6], [4, 4]], [[2, 5], [3, 8]]])
    timings = compare(cast("Pool", scripted), 2, ["int8_token/one_shot"], SHAPE, rounds=2)
    assert timings[PLAIN] == Timing((2, 4), (2, 4))
    assert timings["int8_token/one_shot"] == Timing((6, 8), (2, 4))


def test_every_contender_is_timed_on_real_ranks(pool: Pool) -> None:
    names = [PLAIN, NAIVE_UPSTREAM, NAIVE_FP32, "int8_token/two_shot"]
    timings = compare(pool, 2, names, SHAPE, rounds=2)
    assert list(timings) == names
    assert all(len(timing.rounds) == 2 and min(timing.rounds) > 0 for timing in timings.values())


def result(rank: int, group: distributed.ProcessGroup, name: str) -> Tensor:
    own = message(rank, SHAPE).clone()
    returned = contender(name)(own, group)
    return returned if isinstance(returned, Tensor) else own


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        (PLAIN, "none"),
        (NAIVE_UPSTREAM, "upstream_bf16"),
        (NAIVE_FP32, "int8_token"),
        ("fp8_group/one_shot", "fp8_group"),
    ],
)
def test_contenders_compute_what_they_are_named_for(pool: Pool, name: str, codec: str) -> None:
    expected = simulate_all_reduce(torch.stack([message(rank, SHAPE) for rank in range(2)]), codec=codec)
    for out in pool.run(2, result, name):
        assert torch.equal(out, expected)


@pytest.mark.parametrize("ranks", [2, 3])
def test_sent_bytes_are_counted_in_the_call_itself(pool: Pool, ranks: int) -> None:
    def counted(name: str) -> set[float]:
        return set(pool.run(ranks, sent_bytes, name, SHAPE))

    assert counted(PLAIN) == {ring_bytes(SHAPE, ranks)}
    assert counted("int8_token/two_shot") == {wire_bytes(SHAPE, ranks, algorithm="two_shot")}
    assert counted("none/one_shot") == {wire_bytes(SHAPE, ranks, codec="none")}
