"""What the table shows, measured: errors, noise, bytes and time of every codec and algorithm."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.collective import ring_bytes
from harness.collective.activations import Activation, load_activations
from harness.collective.bounds import sum_bound
from harness.places import cache
from suites.numerics.cases.case import DTYPES, Case
from suites.numerics.promises.statistics import measured_and_predicted
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial, over_bound
from suites.ranks.pool import Pool
from suites.ranks.timing import compare

DATA = ("gaussian", "spikes:100", "cancellation")

SHAPE = (32, 1024)
"""T x H of the messages of made-up data: their noise is known to about 0.05 dB."""

TIMED_SHAPE = (512, 1024)
"""T x H of the messages that are timed, bf16: a short prefill."""

CAPTURED = cache() / "activations.pt"
"""Where real activations are looked for: two ranks' messages in one prefill, from the plugin."""

CAPTURE_COMMAND = "nox -s table"


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Errors of one subject on one input.

    Attributes:
        codec: What it claims.
        algorithm: Likewise.
        ranks: N.
        data: A kind of ``suites.numerics.cases.data``, or the site of captured activations.
        layer: Of captured activations, else None.
        over_bound: The worst element's error over its bound, on whichever rank.
        sqnr_db: Signal to quantization noise; with spikes, of the channels beside them.
        predicted_db: What ``bounds.noise`` predicts for it.
    """

    codec: str
    algorithm: str
    ranks: int
    data: str
    layer: int | None = None
    over_bound: float
    sqnr_db: float
    predicted_db: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Bytes and time of one subject.

    Attributes:
        codec: What it claims.
        algorithm: Likewise.
        ranks: N.
        sent: Bytes a rank passed to torch.distributed for a ``SHAPE`` message, counted.
        over_ring: That over what a ring all-reduce of such messages sends.
        seconds: For a ``TIMED_SHAPE`` message in bf16, the median of the slowest ranks.
        over_plain: Median ratio to a plain all-reduce beside it. Both None where nothing was timed.
    """

    codec: str
    algorithm: str
    ranks: int
    sent: float
    over_ring: float
    seconds: float | None
    over_plain: float | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All that was measured.

    Attributes:
        accuracy: Of made-up data.
        real: Of captured activations.
        cost: Bytes and times.
        captured: Whether captured activations were there.
        dtype: Of the made-up messages.
        rounds: How often each was timed.
    """

    accuracy: tuple[Accuracy, ...]
    real: tuple[Accuracy, ...]
    cost: tuple[Cost, ...]
    captured: bool
    dtype: str
    rounds: int

    @property
    def beyond_bound(self) -> list[Accuracy]:
        """Those with an element whose error is larger than its bound."""
        return [measured for measured in (*self.accuracy, *self.real) if not measured.over_bound <= 1]


def measure(
    pool: Pool,
    subjects: Sequence[Subject],
    rank_counts: Sequence[int],
    *,
    rounds: int,
    dtype: str = "bf16",
    captured: Path = CAPTURED,
) -> Figures:
    """Measures everything.

    Args:
        pool: A pool with groups of ``rank_counts``.
        subjects: What is measured.
        rank_counts: Over how many ranks.
        rounds: How often each is timed; 0 for not at all.
        dtype: Of the made-up messages.
        captured: A file of real activations, which need not be there.

    Raises:
        ValueError: ``captured`` is there and is no such file.
        ViolationError: An implementation raised, or its result has another shape or dtype than its input.
    """
    there = captured.is_file()
    real = load_activations(str(captured)) if there else ()
    return Figures(
        accuracy=tuple(
            accuracy_of(pool, subject, Case(ranks=ranks, shape=SHAPE, dtype=dtype, data=data, seed=ranks))
            for data in DATA
            for subject in subjects
            for ranks in rank_counts
        ),
        real=tuple(
            accuracy_of(pool, subject, case, activation)
            for subject in subjects
            for case, activation in _real_cases(captured, real, rank_counts)
        ),
        cost=tuple(cost for ranks in rank_counts for cost in costs_of(pool, subjects, ranks, dtype, rounds)),
        captured=there,
        dtype=dtype,
        rounds=rounds,
    )


def _real_cases(
    file: Path, real: Sequence[Activation], rank_counts: Sequence[int]
) -> Iterator[tuple[Case, Activation]]:
    names = {dtype: name for name, dtype in DTYPES.items()}
    for index, activation in enumerate(real):
        ranks, *shape = activation.values.shape
        if ranks in rank_counts:
            data = f"activations:{file}:{index}"
            yield Case(ranks=ranks, shape=tuple(shape), dtype=names[activation.values.dtype], data=data), activation


def accuracy_of(pool: Pool, subject: Subject, case: Case, captured: Activation | None = None) -> Accuracy:
    """Reduces one case over real processes and judges every rank's result.

    Raises:
        ViolationError: The implementation raised, or its result has another shape or dtype than its input.
    """
    trial = Trial(pool, subject, "pointwise_bound")
    inputs = case.inputs()
    exact, bound = inputs.double().sum(dim=0), sum_bound(inputs, subject.claimed, subject.algorithm)
    results = trial.run(case)
    for rank, result in enumerate(results):
        trial.shaped_like_input(case, result, rank)
    worst = max(over_bound(result.out.double(), exact, bound).max().item() for result in results)
    # The suite holds all ranks to the same bits, so that one rank's noise is everyone's.
    sqnr_db, predicted_db = measured_and_predicted(subject, case, results[0].out)
    return Accuracy(
        codec=subject.codec,
        algorithm=subject.algorithm,
        ranks=case.ranks,
        data=captured.site if captured else case.data,
        layer=captured.layer if captured else None,
        over_bound=worst,
        sqnr_db=sqnr_db,
        predicted_db=predicted_db,
    )


def costs_of(pool: Pool, subjects: Sequence[Subject], ranks: int, dtype: str, rounds: int) -> Iterator[Cost]:
    """Counts each subject's bytes, and times all of them and the plain all-reduce in turn."""
    names = {subject: subject.implementation or f"{subject.codec}/{subject.algorithm}" for subject in subjects}
    timings = compare(pool, ranks, list(names.values()), TIMED_SHAPE, rounds) if rounds else {}
    case = Case(ranks=ranks, shape=SHAPE, dtype=dtype, seed=ranks)
    for subject, name in names.items():
        counted = Trial(pool, subject, "bytes_on_the_wire").run_in_turn([case], count=True)
        sent = max(result.sent for [result] in counted)
        yield Cost(
            codec=subject.codec,
            algorithm=subject.algorithm,
            ranks=ranks,
            sent=sent,
            over_ring=sent / ring_bytes(SHAPE, ranks, DTYPES[dtype]),
            seconds=timings[name].seconds if rounds else None,
            over_plain=timings[name].over_plain if rounds else None,
        )
