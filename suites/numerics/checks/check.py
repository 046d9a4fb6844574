"""What a check is, and the list of all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from suites.numerics.case import Case
from suites.numerics.cluster import Cluster
from suites.numerics.subject import Subject
from suites.numerics.trial import Trial

Judge = Callable[[Trial, Case], None]
Cases = Callable[[Subject, int], Iterator[Case]]


@dataclass(frozen=True)
class Check:
    """A promise: how to judge one case, and which cases try it for a subject and a rank count."""

    name: str
    judge: Judge
    cases: Cases

    def run(self, cluster: Cluster, subject: Subject, case: Case) -> None:
        """Judges one case.

        Raises:
            ViolationError: The subject broke the promise.
        """
        self.judge(Trial(cluster, subject, self.name), case)


CHECKS: dict[str, Check] = {}


def check(cases: Cases) -> Callable[[Judge], Judge]:
    """Registers a judging function under its own name, together with its cases."""

    def register(judge: Judge) -> Judge:
        CHECKS[judge.__name__] = Check(judge.__name__, judge, cases)
        return judge

    return register
