"""Stands in for `python -m harness study-part` where parts are to be light: what they measure is a formula.

    python -m tests.fleet.part_stand_in FOLDER

A file beside the plan's data, part.dies, says how often its server is to die, each time when half is measured.
"""

import json
import sys
from pathlib import Path

from harness.records.arm_end import DIED, DONE, ENDED, ArmEnd
from harness.records.run import Fingerprint, read_record, write_record
from harness.study.folder import StudyFolder
from harness.study.plan import StudyPlan, arm_name
from harness.study.records import add_measured
from tests.study.measured import by_formula


def main() -> int:
    folder = StudyFolder(Path(sys.argv[1]))
    plan = read_record(folder.plan, StudyPlan)
    assert read_record(folder.fingerprint, Fingerprint).facts
    assert all(Path(arm.engagement).is_relative_to(folder.path) for arm in plan.arms)
    dies = Path(plan.data).with_name("part.dies")
    left = json.loads(dies.read_text()) if dies.exists() else 0
    wanted = plan.part[: len(plan.part) // 2] if left else plan.part
    for one in wanted:
        place = folder.path / arm_name(one.ranks)
        place.mkdir(exist_ok=True)
        add_measured(place, by_formula(one))
    end = ArmEnd(outcome=DONE, seconds=2.0, versions={})
    if left:
        dies.write_text(str(left - 1))
        end = ArmEnd(outcome=DIED, error="the server ended with exit code 9 during the run", seconds=2.0, versions={})
    write_record(folder.path / ENDED, end)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
