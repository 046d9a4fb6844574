"""Where everything that a study leaves on disk is, beside a folder for each number of ranks."""

from dataclasses import dataclass
from pathlib import Path

from harness.records.run_folder import RunFolder

# The file of a server's measurements: see harness.study.records.
MEASURED = "measured.jsonl"


@dataclass(frozen=True)
class StudyFolder(RunFolder):
    """A study's files: plan, record and report are named as a run's."""

    @property
    def is_study(self) -> bool:
        """Whether a study wrote here: only its servers' folders hold measurements."""
        return any(self.path.glob(f"ranks-*/{MEASURED}"))

    @property
    def policy(self) -> Path:
        """The recommended policy, as `accuracy -- --policy` takes it; not there where there is none."""
        return self.path / "policy.yaml"

    @property
    def confirmation(self) -> Path:
        """What a real run said of it; not there without one."""
        return self.path / "confirmation.json"

    @property
    def attempts(self) -> Path:
        """Every attempt at a part, an Attempt of the fleet's a line; not there where nothing was shared."""
        return self.path / "attempts.jsonl"

    def part(self, key: str) -> Path:
        """What another host left of a part that it measured, as a folder of the study's own form."""
        return self.path / "parts" / key
