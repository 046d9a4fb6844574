"""Shows what a plan would do: the exact commands, the environment and every request's shape."""

import hashlib
import tempfile
from pathlib import Path

from rich.console import Console

from harness.evaluate import Task
from harness.fidelity.measure import protocol
from harness.fidelity.records import FIDELITY
from harness.fidelity.texts import build_texts, hash_texts
from harness.pipeline import check_tasks
from harness.plan import Plan


def show_plan(plan: Plan, console: Console) -> None:
    """Print a plan; loads the tasks and their data, starts nothing.

    Raises:
        HarnessError: A task or its data cannot be loaded, or a threshold names no metric of its task.
    """

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"suite {plan.suite}: {plan.model} at {plan.model_path}, on {plan.device}, TP {plan.tp}")
    for arm in plan.arms:
        say(f"\n{arm.name}:\n{arm.shell()}")
    with tempfile.TemporaryDirectory() as folder:
        tasks = [Task(name, of, Path(plan.data), Path(folder)) for name, of in plan.tasks.items()]
        check_tasks(tasks)
        for task in tasks:
            prompts = task.prompts()
            digest = hashlib.sha256("\0".join(prompts).encode()).hexdigest()
            say(f"\n{task.name}: {len(prompts)} questions on each arm, {task.plan.concurrency} at a time")
            say(f"  prompts: {sum(map(len, prompts))} characters in all, SHA-256 {digest[:16]}")
            for name, value in task.protocol().items():
                say(f"  {name}: {value!r}")
            say(f"  threshold: {task.plan.threshold.model_dump(exclude_none=True)}")
            say(f"  the first prompt ends in: {prompts[0][-200:]!r}")
    if plan.fidelity is not None:
        texts, threshold = build_texts(Path(plan.data), plan.fidelity.texts), plan.fidelity.threshold
        say(f"\n{FIDELITY}: {len(texts)} texts on each arm, {plan.fidelity.concurrency} at a time")
        characters = sum(len(text.content) for text in texts)
        say(f"  texts: {characters} characters in all, SHA-256 {hash_texts(texts)[:16]}")
        for name, value in protocol(plan.fidelity).items():
            say(f"  {name}: {value!r}")
        accepted = threshold.model_dump(exclude_none=True) if threshold else "none: a large shift is a WARNING"
        say(f"  threshold: {accepted}")
    say(f"\nthe run's folder: {plan.folder}")
    for reason in plan.refused:
        say(f"on this machine the run would be refused: {reason}")
