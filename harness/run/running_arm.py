"""An arm whose server is up, what is kept of it, and the proof that it does what it should."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.judge.alike import merge_like
from harness.judge.engagement import NOT_PROVEN, Engagement, prove
from harness.judge.live_check import NOT_CHECKED, NOT_RIGHT, read_live_check
from harness.plan.plan import Arm, Plan
from harness.records.run import ArmRecord, Traffic, write_record
from harness.records.run_folder import ArmFolder
from harness.run.rank_logs import RankLogs
from harness.serve.answers import RequestFailed
from harness.serve.server import Server

PROOF_TIMEOUT_S = 5.0


@dataclass(kw_only=True)
class RunningArm:
    """An arm whose server is up.

    Attributes:
        arm: What the plan says of it.
        server: Its server.
        folder: Its folder.
        record: How it ran so far.
        before: What an earlier server of it was asked, where the arm was resumed.
        logs: What its ranks have written.
    """

    arm: Arm
    server: Server
    folder: ArmFolder
    record: ArmRecord
    before: Traffic
    logs: RankLogs

    @property
    def traffic(self) -> Traffic:
        """What all its servers were asked."""
        return self.before + self.server.client.traffic

    def keep(self, **changed: object) -> None:
        """Add to the record, on disk too."""
        self.record = self.record.model_copy(update=changed)
        write_record(self.folder.record, self.record)


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Put the arm's name before what went wrong with it."""
    try:
        yield
    except (HarnessError, RequestFailed) as error:
        raise HarnessError(f"{arm}: {error}") from error


def check_engaged(plan: Plan, arm: Arm, folder: ArmFolder, *, sglang: str) -> Engagement:
    """Return the proof, from the known answer alone, that the arm compresses, and rightly, or that it does not.

    A plugin that was not loaded or a sum that is wrong is found here, after a minute, rather than when all tasks
    are done.

    Raises:
        HarnessError: There is no proof.
    """
    deadline = time.monotonic() + PROOF_TIMEOUT_S
    while True:
        engagement = prove(plan, arm, folder.engagement, sglang=sglang)
        missing = _missing_proof(plan, arm, folder, engagement)
        if not missing:
            return engagement
        # One rank may still be writing the line of a pass whose answer another rank has sent.
        if time.monotonic() > deadline:
            raise HarnessError(missing)
        time.sleep(0.1)


def _missing_proof(plan: Plan, arm: Arm, folder: ArmFolder, engagement: Engagement) -> str:
    check = read_live_check(
        folder.engagement, engagement, tp=plan.tp, every=arm.check_every, policy=plan.policy_of(arm), sites=plan.sites
    )
    found = {
        NOT_RIGHT: check.wrong if check else [],
        NOT_PROVEN: engagement.faults,
        NOT_CHECKED: check.faults if check else [],
    }
    # What the ranks see alike is told once, what all of it has in common first, a line each.
    lines = {what: "\n  ".join(merge_like(faults)) for what, faults in found.items() if faults}
    return "\n".join(f"{what}: {told}" for what, told in lines.items())
