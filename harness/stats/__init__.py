"""Statistics of a run. Pure functions of numbers: no file is read or written here."""

from harness.stats.paired import (
    ALPHA,
    DropPValues,
    PairedCounts,
    drop_p_values,
    mcnemar_drop,
    paired_bounds,
    questions_to_decide,
)

__all__ = [
    "ALPHA",
    "DropPValues",
    "PairedCounts",
    "drop_p_values",
    "mcnemar_drop",
    "paired_bounds",
    "questions_to_decide",
]
