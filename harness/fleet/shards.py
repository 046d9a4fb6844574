"""Puts together what the servers of one arm left, each asked a part: as if one had been started again."""

import shutil
from collections.abc import Sequence

from harness.errors import HarnessError
from harness.judge.run import differing_settings
from harness.records.run import ArmRecord, TaskRecord, Traffic, read_record, write_record
from harness.records.run_folder import ArmFolder
from harness.records.time_spent import Passes, Span, Spent


def merge(parts: Sequence[ArmFolder], into: ArmFolder, *, began: float) -> None:
    """Write an arm's folder of its shards', in their order.

    A run that was resumed has the same: files that go on with another start, and a record of all starts. On the run's
    clock the shards follow each other, though they may have run side by side: it counts servers' time.

    Args:
        parts: The shards' folders.
        into: The arm's folder, which is made.
        began: When the first one began on the run's clock.

    Raises:
        HarnessError: A record is broken, or the servers were not alike.
        OSError: A file cannot be written.
    """
    for part in parts:
        for file in sorted(file for file in part.path.rglob("*") if file.is_file() and file != part.record):
            place = into.path / file.relative_to(part.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix in {".jsonl", ".log"}:
                with file.open("rb") as content, place.open("ab") as out:
                    shutil.copyfileobj(content, out)
            else:
                shutil.copy2(file, place)
    records = [read_record(part.record, ArmRecord) for part in parts if part.record.exists()]
    if records:
        write_record(into.record, merge_records(records, began=began))


def merge_records(records: Sequence[ArmRecord], *, began: float) -> ArmRecord:
    """Return one record of an arm's shards; arguments and errors as for `merge`."""
    shifted: list[ArmRecord] = []
    for record in records:
        own = record.starts[0].began if record.starts else 0.0
        shifted.append(_shifted(record, began - own))
        began = max(began, shifted[-1].until)
    first, *others = shifted
    for number, other in enumerate(others, start=1):
        if differing := differing_settings(first.server_args, other.server_args):
            raise HarnessError(f"the server of shard {number} has another {differing[0]} than that of shard 0")
    own_prefills = [record.own_prefill for record in shifted]
    return first.model_copy(
        update={
            "known_answer": all(record.known_answer for record in shifted),
            "own_prefill": None if None in own_prefills else sum(own for own in own_prefills if own is not None),
            "traffic": sum((record.traffic for record in shifted), Traffic()),
            "tasks": {
                name: _merged([record.tasks[name] for record in shifted])
                for name in first.tasks
                if all(name in record.tasks for record in shifted)
            },
            # Nothing goes on from here: a shard that is not done runs again as a whole.
            "checkpoint": None,
            "starts": [span for record in shifted for span in record.starts],
        }
    )


def _merged(tasks: Sequence[TaskRecord]) -> TaskRecord:
    spent = [task.spent for task in tasks if task.spent is not None]
    passes = [part.passes for part in spent if part.passes is not None]
    together = Spent(
        spans=[span for part in spent for span in part.spans],
        waited=sum(part.waited for part in spent),
        passes=sum(passes, Passes()) if len(passes) == len(tasks) else None,
    )
    seconds = sum(task.seconds for task in tasks)
    return tasks[0].model_copy(update={"seconds": seconds, "spent": together if len(spent) == len(tasks) else None})


def _shifted(record: ArmRecord, seconds: float) -> ArmRecord:
    """Return a record with its spans so much later."""

    def later(spans: Sequence[Span]) -> list[Span]:
        return [Span(began=span.began + seconds, ended=span.ended + seconds) for span in spans]

    tasks = {
        name: task.model_copy(
            update={"spent": task.spent and task.spent.model_copy(update={"spans": later(task.spent.spans)})}
        )
        for name, task in record.tasks.items()
    }
    return record.model_copy(update={"starts": later(record.starts), "tasks": tasks, "checkpoint": None})
