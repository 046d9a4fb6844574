"""The suite tested by itself: every planted bug is killed, no correct implementation is refused."""

import importlib
import pkgutil
from types import ModuleType

import pytest

from harness.collective.gate import compresses
from suites.numerics.cases.case import DTYPES, in_dtypes
from suites.numerics.planted import bugs, correct
from suites.numerics.planted.bugs import gate
from suites.numerics.planted.catalogue import BUGS, CORRECT, GATE_BUGS, TOO_SMALL_FOR_THE_SQNR, Bug
from suites.numerics.promises import PROMISES
from suites.numerics.promises.gate import only_prefill_is_compressed
from suites.numerics.trial.trial import ViolationError
from suites.ranks.pool import Pool


def first_violation(pool: Pool, rank_counts: list[int], bug: Bug) -> ViolationError | None:
    promise = PROMISES[bug.killer]
    for ranks in rank_counts:
        for case in promise.cases(bug.subject, ranks):
            try:
                promise.run(pool, bug.subject, case)
            except ViolationError as violation:
                return violation
    return None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.name}-{bug.killer}")
def test_a_planted_bug_is_killed(pool: Pool, rank_counts: list[int], bug: Bug) -> None:
    violation = first_violation(pool, rank_counts, bug)
    assert violation is not None, f"{bug.name} survived {bug.killer} over {rank_counts} ranks"
    assert not violation.crashed, f"{bug.name} was killed for raising, not for its result:\n{violation}"


@pytest.mark.parametrize("name", TOO_SMALL_FOR_THE_SQNR)
def test_the_sqnr_alone_would_let_it_through(pool: Pool, rank_counts: list[int], name: str) -> None:
    """What the tolerance of a prediction can hide, another promise sees: these bugs are in the table above."""
    [bug] = [bug for bug in BUGS if bug.name == name]
    assert bug.killer != "predicted_noise"
    promise = PROMISES["predicted_noise"]
    for case in promise.cases(bug.subject, rank_counts[0]):
        promise.run(pool, bug.subject, case)


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_implementation_passes(pool: Pool, rank_counts: list[int], name: str, promise: str) -> None:
    if name == "point_to_point" and pool.device != "cpu":
        pytest.skip("gloo sends no GPU memory point to point")
    subject = CORRECT[name]
    for ranks in rank_counts:
        for case in PROMISES[promise].cases(subject, ranks):
            PROMISES[promise].run(pool, subject, case)


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_correct_implementation_of_a_single_dtype_passes(
    pool: Pool, rank_counts: list[int], dtype: str, promise: str
) -> None:
    subject = CORRECT["plain_steps"]
    for ranks in rank_counts:
        for case in in_dtypes(PROMISES[promise].cases(subject, ranks), [dtype]):
            assert case.dtype == dtype
            PROMISES[promise].run(pool, subject, case)


def test_the_gate_opens_for_prefill_only() -> None:
    only_prefill_is_compressed(compresses)


@pytest.mark.parametrize("name", GATE_BUGS)
def test_a_planted_bug_in_the_gate_is_killed(name: str) -> None:
    with pytest.raises(AssertionError, match="only_prefill_is_compressed"):
        only_prefill_is_compressed(getattr(gate, name))


def written_in(module: ModuleType) -> set[str]:
    """The names of the implementations that a module holds."""
    return {
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and value.__module__ == module.__name__
    }


def test_every_bug_and_every_correct_implementation_is_in_the_table() -> None:
    for found in pkgutil.iter_modules(bugs.__path__):
        rows = GATE_BUGS if found.name == "gate" else [bug.name for bug in BUGS if bug.module == found.name]
        assert written_in(importlib.import_module(f"{bugs.__name__}.{found.name}")) == set(rows), found.name
    assert written_in(correct) == set(CORRECT)


def test_every_promise_kills_something() -> None:
    assert set(PROMISES) == {bug.killer for bug in BUGS}
