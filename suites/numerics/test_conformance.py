"""Every promise, by every check's own cases, of the bundled collective or of --impl's."""

from suites.numerics.case import Case
from suites.numerics.checks import CHECKS
from suites.numerics.cluster import Cluster
from suites.numerics.subject import Subject


def test_promise(cluster: Cluster, subject: Subject, check: str, case: Case) -> None:
    CHECKS[check].run(cluster, subject, case)
