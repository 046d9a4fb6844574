"""What the performance model says of a study's policies."""

import pytest

from harness.performance.links import LINKS, UnknownLinkError, find_link
from harness.performance.measurements import Run
from harness.sglang_plugin.policy import OWN, Choice
from harness.study.records import Measured, Traffic
from harness.study.times import PredictedTime, measured_kernels, predict_time
from tests.study.measured import measured

SITES = [(site, layer) for layer in range(2) for site in ("attention", "ffn")]
INT8, HADAMARD, NOT_MEASURED = (
    Choice(codec="int8_token"),
    Choice(codec="int8_hadamard"),
    Choice(codec="int6_hadamard"),
)
PCIE = find_link("pcie5")
TOKENS, WIDTH = 8192, 4096


@pytest.fixture(scope="module")
def kernels() -> Run:
    return measured_kernels()


def traffic_of(found: Measured, over_ring: float, ranks: int = 2) -> Measured:
    """Give a policy of a model of two layers and 4,096 columns its traffic, over three prefills of 100 tokens."""
    ring = 2 * (ranks - 1) / ranks * 2 * 300 * WIDTH * len(SITES)
    traffic = Traffic(
        compressed=round(over_ring * ring), plain=0, ring=ring, sums=3 * len(SITES), tokens=300, prefills=3
    )
    return found.model_copy(update={"traffic": traffic, "ranks": ranks})


def uniform(choice: Choice, over_ring: float, ranks: int = 2) -> Measured:
    found = measured("candidate", choice.label, dict.fromkeys(SITES, choice), 0.1)
    return traffic_of(found, over_ring, ranks)


def predict(one: Measured, found: list[Measured], kernels: Run) -> PredictedTime | None:
    return predict_time(one, found, PCIE, tokens=TOKENS, kernels=kernels)


def test_on_a_slow_link_the_bytes_decide(kernels: Run) -> None:
    one = uniform(INT8, 0.5)
    time = predict(one, [one], kernels)
    assert time is not None
    assert time.kernels
    assert 0.5 < time.over_plain < 0.65
    # Four sums, each of 64 MiB in bf16, half of them sent at 63 GB/s.
    assert time.microseconds == pytest.approx(4 * 2**26 / 2 / 63e9 * 1e6, rel=0.25)


def test_a_codec_whose_kernels_were_not_measured_is_the_wire_alone(kernels: Run) -> None:
    one = uniform(NOT_MEASURED, 0.39)
    time = predict(one, [one], kernels)
    assert time is not None
    assert not time.kernels
    assert time.over_plain == pytest.approx(0.39, rel=0.05)


def test_a_mix_takes_the_times_of_its_sites(kernels: Run) -> None:
    found = [uniform(INT8, 0.5), uniform(HADAMARD, 0.52)]
    mixed = dict.fromkeys(SITES[:2], INT8) | {SITES[2]: HADAMARD, SITES[3]: None}
    times = [predict(one, found, kernels) for one in (*found, traffic_of(measured("mix", "mix", mixed, 0.01), 0.6))]
    int8, hadamard, mix = (time for time in times if time is not None)
    assert mix.over_plain == pytest.approx((2 * int8.over_plain + hadamard.over_plain + 1) / 4)


def test_what_the_model_does_not_know_it_does_not_predict(kernels: Run) -> None:
    mechanism = uniform(Choice(codec="quickreduce_int8", algorithm=OWN), 0.55)
    assert predict(mechanism, [mechanism], kernels) is None
    one = uniform(INT8, 0.5)
    assert predict(one, [], kernels) is None
    many = uniform(INT8, 4.0, ranks=16)
    assert predict_time(many, [many], find_link("hccs"), tokens=TOKENS, kernels=kernels) is None


def test_two_shot_sends_each_half_of_the_message_twice(kernels: Run) -> None:
    choice = Choice(codec="int8_token", algorithm="two_shot")
    one, other = uniform(choice, 0.5, ranks=4), uniform(INT8, 1.0, ranks=4)
    two_shot, one_shot = predict(one, [one, other], kernels), predict(other, [one, other], kernels)
    assert two_shot is not None
    assert one_shot is not None
    assert two_shot.over_plain < 0.65
    assert one_shot.over_plain > 1


def test_links_by_name_and_of_ones_own() -> None:
    assert find_link("NVLink4") is LINKS[0]
    own = find_link("25GB/s, 10us")
    assert own.bytes_per_second == 25e9
    assert own.hop_s == pytest.approx(1e-5)
    assert find_link("25 GB/s").hop_s == PCIE.hop_s


@pytest.mark.parametrize("text", ["nvlink", "25", "0GB/s", "nanGB/s", "25GB/s,", "25GB/s,10", "infGB/s"])
def test_a_link_that_is_none_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UnknownLinkError, match="there are nvlink4, pcie5, hccs"):
        find_link(text)
