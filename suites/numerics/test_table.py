"""The table people read: measured while the pool of processes is up, printed at the session's end."""

import pytest

from harness.collective import wire_bytes
from suites.numerics.cases.case import DTYPES
from suites.numerics.figures import SHAPE, Figures
from suites.ranks.pool import Pool


@pytest.fixture(autouse=True)
def _on_the_cpu(pool: Pool) -> None:
    if pool.device != "cpu":
        pytest.skip("the table's times are a CPU's; a GPU's are in bench --device cuda")


def test_no_figure_in_the_table_is_beyond_its_bound(figures: Figures) -> None:
    assert not figures.beyond_bound


def test_the_bytes_in_the_table_are_those_of_the_model(figures: Figures) -> None:
    dtype = DTYPES[figures.dtype]
    for cost in figures.cost:
        assert cost.sent == wire_bytes(SHAPE, cost.ranks, codec=cost.codec, algorithm=cost.algorithm, dtype=dtype)
