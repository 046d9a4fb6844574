"""Several tasks at once: p-values that allow for how many were looked at."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values: below alpha, all of them together err in at most alpha of runs.

    statsmodels has the same, and takes 0.1 s a call and 1.5 s to import; the tests compare the two.

    Args:
        p_values: By task; may be empty.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
