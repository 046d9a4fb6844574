"""Which promises an implementation keeps and which it breaks, as a table.

``python -m suites.numerics.promises --impl package.module:function`` tries every promise to its end, where the
tests stop at the first failure. Written for reports about somebody else's collective.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from harness.collective.candidate import ALGORITHMS
from suites.numerics.cases.case import DTYPES, in_dtypes
from suites.numerics.promises import PROMISES
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import ViolationError
from suites.publish import publish, table
from suites.ranks.pool import Pool


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How many of a promise's cases hold, and what the first violation says."""

    promise: str
    cases: int
    violations: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every case holds. One without a case isn't."""
        return self.cases > 0 and not self.violations


def examine(pool: Pool, subject: Subject, ranks: Sequence[int], dtypes: Sequence[str]) -> list[Finding]:
    """Tries every promise's every case: a finding per promise."""
    findings = []
    for name, promise in PROMISES.items():
        cases = [case for count in ranks for case in in_dtypes(promise.cases(subject, count), dtypes)]
        violations = []
        for case in cases:
            try:
                promise.run(pool, subject, case)
            except ViolationError as violation:
                violations.append(str(violation))
        findings.append(Finding(promise=name, cases=len(cases), violations=tuple(violations)))
    return findings


def as_table(findings: Sequence[Finding]) -> str:
    """Markdown."""
    rows = [[finding.promise, _verdict(finding), _gist(finding.violations)] for finding in findings]
    return table(["promise", "verdict", "first violation"], rows)


def _verdict(finding: Finding) -> str:
    if not finding.cases:
        return "no case"
    return "kept" if finding.kept else f"broken in {len(finding.violations)} of {finding.cases}"


def _gist(violations: Sequence[str]) -> str:
    """The first one's case and what went wrong in it; of a traceback its last line."""
    if not violations:
        return ""
    lines = violations[0].splitlines()
    detail = lines[2]
    if detail.startswith("the implementation failed"):
        detail = next(line for line in reversed(lines) if "Error" in line and not line.startswith("reproduce"))
    return f"{lines[1].partition(', ')[2].partition(', ')[2]}: {detail}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes it to reports/, and returns 1 where a promise is broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m suites.numerics.promises", description=__doc__)
    parser.add_argument("--impl", required=True, help="package.module:function, called as f(x, group)")
    parser.add_argument("--codec", default="int8_token", help="the claimed codec")
    parser.add_argument("--algorithm", default="one_shot", choices=ALGORITHMS)
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="what the implementation takes")
    parser.add_argument("--ranks", default="2,4")
    chosen = parser.parse_args(arguments)
    subject = Subject(implementation=chosen.impl, codec=chosen.codec, algorithm=chosen.algorithm)
    ranks = [int(count) for count in chosen.ranks.split(",")]
    with Pool(ranks) as pool:
        findings = examine(pool, subject, ranks, chosen.dtypes.split(","))
    publish("promises", f"# Promises of {subject}, {chosen.dtypes}, ranks {chosen.ranks}\n\n{as_table(findings)}")
    return 0 if all(finding.kept or not finding.cases for finding in findings) else 1


if __name__ == "__main__":
    raise SystemExit(main())
