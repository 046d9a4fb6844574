"""Builds a report from a run's files alone, so that any report can be built again."""

import shlex
from typing import Any

from harness.errors import HarnessError
from harness.judge.alike import merge_like
from harness.judge.engagement import Engagement, prove
from harness.judge.failed_requests import settle, texts_without_numbers
from harness.judge.fidelity import fidelity_report
from harness.judge.live_check import read_live_check
from harness.judge.results import ArmReport, FidelityReport, TaskReport
from harness.judge.run import run_concerns, run_errors
from harness.judge.tasks import task_reports
from harness.judge.time_spent import time_spent
from harness.judge.verdict import EXIT_CODES, Judged, Verdict, judge_run
from harness.plan.plan import BASELINE, COMPRESSED, Arm, Plan
from harness.records.predictions import FIDELITY
from harness.records.run import BROKEN, ArmRecord, RunRecord, read_record
from harness.records.run_folder import ArmFolder, RunFolder
from harness.report.decision import decide
from harness.report.model import SCHEMA_VERSION, Report
from harness.safety import harmless


def build_report(folder: RunFolder, plan: Plan | None = None) -> Report:
    """Build the report of the run in `folder`.

    Args:
        folder: A run's folder, as the pipeline wrote it, finished or not.
        plan: Its plan with other thresholds, by which it is judged; None for its own.

    Raises:
        HarnessError: The plan is missing or of another version.
    """
    again = plan is not None
    plan = plan or read_record(folder.plan, Plan)
    run = _run_record(folder)
    arm_records: dict[str, ArmRecord | None] = {arm.name: _arm_record(folder.arm(arm.name)) for arm in plan.arms}
    arms: dict[str, ArmReport] = {
        arm.name: _arm_report(
            folder.arm(arm.name), plan, arm, arm_records[arm.name], run.versions.get("sglang", "unknown")
        )
        for arm in plan.arms
    }
    errors = run_errors(plan, arms, arm_records, run.ended_by)
    tasks, pooled = settle(folder, lambda answered: task_reports(answered, plan, arm_records))
    fidelity = fidelity_report(folder, plan, plan.fidelity) if plan.fidelity else None
    measured: list[TaskReport | FidelityReport] = [*tasks.values(), *([fidelity] if fidelity else [])]
    unfinished = _unfinished(plan, arm_records) if errors and run.ended_by else []
    if unfinished:
        errors.append(f"not finished for that reason: {', '.join(unfinished)}")
    judged = [
        Judged(verdict=Verdict(part.verdict), reasons=tuple(part.reasons))
        for name, part in zip([*tasks, FIDELITY], measured, strict=False)
        if name not in unfinished
    ]
    judged += [Judged(verdict=Verdict(pooled.verdict), reasons=tuple(pooled.reasons))] if pooled else []
    judged += texts_without_numbers(folder)
    if arms[COMPRESSED].known_answer is False:
        text = (
            f"the compressed server no longer continues {plan.known_answer.prompt!r} with {plan.known_answer.right!r}"
        )
        judged.append(Judged(verdict=Verdict.FAIL, reasons=(text,)))
    found = (*run_concerns(plan, arms), *(text for part in measured for text in part.warnings))
    warnings = [harmless(text) for text in found]
    if plan.strict and warnings:
        count = f"{len(warnings)} WARNING{'S' if len(warnings) > 1 else ''}"
        judged.append(Judged(verdict=Verdict.FAIL, reasons=(f"strict: {count}, each of which is a FAIL",)))
    verdict = judge_run(judged, merge_like(errors))
    return Report(
        schema_version=SCHEMA_VERSION,
        run_id=plan.run_id,
        suite=plan.suite,
        model=plan.model,
        device=plan.device,
        started=run.started,
        verdict=verdict.verdict,
        exit_code=EXIT_CODES[verdict.verdict],
        # A folder may hold anybody's words: a model's, a server's, or those of who sent it.
        reasons=[harmless(text) for text in verdict.reasons],
        decision=decide(
            verdict.verdict,
            warnings=warnings,
            tasks=tasks,
            fidelity=fidelity,
            compressed=arms[COMPRESSED],
            device=plan.device,
            repeat=plan.repeat,
        ),
        warnings=warnings,
        notes=[
            *([f"judged again by {plan.thresholds}; the run's own report stays as it was"] if again else []),
            *_notes(plan, run, tasks, arms[COMPRESSED].engagement),
        ],
        arms=arms,
        tasks=tasks,
        pooled=pooled,
        fidelity=fidelity,
        data=plan.data_manifest,
        timings=_timings(run, arm_records),
        time=time_spent(plan, run, arm_records),
        versions={**run.versions, **_server_versions(arms)},
        repeat=plan.repeat,
        rebuild=f"nox -s report -- {shlex.quote(str(folder.path))}"
        + (f" --thresholds {shlex.quote(plan.thresholds)}" if again else ""),
    )


