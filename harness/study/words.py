"""How a study's tables say it, in whatever form."""

from harness.study.model import MeasuredPolicy
from harness.study.times import PredictedTime


def said_time(time: PredictedTime | None) -> str:
    """Return a predicted time over a plain one's, as tables have it."""
    return "-" if time is None else f"{'' if time.kernels else '>= '}{time.over_plain:.2f}"


def by_harm(policies: list[MeasuredPolicy]) -> list[MeasuredPolicy]:
    """Return policies by ranks, then by bytes, then by harm."""
    return sorted(policies, key=lambda policy: (policy.ranks, round(policy.bytes_over_ring, 3), policy.kl.mean))
