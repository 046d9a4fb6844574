"""A plan's chances on screen: what its questions can decide, before any of them is asked."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.judge.error_budget import fail_levels
from harness.judge.outlook import Outlook, missed_floors, outlooks
from harness.plan.plan import Plan
from harness.stats import ALPHA

ASSUMED = (
    "assumed: independent questions, a baseline that can do the tasks, the same truth in all of them; the run as far "
    "as drops decide it (floors, predictions and flips may FAIL it beside)"
)


def show_outlook(plan: Plan, console: Console) -> None:
    """Print the parts of the error budget, the chances of the verdicts, and how often a floor cries wolf."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"suite {plan.suite}: {plan.model}; what its questions can decide about a drop")
    say(f"\nparts of FAIL's {ALPHA:.0%}, which all gates share (each PASS is tested at {ALPHA:.0%} by itself):")
    for gate, level in (fail_levels(plan) or {"none, this plan judges nothing": 0.0}).items():
        say(f"  {gate}: {level:.2%}")
    found = outlooks(plan)
    if not found:
        say("\nno task is judged by a drop: nothing to plan")
        return
    console.print(_chances(found))
    for name, task in plan.tasks.items():
        if task.threshold.max_drop is not None:
            say(f"{name}: {task.questions} questions, allowed drop {task.threshold.max_drop * 100:g} points")
    if plan.pooled is not None:
        say(f"pooled: all of these together, allowed drop {plan.pooled.max_drop * 100:g} points")
    say(ASSUMED)
    for name, misses in missed_floors(plan).items():
        threshold = plan.tasks[name].threshold
        judged = "shown, not judged" if threshold.floor_rule == "upstream" else "judged"
        shares = ", ".join(f"{miss:.0%} at a true {accuracy:g}" for accuracy, miss in misses.items())
        say(f"{name}: a harmless model misses the floor {threshold.floor:g} ({judged}) in {shares}")


def _chances(found: Sequence[Outlook]) -> Table:
    names = list(found[0].outcomes)
    table = Table(title="PASS / FAIL / INCONCLUSIVE in % of runs", title_justify="left")
    for head in ("true drop, points", "discordance, %", *names):
        table.add_column(head, justify="right")
    for outlook in found:
        chances = [outlook.outcomes[name] for name in names]
        verdicts = [(chance.passes, chance.fails, chance.inconclusive) for chance in chances]
        table.add_row(
            "0, harmless" if outlook.drop == 0 else f"{outlook.drop * 100:g}",
            f"{outlook.discordance * 100:g}",
            *(" / ".join(f"{share * 100:.1f}" for share in shares) for shares in verdicts),
        )
    return table
