"""Every promise, by its own cases, of the bundled collective or of --impl's."""

from suites.numerics.cases.case import Case
from suites.numerics.promises import PROMISES
from suites.numerics.trial.subject import Subject
from suites.ranks.pool import Pool


def test_promise(pool: Pool, subject: Subject, promise: str, case: Case) -> None:
    PROMISES[promise].run(pool, subject, case)
