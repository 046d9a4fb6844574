"""Several tasks at once: p-values that allow for how many were looked at."""

from collections.abc import Mapping

from statsmodels.stats.multitest import multipletests


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values: below alpha, all of them together err in at most alpha of runs.

    Args:
        p_values: By task; may be empty.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    if not p_values:
        return {}
    _, adjusted, _, _ = multipletests(list(p_values.values()), method="holm")
    return {name: float(p) for name, p in zip(p_values, adjusted, strict=True)}
