"""A study on screen: what would be measured, and what was found."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from harness.judge.verdict import EXIT_CODES, Verdict
from harness.plan.model_folder import layers_of
from harness.study.flow import FRONTIER, SPARED
from harness.study.folder import StudyFolder
from harness.study.measurements import QUESTION_S, ROWS, START_S, TEXT_S, cut, independent, seconds_of
from harness.study.model import StudyReport
from harness.study.plan import MIX_CODECS, PR_CODEC, StudyPlan
from harness.study.words import by_harm, said_time


def show_plan(plan: StudyPlan, console: Console, *, shared: bool = False, parts: int | None = None) -> None:
    """Print what a study would measure, and about how long it would take on two cores with the small model.

    Args:
        plan: The study.
        console: Where to.
        shared: Whether it would be shared out over Ray's hosts.
        parts: Among how many servers; None for as many as these have room for.
    """

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    texts, scored = sum(plan.texts.texts.values()), f"{plan.questions} questions of {plan.scored_task}"
    say(f"study of {plan.model} at {plan.model_path}, on {plan.device}; budget {plan.budget_kl:g} nats a token")
    say(f"{texts} fixed texts of up to {plan.texts.max_tokens} tokens; {scored}")
    for arm in plan.arms:
        say(f"\n{arm.name}:\n{arm.shell()}")
    say("\npolicies for all sums alike:")
    for candidate in plan.candidates:
        say(f"  {candidate.ranks} ranks: {candidate.codec} {candidate.algorithm}")
    count = len(plan.candidates) + len(plan.ranks)
    seconds = len(plan.ranks) * (START_S + texts * TEXT_S)
    if plan.sites:
        say(f"every site of every layer alone, by 2 codecs, on {plan.site_texts} texts, and {len(SPARED) + 1} curves")
        say(f"{len(ROWS)} classes of rows alone, by crest factor and position")
        say(f"mixes by site of {', '.join(MIX_CODECS)}")
        count += len(FRONTIER) + 1
    seconds += count * (texts * TEXT_S + plan.questions * QUESTION_S)
    say(
        f"\nabout {seconds / 60:.0f} minutes on two cores with the small model"
        + (f", and {plan.site_texts * TEXT_S:.0f} s for each site and codec" if plan.sites else "")
        + "; what an earlier study measured is taken from it"
    )
    if shared:
        _show_sharing(plan, parts, say)


def _show_sharing(plan: StudyPlan, parts: int | None, say: Callable[[str], None]) -> None:
    """Say how a study would be shared out, as if nothing of it had been measured before."""
    layers = layers_of(plan.model_path) or 0
    wanted = independent(plan, layers)
    sites = (
        "" if layers or not plan.sites else ", and every site, of which there is no knowing before the model is here"
    )
    say(f"\nshared out over Ray's hosts: {len(wanted)} measurements that depend on no other result{sites}")
    if parts is None:
        say("  in as many parts as the hosts that are up have room for servers at once")
    for number, share in enumerate(cut(wanted, parts) if parts else [], start=1):
        ranks = dict.fromkeys(one.ranks for one in share)
        minutes = (len(ranks) * (START_S + plan.all_texts * TEXT_S) + sum(map(seconds_of, share))) / 60
        servers = ", ".join(map(str, ranks))
        say(f"  part-{number}: {len(share)} measurements at {servers} ranks, about {minutes:.0f} minutes")
    say("the rest (sites left plain in turn, mixes, what a real run is compared with) is measured here afterwards")


def show_study(report: StudyReport, folder: StudyFolder, console: Console) -> None:
    """Print every policy, the recommendation and where the page is."""
    table = Table(title=f"Compression of {report.model}", title_justify="left")
    columns = ("ranks", "policy", "bytes", "time", "mean KL (90 % interval)", "token 0", "same top token", "turned")
    for name in columns:
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy in by_harm(report.candidates):
        kl, scored = policy.kl, policy.flips
        table.add_row(
            str(policy.ranks),
            f"{policy.name}{' *' if policy.on_frontier else ''}",
            f"{policy.bytes_over_ring:.2f}",
            said_time(policy.time),
            f"{kl.mean:.3g} ({kl.low:.3g} to {kl.high:.3g})",
            f"{policy.positions['token 0'].kl.mean:.3g}",
            f"{policy.same_top.mean:.3f}",
            f"{scored.flips}/{scored.questions}" if scored else "-",
        )
    console.print(table)

    def say(text: str, style: str | None = None) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True, style=style)

    say("* no other policy does less harm for as few bytes (a plain ring all-reduce is 1); KL in nats a token")
    say(
        f"time: of all sums of a prefill of {report.prefill} tokens over plain ones', predicted for {report.link} "
        "with kernels measured on an H100; >=: the wire alone, since the codec's kernels were not measured"
    )
    for row in report.additivity:
        worst = max((site for site in report.sites if site.codec == row.codec), key=lambda site: site.kl)
        say(
            f"{row.codec}: layer {worst.layer} {worst.site} does most harm alone, {worst.kl:.4f} of "
            f"{row.sum_alone:.4f} nats over all sites; all together do {row.together:.4f}"
        )
    if report.rows:
        say(f"{PR_CODEC} in some rows alone: {'; '.join(f'{rows.name} {rows.kl.mean:.3g}' for rows in report.rows)}")
    if report.recommended is None:
        say(f"\nno measured policy surely keeps {report.budget_kl:g} nats a token", "bold yellow")
    else:
        best = report.recommended
        say(
            f"\nrecommended at {report.ranks[0]} ranks: {best.name}, {best.bytes_over_ring:.2f} of the bytes, KL "
            f"{best.kl.mean:.2g} (surely below {best.kl.high:.2g}; budget {report.budget_kl:g})",
            "bold green",
        )
        say(f"policy: {folder.policy}")
    if (confirmed := report.confirmed) is not None:
        say(
            f"{'confirmed' if confirmed.agrees else 'NOT confirmed'} by a real run ({confirmed.verdict}): KL "
            f"{confirmed.run_kl.mean:.3g}, predicted {confirmed.predicted.mean:.3g} "
            f"({confirmed.predicted.low:.3g} to {confirmed.predicted.high:.3g})",
            "bold green" if confirmed.agrees else "bold red",
        )
    say(f"report: {folder.markdown}")


def exit_code(report: StudyReport) -> int:
    """Return 0 where a policy is recommended, 2 where none is; of a confirmed one the run's, or 1 if it disagrees."""
    if report.recommended is None:
        return EXIT_CODES[Verdict.INCONCLUSIVE]
    if (confirmed := report.confirmed) is None:
        return EXIT_CODES[Verdict.PASS]
    if not confirmed.agrees and confirmed.verdict != Verdict.ERROR:
        return EXIT_CODES[Verdict.FAIL]
    return EXIT_CODES[Verdict(confirmed.verdict)]
