from collections.abc import Iterator

import pytest

from suites.ranks.pool import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Gloo groups of 1 to 4 processes."""
    with Pool([1, 2, 3, 4]) as pool:
        yield pool
