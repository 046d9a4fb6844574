import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.stats.multiple import holm


def test_worked_example() -> None:
    """Four p-values, as in Aickin and Gensler, American Journal of Public Health 86 (1996): step down by hand."""
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_no_task_and_one_task() -> None:
    assert holm({}) == {}
    assert holm({"boolq": 0.03}) == pytest.approx({"boolq": 0.03})


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1, max_size=8))
def test_against_holms_own_words(p_values: dict[str, float]) -> None:
    """The smallest p of m is compared with alpha / m, the next with alpha / (m - 1), until one is too large."""
    adjusted = holm(p_values)
    assert list(adjusted) == list(p_values)
    for alpha in (0.01, 0.05, 0.2):
        rejected: set[str] = set()
        for index, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
            if p_values[name] * (len(p_values) - index) > alpha:
                break
            rejected.add(name)
        assert {name for name, p in adjusted.items() if p <= alpha} == rejected


@settings(max_examples=20)
@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1), min_size=1, max_size=8))
def test_against_statsmodels(p_values: dict[str, float]) -> None:
    _, expected, _, _ = multipletests(list(p_values.values()), method="holm")
    assert list(holm(p_values).values()) == pytest.approx(expected.tolist(), abs=1e-12)