def _unfinished(plan: Plan, arm_records: dict[str, ArmRecord | None]) -> list[str]:
    """Return what not every arm was asked in full: after an error that is its consequence, no finding of its own."""
    names = [*plan.tasks, *([FIDELITY] if plan.fidelity is not None else [])]
    return [name for name in names if any(not record or name not in record.tasks for record in arm_records.values())]


def _run_record(folder: RunFolder) -> RunRecord:
    try:
        return read_record(folder.run, RunRecord)
    except HarnessError as error:
        return RunRecord(started="unknown", seconds=0.0, errors=[str(error)], versions={}, state=BROKEN)


def _arm_record(folder: ArmFolder) -> ArmRecord | None:
    return read_record(folder.record, ArmRecord) if folder.record.exists() else None


def _arm_report(folder: ArmFolder, plan: Plan, arm: Arm, record: ArmRecord | None, sglang: str) -> ArmReport:
    engagement = prove(plan, arm, folder.engagement, sglang=sglang)
    return ArmReport(
        server_args=record.server_args if record else {},
        command=f"# not started in this run: taken from {plan.reuse_baseline}"
        if plan.reuse_baseline is not None and arm.name == BASELINE
        else arm.shell(),
        known_answer=record.known_answer if record else None,
        seconds_to_ready=record.seconds_to_ready if record else None,
        engagement=engagement,
        own_prefill=record.own_prefill if record else None,
        traffic=record.traffic if record else None,
        live_check=read_live_check(
            folder.engagement,
            engagement,
            tp=plan.tp,
            every=arm.check_every,
            policy=plan.policy_of(arm),
            sites=plan.sites,
        ),
    )


def _template_notes(name: str, asked: dict[str, Any], *, texts: bool) -> list[str]:
    if asked.get("chat_template", "none") == "none":
        return []
    system = "no system text" if asked["system"] is None else f"system text {asked['system']!r}"
    worded = f"{name}: worded by the model's chat template, {system}, thinking {asked['thinking']}"
    return [worded, *(["fidelity: its texts are read bare, without the chat template"] if texts else [])]


def _notes(plan: Plan, run: RunRecord, tasks: dict[str, TaskReport], engagement: Engagement) -> list[str]:
    notes = [harmless(f"the run was resumed after it had ended: {why}") for why in run.resumed]
    notes += map(harmless, run.notes)
    for name, task in tasks.items():
        if task.paired.answers_changed:
            share = task.paired.answers_changed / task.n
            notes.append(f"{name}: {task.paired.answers_changed} of {task.n} answers changed ({share:.0%})")
        if task.compressed.truncated:
            notes.append(
                f"{name}: {task.compressed.truncated:.0%} of the compressed arm's answers ended at the token cap"
            )
        notes += _template_notes(name, task.protocol or {}, texts=plan.fidelity is not None)
        calibration = task.threshold.calibration
        if calibration is not None and calibration.questions != task.n:
            notes.append(
                f"{name}: its threshold was calibrated with {calibration.questions} questions, here are {task.n}"
            )
        if calibration is not None and calibration.sglang != engagement.facts.get("sglang", calibration.sglang):
            notes.append(
                f"{name}: its threshold was calibrated with SGLang {calibration.sglang} on {calibration.date}, this "
                f"is {engagement.facts['sglang']}"
            )
    if plan.reuse_baseline is not None:
        notes.append(f"the baseline was not measured in this run but taken from {plan.reuse_baseline}")
    implementation = engagement.facts.get("implementation")
    if implementation == "harness.collective":
        codec, algorithm = engagement.facts.get("codec"), engagement.facts.get("algorithm")
        notes.append(
            f"compressed by the bundled quant_all_reduce ({codec}, {algorithm}) on {plan.device}; SGLang's own on an "
            "NPU was not run"
        )
    elif implementation and ":" in implementation:
        codec, algorithm = engagement.facts.get("codec"), engagement.facts.get("algorithm")
        notes.append(f"implementation under test: {implementation}, which claims to be {codec} ({algorithm})")
    # Of several tasks each has a line of its own; what is the same of all is told once.
    return list(dict.fromkeys(notes))


def _timings(run: RunRecord, arm_records: dict[str, ArmRecord | None]) -> dict[str, float]:
    timings = {"total": run.seconds}
    for arm, record in arm_records.items():
        if record is not None:
            timings[f"{arm}.start"] = record.seconds_to_ready
            timings |= {f"{arm}.{task}": done.seconds for task, done in record.tasks.items()}
    return {name: round(seconds, 1) for name, seconds in timings.items()}


def _server_versions(arms: dict[str, ArmReport]) -> dict[str, str]:
    facts: dict[str, Any] = arms[BASELINE].engagement.facts
    return {name: str(facts[name]) for name in ("sglang", "torch") if name in facts}
