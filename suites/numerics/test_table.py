"""The table people read: measured while the pool of processes is up, printed at the session's end."""

from harness.collective import wire_bytes
from suites.numerics.case import DTYPES
from suites.numerics.figures import SHAPE, Figures


def test_no_figure_in_the_table_is_beyond_its_bound(figures: Figures) -> None:
    assert not figures.beyond_bound


def test_the_bytes_in_the_table_are_those_of_the_model(figures: Figures) -> None:
    dtype = DTYPES[figures.dtype]
    for cost in figures.cost:
        assert cost.sent == wire_bytes(SHAPE, cost.ranks, codec=cost.codec, algorithm=cost.algorithm, dtype=dtype)
