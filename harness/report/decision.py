"""What a person may do after a run, in a sentence: the end of every form of the report."""

import shlex
from collections.abc import Iterator

from harness.judge.results import ArmReport, FidelityReport, TaskReport
from harness.judge.verdict import Verdict

# With the fewest harms of what has as many bytes: docs/findings.md.
SAFER = "int8_hadamard"
ALREADY = "hadamard"
FIRST = "token 0"


def decide(
    verdict: str,
    *,
    warnings: list[str],
    tasks: dict[str, TaskReport],
    fidelity: FidelityReport | None,
    compressed: ArmReport,
    device: str,
    repeat: str,
) -> str:
    """Return what may be done.

    Args:
        verdict: The run's.
        warnings: Its WARNINGs.
        tasks: Its tasks.
        fidelity: Its predictions of fixed text.
        compressed: The compressed arm.
        device: `cpu`, `cuda` or `npu`.
        repeat: The command that repeats it.
    """
    if verdict == Verdict.ERROR:
        return f"decides nothing, and no figure counts: mend what the first reason names, then run again: {repeat}"
    advice = _advice(compressed, device, study_command(repeat))
    if verdict == Verdict.FAIL:
        return f"compression is not to be switched on by your thresholds: {advice}"
    if verdict == Verdict.INCONCLUSIVE:
        return "compression is not shown to be safe, nor to do harm: ask as many questions as the reasons say"
    if not warnings:
        return "compression may be switched on by your thresholds"
    moved = list(_moved(warnings, tasks, fidelity)) or ["read the WARNINGs"]
    return f"compression may be switched on by your thresholds; but: {', '.join(moved)}: {advice}"


def study_command(repeat: str) -> str:
    """Return the command that studies the suite of a run's command."""
    words = shlex.split(repeat)
    named = words[words.index("--suite") + 1 :][:1] if "--suite" in words else []
    return shlex.join(["nox", "-s", "study", *(["--", "--suite", *named] if named else [])])


def _advice(compressed: ArmReport, device: str, study: str) -> str:
    codec = str(compressed.engagement.facts.get("codec", ""))
    if device == "npu":
        return f"SGLang's own code compresses there; what other codecs would keep: `{study}`"
    if ALREADY in codec:
        return f"see `{study}`"
    return f"try {SAFER} (`--codec {SAFER}`; see `{study}`)"


def _moved(warnings: list[str], tasks: dict[str, TaskReport], fidelity: FidelityReport | None) -> Iterator[str]:
    for name, task in tasks.items():
        if task.n and task.paired.answers_changed and any(text.startswith(f"{name}: ") for text in warnings):
            yield f"{task.paired.answers_changed / task.n:.0%} of {name}'s answers changed"
    if fidelity is not None and fidelity.warnings and fidelity.compressed.overall is not None:
        yield f"predictions moved {fidelity.compressed.overall.kl.mean:.3f} nats"
        positions = fidelity.compressed.positions
        if positions and max(positions, key=lambda name: positions[name].kl.mean) == FIRST:
            yield f"{FIRST} most"
