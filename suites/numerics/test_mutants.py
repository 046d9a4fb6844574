"""The suite tested by itself: every planted bug is killed, no correct implementation is refused (16)."""

import importlib
import pkgutil

import pytest

from harness.collective.gate import compresses
from suites.numerics import equivalents, mutants
from suites.numerics.case import DTYPES, in_dtypes
from suites.numerics.checks import CHECKS
from suites.numerics.checks.gate import only_prefill_is_compressed
from suites.numerics.cluster import Cluster
from suites.numerics.mutation import EQUIVALENTS, GATE_MUTANTS, MUTANTS, TOO_SMALL_FOR_THE_SQNR, Mutant
from suites.numerics.trial import ViolationError


def first_violation(cluster: Cluster, rank_counts: list[int], mutant: Mutant) -> ViolationError | None:
    check = CHECKS[mutant.killer]
    for ranks in rank_counts:
        for case in check.cases(mutant.subject, ranks):
            try:
                check.run(cluster, mutant.subject, case)
            except ViolationError as violation:
                return violation
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.name}-{mutant.killer}")
def test_a_planted_bug_is_killed(cluster: Cluster, rank_counts: list[int], mutant: Mutant) -> None:
    violation = first_violation(cluster, rank_counts, mutant)
    assert violation is not None, f"{mutant.name} survived {mutant.killer} over {rank_counts} ranks"
    assert not violation.crashed, f"{mutant.name} was killed for raising, not for its result:\n{violation}"


@pytest.mark.parametrize("name", TOO_SMALL_FOR_THE_SQNR)
def test_the_sqnr_alone_would_let_it_through(cluster: Cluster, rank_counts: list[int], name: str) -> None:
    """What the tolerance of a prediction can hide, another check sees: these bugs are in the table above."""
    [mutant] = [one for one in MUTANTS if one.name == name]
    assert mutant.killer != "predicted_noise"
    check = CHECKS["predicted_noise"]
    for case in check.cases(mutant.subject, rank_counts[0]):
        check.run(cluster, mutant.subject, case)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", EQUIVALENTS)
def test_a_correct_implementation_passes(cluster: Cluster, rank_counts: list[int], name: str, check: str) -> None:
    if name == "point_to_point" and cluster.device != "cpu":
        pytest.skip("gloo sends no GPU memory point to point")
    subject = EQUIVALENTS[name]
    for ranks in rank_counts:
        for case in CHECKS[check].cases(subject, ranks):
            CHECKS[check].run(cluster, subject, case)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_correct_implementation_of_a_single_dtype_passes(
    cluster: Cluster, rank_counts: list[int], dtype: str, check: str
) -> None:
    subject = EQUIVALENTS["plain_steps"]
    for ranks in rank_counts:
        for case in in_dtypes(CHECKS[check].cases(subject, ranks), [dtype]):
            assert case.dtype == dtype
            CHECKS[check].run(cluster, subject, case)


def test_the_gate_opens_for_prefill_only() -> None:
    only_prefill_is_compressed(compresses)


@pytest.mark.parametrize("name", GATE_MUTANTS)
def test_a_planted_bug_in_the_gate_is_killed(name: str) -> None:
    module = importlib.import_module(f"suites.numerics.mutants.{name}")
    with pytest.raises(AssertionError, match="only_prefill_is_compressed"):
        only_prefill_is_compressed(module.compresses)


def test_every_module_is_in_the_table() -> None:
    assert {module.name for module in pkgutil.iter_modules(mutants.__path__)} == {
        *(mutant.name for mutant in MUTANTS),
        *GATE_MUTANTS,
    }
    assert {module.name for module in pkgutil.iter_modules(equivalents.__path__)} == set(EQUIVALENTS)


def test_every_check_kills_something() -> None:
    needed = {mutant.killer for mutant in MUTANTS}
    assert set(CHECKS) == needed
