"""Which promises an implementation keeps and which it breaks, as a table.

``python -m suites.numerics.promises --impl package.module:function`` tries every check to its end, where the
tests stop at the first failure. Written for reports about somebody else's collective.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from suites.numerics.case import DTYPES, in_dtypes
from suites.numerics.checks import CHECKS
from suites.numerics.cluster import Cluster
from suites.numerics.paper import publish, table
from suites.numerics.subject import Subject
from suites.numerics.trial import ViolationError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How many of a check's cases hold, and what the first violation says."""

    check: str
    cases: int
    violations: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every case holds. A check without a case is no promise kept."""
        return self.cases > 0 and not self.violations


def examine(cluster: Cluster, subject: Subject, ranks: Sequence[int], dtypes: Sequence[str]) -> list[Finding]:
    """Tries every check's every case: a finding per check."""
    findings = []
    for name, check in CHECKS.items():
        cases = [case for count in ranks for case in in_dtypes(check.cases(subject, count), dtypes)]
        violations = []
        for case in cases:
            try:
                check.run(cluster, subject, case)
            except ViolationError as violation:
                violations.append(str(violation))
        findings.append(Finding(check=name, cases=len(cases), violations=tuple(violations)))
    return findings


def as_table(findings: Sequence[Finding]) -> str:
    """Markdown."""
    rows = [[one.check, _verdict(one), one.violations[0].splitlines() if one.violations else []] for one in findings]
    return table(
        ["promise", "verdict", "first violation"],
        [[str(name), str(verdict), _gist(lines)] for name, verdict, lines in rows],
    )


def _verdict(finding: Finding) -> str:
    if not finding.cases:
        return "no case"
    return "kept" if finding.kept else f"broken in {len(finding.violations)} of {finding.cases}"


def _gist(lines: Sequence[str]) -> str:
    """The case and what went wrong in it; of a traceback its last line."""
    if not lines:
        return ""
    detail = lines[2]
    if detail.startswith("the implementation failed"):
        detail = next(line for line in reversed(lines) if "Error" in line and not line.startswith("reproduce"))
    return f"{lines[1].partition(', ')[2].partition(', ')[2]}: {detail}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes it to reports/, and returns 1 where a promise is broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m suites.numerics.promises", description=__doc__)
    parser.add_argument("--impl", required=True, help="package.module:function, called as f(x, group)")
    parser.add_argument("--codec", default="int8_token", help="the claimed codec")
    parser.add_argument("--algorithm", default="one_shot", choices=("one_shot", "two_shot"))
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="what the implementation takes")
    parser.add_argument("--ranks", default="2,4")
    chosen = parser.parse_args(arguments)
    subject = Subject(implementation=chosen.impl, codec=chosen.codec, algorithm=chosen.algorithm)
    ranks = [int(count) for count in chosen.ranks.split(",")]
    with Cluster(ranks) as cluster:
        findings = examine(cluster, subject, ranks, chosen.dtypes.split(","))
    publish("promises", f"# Promises of {subject}, {chosen.dtypes}, ranks {chosen.ranks}\n\n{as_table(findings)}")
    return 0 if all(one.kept or not one.cases for one in findings) else 1


if __name__ == "__main__":
    raise SystemExit(main())
