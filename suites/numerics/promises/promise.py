"""What a promise is, and the list of all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from suites.numerics.cases.case import Case
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial
from suites.ranks.pool import Pool

Judge = Callable[[Trial, Case], None]
Cases = Callable[[Subject, int], Iterator[Case]]


@dataclass(frozen=True)
class Promise:
    """A promise: how to judge one case, and which cases try it for a subject and a rank count."""

    name: str
    judge: Judge
    cases: Cases

    def run(self, pool: Pool, subject: Subject, case: Case) -> None:
        """Judges one case.

        Raises:
            ViolationError: The subject broke the promise.
        """
        self.judge(Trial(pool, subject, self.name), case)


PROMISES: dict[str, Promise] = {}


def promise(cases: Cases) -> Callable[[Judge], Judge]:
    """Registers a judging function under its own name, together with its cases."""

    def register(judge: Judge) -> Judge:
        PROMISES[judge.__name__] = Promise(judge.__name__, judge, cases)
        return judge

    return register
