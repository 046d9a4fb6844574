"""The pointwise bound and agreement between ranks, for cases nobody thought of."""

import hypothesis
from hypothesis import strategies

from suites.numerics.cases.case import LAYOUTS, Case
from suites.numerics.promises import PROMISES
from suites.numerics.trial.subject import Subject
from suites.ranks.pool import Pool

DATA = ("gaussian", "uneven", "columns", "positive", "cancellation", "zeros", "amplitudes")


def cases_of(rank_counts: list[int], dtypes: list[str]) -> strategies.SearchStrategy[Case]:
    shapes = strategies.tuples(
        strategies.sampled_from([(), (1,), (2,), (3,)]),
        strategies.integers(0, 20),
        strategies.integers(1, 400),
    ).map(lambda sizes: (*sizes[0], sizes[1], sizes[2]))
    return strategies.builds(
        Case,
        ranks=strategies.sampled_from(rank_counts),
        shape=shapes,
        dtype=strategies.sampled_from(dtypes),
        data=strategies.sampled_from(DATA),
        seed=strategies.integers(0, 2**31),
        layout=strategies.sampled_from(LAYOUTS),
    )


def test_any_case_keeps_the_bound_and_ranks_agree(
    pool: Pool, subject: Subject, rank_counts: list[int], dtypes: list[str]
) -> None:
    @hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=cases_of(rank_counts, dtypes))
    def judge(case: Case) -> None:
        hypothesis.assume(subject.takes(case.shape[-1]))
        PROMISES["pointwise_bound"].run(pool, subject, case)
        PROMISES["ranks_agree"].run(pool, subject, case)

    judge()
