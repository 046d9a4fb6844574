"""Accuracy drawn in characters, for where no picture can be shown."""

import math

from harness.report.model import Report

COLUMNS = 61
LINE, MARK, ZERO, LIMIT = "─", "●", "┼", "┃"


def accuracy_plot(report: Report) -> str:
    """Return each task's change of accuracy, its interval and the allowed drop; empty where nothing was answered."""
    rows = []
    for name, task in report.tasks.items():
        if task.n:
            drop = task.tests.drop
            bounds = (drop.low, drop.high) if drop else (task.paired.delta_low, task.paired.delta_high)
            rows.append((name, task.paired.delta, *bounds, drop.max_drop if drop else None))
    if not rows:
        return ""
    reach = max(abs(value) for _, *values in rows for value in values if value is not None)
    reach = math.ceil(max(reach, 0.001) * 100) / 100
    width = max(len(name) for name, *_ in rows)
    lines = [f"{'':{width}}  change of accuracy, points; {MARK} seen, {LINE} its interval, {LIMIT} the allowed drop"]
    for name, delta, low, high, limit in rows:
        cells = [" "] * COLUMNS
        cells[_column(0.0, reach)] = ZERO
        for column in range(_column(low, reach), _column(high, reach) + 1):
            cells[column] = LINE if cells[column] == " " else cells[column]
        if limit is not None:
            cells[_column(-limit, reach)] = LIMIT
        cells[_column(delta, reach)] = MARK
        lines.append(f"{name:{width}}  {''.join(cells)}".rstrip())
    ends = f"{-100 * reach:<{COLUMNS // 2}.0f}0{100 * reach:>+{COLUMNS - COLUMNS // 2 - 1}.0f}"
    return "\n".join([*lines, f"{'':{width}}  {ends}"])


def _column(value: float, reach: float) -> int:
    share = (min(max(value, -reach), reach) + reach) / (2 * reach)
    return round(share * (COLUMNS - 1))
