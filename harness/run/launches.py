"""The commands of a run's servers: each is begun when its arm is due, or earlier, and then held back.

SGLang's launcher imports for ten seconds on one core, while nothing else of a start computes. On a CPU the next arm's
does so beside the one that starts, and waits until its arm is due: see harness.sglang_plugin.forked_ranks.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from harness.plan.plan import Arm
from harness.records.run import ArmRecord
from harness.run.checkpoint import restore
from harness.run.setup import Ready
from harness.serve.guarded import Begun, begun, end_left_behind
from harness.sglang_plugin.study_folder import write_policy


@dataclass(frozen=True, kw_only=True)
class Launch:
    """An arm whose command runs.

    Attributes:
        command: Its command.
        before: How the arm ran before the run was resumed, if it did.
        new: Whether the arm has its folder from now only.
        ending: Ends it.
    """

    command: Begun
    before: ArmRecord | None
    new: bool
    ending: ExitStack


class Launches:
    """Begins a run's commands, and ends those that were held back and never needed.

    Args:
        ready: The run.
    """

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._held: dict[str, Launch] = {}

    def __enter__(self) -> Self:
        """Hold nothing back yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """End what is still held back: such an arm was not started, and leaves no folder."""
        with ExitStack() as stack:
            for name, launch in self._held.items():
                if launch.new:
                    stack.callback(shutil.rmtree, self._ready.folder.arm(name).path, ignore_errors=True)
                stack.enter_context(launch.ending)

    def begin(self, arm: Arm, *, held: bool = False) -> Launch:
        """Return an arm's command, begun now unless it was held back.

        Raises:
            HarnessError: The port is taken.
            OSError: The arm's folder cannot be written.
        """
        if arm.name in self._held:
            return self._held.pop(arm.name)
        plan, folder = self._ready.plan, self._ready.folder.arm(arm.name)
        new = not folder.path.exists()
        if not new:
            end_left_behind(arm)
        folder.path.mkdir(exist_ok=True)
        before = restore(folder)
        if plan.policy is not None and arm.compressed:
            write_policy(folder.engagement, plan.policy_of(arm))
        ending = ExitStack()
        command = ending.enter_context(begun(arm, folder.log, port=plan.port, held=held))
        return Launch(command=command, before=before, new=new, ending=ending)

    def hold(self, arm: Arm) -> None:
        """Begin an arm's command that is due later, where it can be held back.

        Raises:
            HarnessError: No port is free.
            OSError: The arm's folder cannot be written.
        """
        if self._ready.plan.device == "cpu" and self._ready.plan.port is None:
            self._held[arm.name] = self.begin(arm, held=True)
