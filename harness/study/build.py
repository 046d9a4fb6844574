"""Builds a study's report from its files alone."""

from math import inf

from harness.errors import HarnessError
from harness.performance.links import find_link
from harness.records.run import RunRecord, read_record
from harness.sglang_plugin.policy import OWN, Rule, parse
from harness.study.figures import figures, kl_of, scored
from harness.study.folder import StudyFolder
from harness.study.model import (
    SCHEMA_VERSION,
    Additivity,
    Confirmation,
    MeasuredPolicy,
    MeasuredRows,
    MeasuredSite,
    Recommended,
    StudyReport,
)
from harness.study.plan import StudyPlan, algorithm_for, arm_name
from harness.study.records import Measured, read_measured
from harness.study.search import frontier
from harness.study.times import PredictedTime, measured_kernels, predict_time


def build_study(folder: StudyFolder) -> StudyReport:
    """Build the report of the study in `folder`.

    Raises:
        HarnessError: A file is missing or of another version.
    """
    plan = read_record(folder.plan, StudyPlan)
    run = read_record(folder.run, RunRecord)
    found = {ranks: read_measured(folder.path / arm_name(ranks)) for ranks in plan.ranks}
    noise = {ranks: _only(measured, "noise") for ranks, measured in found.items()}
    candidates = [policy for measured in found.values() for policy in policies(plan, measured, ("candidate", "mix"))]
    first = found[plan.ranks[0]]
    return StudyReport(
        schema_version=SCHEMA_VERSION,
        run_id=plan.run_id,
        suite=plan.suite,
        model=plan.model,
        device=plan.device,
        budget_kl=plan.budget_kl,
        ranks=plan.ranks,
        link=find_link(plan.link).name,
        prefill=plan.prefill,
        noise={str(ranks): figures(measured, measured).overall.kl for ranks, measured in noise.items()},
        answers_noise={
            str(ranks): by_itself
            for ranks, measured in found.items()
            for again in measured
            if again.purpose == "again" and (by_itself := scored(again, noise[ranks]))
        },
        candidates=candidates,
        sites=[_site(measured) for measured in first if measured.purpose == "site"],
        rows=[_rows(measured) for measured in first if measured.purpose == "rows"],
        spared=policies(plan, first, ("spared",)),
        additivity=_additivity(first),
        recommended=recommend(plan, candidates),
        confirmed=read_record(folder.confirmation, Confirmation) if folder.confirmation.exists() else None,
        versions=run.versions,
        repeat=plan.repeat,
    )


def _only(measured: list[Measured], purpose: str) -> Measured:
    return next(one for one in measured if one.purpose == purpose)


def policies(plan: StudyPlan, found: list[Measured], purposes: tuple[str, ...]) -> list[MeasuredPolicy]:
    """Return the policies that were measured for some purposes at one number of ranks."""
    link, kernels = find_link(plan.link), measured_kernels()
    plain = _only(found, "noise")
    chosen = [measured for measured in found if measured.purpose in purposes]
    points = [(measured.traffic.over_ring, kl_of(measured)) for measured in chosen]
    best = {chosen[index].name for index in frontier(points)}
    times = {
        measured.name: predict_time(measured, found, link, tokens=plan.prefill, kernels=kernels)
        for measured in chosen
    }
    return [
        _policy(measured, plain, time=times[measured.name], on_frontier=measured.name in best) for measured in chosen
    ]


def _policy(measured: Measured, plain: Measured, *, time: PredictedTime | None, on_frontier: bool) -> MeasuredPolicy:
    found = figures(measured, plain)
    rules = parse({"rules": measured.rules}).rules
    choice = rules[0].choice if len(rules) == 1 else None
    return MeasuredPolicy(
        purpose=measured.purpose,
        name=measured.name,
        codec=choice.codec if choice else "",
        algorithm=choice.algorithm if choice else "",
        ranks=measured.ranks,
        policy=measured.rules,
        bytes_over_ring=measured.traffic.over_ring,
        texts=found.texts,
        time=time,
        kl=found.overall.kl,
        same_top=found.overall.same_top,
        loglikelihood=found.overall.loglikelihood,
        positions=found.positions,
        flips=found.scored,
        dropped=measured.dropped,
        on_frontier=on_frontier,
    )


def _compressed_site(measured: Measured) -> Rule:
    """Return the rule of a policy that compresses one site: the last."""
    return parse({"rules": measured.rules}).rules[-1]


def _site(measured: Measured) -> MeasuredSite:
    rule = _compressed_site(measured)
    if rule.choice is None or rule.site is None or rule.layers is None:
        raise HarnessError(f"{measured.name}: its policy compresses more than one site: {measured.rules}")
    return MeasuredSite(codec=rule.choice.codec, site=rule.site, layer=rule.layers[0], kl=kl_of(measured))


def _rows(measured: Measured) -> MeasuredRows:
    choice = _compressed_site(measured).choice
    if choice is None or choice.rows is None:
        raise HarnessError(f"{measured.name}: its policy compresses all rows: {measured.rules}")
    rows = choice.rows
    return MeasuredRows(
        by=rows.by,
        name=str(rows),
        low=rows.low,
        high=None if rows.high == inf else rows.high,
        kl=figures(measured, measured).overall.kl,
    )


def _additivity(found: list[Measured]) -> list[Additivity]:
    sites = [(_site(measured), measured) for measured in found if measured.purpose == "site"]
    together = {measured.name: measured for measured in found if measured.purpose == "candidate"}
    rows = []
    for codec in dict.fromkeys(site.codec for site, _ in sites):
        alone = [(site, measured) for site, measured in sites if site.codec == codec]
        uniform = together.get(f"{codec} {algorithm_for(alone[0][1].ranks)}")
        if uniform is not None:
            texts = {text.text for text in alone[0][1].texts}
            rows.append(
                Additivity(
                    codec=codec,
                    sum_alone=sum(site.kl for site, _ in alone),
                    together=kl_of(uniform, texts=texts),
                )
            )
    return rows


def recommend(plan: StudyPlan, candidates: list[MeasuredPolicy]) -> Recommended | None:
    """Return the policy of the fewest bytes whose harm is surely within the budget, at the first number of ranks."""
    kept = [
        policy
        for policy in candidates
        if policy.ranks == plan.ranks[0]
        and policy.kl.high <= plan.budget_kl
        and not policy.dropped
        # What only virtual ranks compute can be switched on by nobody.
        and policy.algorithm != OWN
    ]
    if not kept:
        return None
    best = min(kept, key=lambda policy: (policy.bytes_over_ring, policy.kl.mean))
    return Recommended(name=best.name, policy=best.policy, kl=best.kl, bytes_over_ring=best.bytes_over_ring)
