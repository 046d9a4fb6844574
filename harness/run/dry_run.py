"""Shows what a plan would do: the exact commands, the environment and every request's shape."""

import tempfile
from pathlib import Path

from rich.console import Console

from harness.ask.questionnaire import hash_contents
from harness.plan.plan import Plan
from harness.run.setup import load_questionnaires


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
        for asked in load_questionnaires(plan, Path(folder)):
            contents = asked.contents()
            say(f"\n{asked.name}: {len(contents)} {asked.unit} on each arm, {asked.concurrency} at a time")
            characters = sum(len(content) for content in contents)
            say(f"  prompts: {characters} characters in all, SHA-256 {hash_contents(contents)[:16]}")
            for name, value in asked.protocol().items():
                say(f"  {name}: {value!r}")
            say(f"  threshold: {asked.accepted}")
            say(f"  the first prompt ends in: {contents[0][-200:]!r}")
    say(f"\nthe run's folder: {plan.folder}")
    for reason in plan.refused:
        say(f"on this machine the run would be refused: {reason}")
