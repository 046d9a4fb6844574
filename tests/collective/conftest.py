from collections.abc import Iterator

import pytest

from suites.numerics.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Gloo groups of 1 to 4 processes."""
    with Cluster([1, 2, 3, 4]) as pool:
        yield pool
