"""Where everything that a run leaves on disk is: the one place that knows its files' names."""

from dataclasses import dataclass
from pathlib import Path

# The mode of a run's folder: a server's log holds its key, and the environment of who started it.
PRIVATE = 0o700


@dataclass(frozen=True)
class ArmFolder:
    """One arm's files.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def record(self) -> Path:
        """How the arm ran, an ArmRecord."""
        return self.path / "arm.json"

    @property
    def requests(self) -> Path:
        """Each request's outcome, a line of JSON as soon as it is known."""
        return self.path / "requests.jsonl"

    @property
    def log(self) -> Path:
        """The server's output."""
        return self.path / "server.log"

    @property
    def engagement(self) -> Path:
        """The folder where each rank's plugin writes its logs."""
        return self.path / "engagement"

    @property
    def predictions(self) -> Path:
        """The predictions of fixed text, a TextRecord a line."""
        return self.path / "fidelity.jsonl"

    @property
    def pieces(self) -> Path:
        """The tokens that its report may name, as text; not there where nothing was compared."""
        return self.path / "pieces.jsonl"

    @property
    def compared(self) -> Path:
        """What the server found of their distance from the baseline's, a CompareLine a line."""
        return self.engagement / "predictions.jsonl"

    def samples(self, task: str) -> Path:
        """One task's samples, a Sample a line."""
        return self.path / f"samples-{task}.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """A run's files.

    Attributes:
        path: The folder.
        judged: Where its report goes; None for beside the rest. A run that is judged again has a folder for that, and
            its first report stays.
    """

    path: Path
    judged: Path | None = None

    @property
    def plan(self) -> Path:
        """What the run was to do, a Plan."""
        return self.path / "plan.json"

    @property
    def run(self) -> Path:
        """How it went as a whole, a RunRecord."""
        return self.path / "run.json"

    @property
    def fingerprint(self) -> Path:
        """What the baseline's answers depend on, a Fingerprint."""
        return self.path / "fingerprint.json"

    @property
    def report(self) -> Path:
        """The report for programs, a Report."""
        return self._judged / "report.json"

    @property
    def markdown(self) -> Path:
        """The report for people."""
        return self._judged / "report.md"

    @property
    def plots(self) -> Path:
        """The report's plots; not there where there was nothing to draw."""
        return self._judged / "report.svg"

    @property
    def page(self) -> Path:
        """The report as one page for a browser."""
        return self._judged / "report.html"

    @property
    def junit(self) -> Path:
        """The report as JUnit XML, for CI."""
        return self._judged / "report.xml"

    @property
    def asked(self) -> Path:
        """The folder of the tasks' prompts."""
        return self.path / "questions"

    def questions(self, task: str) -> Path:
        """One task's prompts, a Question a line; every arm is asked the same."""
        return self.asked / f"{task}.jsonl"

    @property
    def calibration(self) -> Path:
        """What a calibration proposes, a CalibrationReport."""
        return self.path / "calibration.json"

    @property
    def calibration_markdown(self) -> Path:
        """The same for people."""
        return self.path / "calibration.md"

    @property
    def memory(self) -> Path:
        """What the history keeps of the run, a RunMemory: it stays when the arms are pruned."""
        return self.path / "history.json"

    @property
    def accepted(self) -> Path:
        """A person's word that the run is the new normal, an Accepted; not there without one."""
        return self.path / "accepted.json"

    def judged_again(self, moment: str) -> "RunFolder":
        """Return the same run, with a folder of its own for a report by other thresholds."""
        return RunFolder(self.path, self.path / "judged-again" / moment)

    @property
    def _judged(self) -> Path:
        return self.judged or self.path

    def arm(self, name: str) -> ArmFolder:
        """One arm's files."""
        return ArmFolder(self.path / name)
