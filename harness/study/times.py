"""How long a prefill's all-reduces would take on a link, by the performance model. Pure functions of measurements."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.performance.links import Link
from harness.performance.measurements import Run, from_json
from harness.performance.model import Message, compressed_seconds, plain_seconds
from harness.places import ROOT
from harness.sglang_plugin.policy import OWN, SITES, Choice, parse
from harness.strict import Strict
from harness.study.records import Measured

# The kernels that were measured; of a codec that is not among them the wire alone is predicted.
KERNELS = ROOT / "docs" / "measurements" / "h100.json"


class PredictedTime(Strict):
    """A model's word, not a measurement: see `harness.performance.model`.

    Attributes:
        microseconds: All sums of one prefill, as the policy makes them.
        over_plain: Over a plain ring all-reduce's.
        kernels: Whether the codecs' kernels are in it; otherwise it is the wire alone, a lower bound.
    """

    microseconds: float
    over_plain: float
    kernels: bool


def measured_kernels(file: Path = KERNELS) -> Run:
    """Return the kernels' times that the repository keeps."""
    return from_json(file.read_text(encoding="utf-8"))


def predict_time(
    measured: Measured, found: Sequence[Measured], link: Link, *, tokens: int, kernels: Run
) -> PredictedTime | None:
    """Predict the sums of a prefill under a policy.

    Args:
        measured: The policy's measurements.
        found: All measurements at these ranks: a codec sends in one sum what it sent in all sums alike.
        link: What joins the ranks.
        tokens: The prefill's.
        kernels: Measured kernels.

    Returns:
        None where the link joins fewer ranks, where what a codec sends was not measured, and for mechanisms of
        others, whose steps are their own.
    """
    ranks, traffic = measured.ranks, measured.traffic
    over_ring = {choice: one.traffic.over_ring for one in found for choice in [_uniform(one)] if choice}
    counts = _sums(measured)
    compressed = [choice for choice in counts if choice is not None]
    if ranks > link.most_ranks or any(choice.algorithm == OWN or choice not in over_ring for choice in compressed):
        return None
    ring = traffic.ring / traffic.tokens / counts.total() * tokens
    plain = plain_seconds(link, ranks, ring)
    complete = {choice.codec for choice in compressed} <= {kernel.codec for kernel in kernels.measurements}
    total = counts[None] * plain
    # A ring sends 2 (N - 1) / N times the message; two-shot sends as many encoded ones, one-shot N - 1.
    times = 2 * (ranks - 1) / ranks
    for choice in compressed:
        sent = over_ring[choice] * ring
        encoded = sent / (ranks - 1 if choice.algorithm == "one_shot" else times)
        message = Message(plain=ring / times, encoded=encoded, sent=sent)
        total += counts[choice] * compressed_seconds(
            kernels if complete else None, link, ranks, message, algorithm=choice.algorithm, codec=choice.codec
        )
    return PredictedTime(microseconds=total * 1e6, over_plain=total / (counts.total() * plain), kernels=complete)


def _uniform(measured: Measured) -> Choice | None:
    """Return the one choice of a policy that treats all sums alike."""
    rules = parse({"rules": measured.rules}).rules
    return rules[0].choice if len(rules) == 1 else None


def _sums(measured: Measured) -> Counter[Choice | None]:
    """Return how many sums of one prefill are made how."""
    policy = parse({"rules": measured.rules})
    layers = measured.traffic.sums // measured.traffic.prefills // len(SITES)
    return Counter(policy.choice(site, layer) for site in SITES for layer in range(layers))
