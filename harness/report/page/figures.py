"""How the pages' templates write figures: as the Markdown does."""

from collections.abc import Callable, Mapping

from harness.judge.traffic import traffic_line
from harness.plan.data_line import data_line
from harness.report.live_check import decibels, live_check_line
from harness.report.markdown import interval, limit, points, share, size, small

FIGURES: Mapping[str, Callable[..., object]] = {
    "data_line": data_line,
    "decibels": decibels,
    "interval": interval,
    "limit": limit,
    "live_check_line": live_check_line,
    "points": points,
    "share": share,
    "size": size,
    "small": small,
    "traffic_line": traffic_line,
}
