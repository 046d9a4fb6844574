"""How far a served sum lies from the exact one, in numbers that can be added up over calls, layers and ranks."""

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from harness.collective import Codec, simulate_all_reduce
from harness.collective.bounds import sum_bound


@dataclass
class Tally:
    """What was measured over some tokens. Powers are sums of squares over elements, in fp64.

    Attributes:
        tokens: Tokens.
        elements: Their elements.
        beyond: Elements further from the exact sum than the claimed codec's bound, or not finite.
        over_bound: Largest error in units of its element's bound; infinite for a sum that is not finite.
        signal: Power of the exact sum.
        error: Power of the served sum's error.
        claimed: Power of the error that the claimed codec itself makes of the same inputs.
        nonzero: Elements of this rank's message that are not zero.
        flushed: Those of them that the claimed codec encodes as zero.
        crest: Largest crest factor of a token of this rank's message: its peak over its root mean square.
    """

    tokens: int = 0
    elements: int = 0
    beyond: int = 0
    over_bound: float = 0.0
    signal: float = 0.0
    error: float = 0.0
    claimed: float = 0.0
    nonzero: int = 0
    flushed: int = 0
    crest: float = 0.0

    def add(self, rows: "Rows") -> None:
        """Add some tokens."""
        self.tokens += len(rows.exact)
        self.elements += rows.exact.numel()
        self.beyond += int((rows.over > 1).sum())
        self.over_bound = max(self.over_bound, rows.over.max().item())
        self.signal += rows.exact.square().sum().item()
        self.error += rows.error.square().sum().item()
        self.claimed += (rows.claimed - rows.exact).square().sum().item()
        self.nonzero += int((rows.message != 0).sum())
        self.flushed += int(((rows.decoded == 0) & (rows.message != 0)).sum())
        square = rows.message.double().square()
        # Not torch's mean: SGLang puts a kernel in its place that batches do not change, and that takes no fp64.
        crest = (square.amax(dim=-1) / (square.sum(dim=-1) / square.shape[-1])).sqrt()
        self.crest = max(self.crest, crest.nan_to_num(nan=0.0).max().item())


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some tokens of one call, each `[T, H]`.

    Attributes:
        exact: The exact sum, fp64.
        error: Distance of what this rank served from it, fp64; infinite where that is not finite.
        over: `error` in units of the bound.
        claimed: What the claimed codec makes of the inputs, fp64.
        message: What this rank was to send.
        decoded: What the claimed codec makes of that.
    """

    exact: Tensor
    error: Tensor
    over: Tensor
    claimed: Tensor
    message: Tensor
    decoded: Tensor

    def where(self, chosen: Tensor) -> "Rows":
        """Return the tokens that a mask `[T]` or their numbers choose."""
        return Rows(**{name: value[chosen] for name, value in vars(self).items()})


@dataclass
class Element:
    """One element of a served sum beside what it should have been.

    Attributes:
        row: Its row in the batch.
        column: Its column.
        served: What this rank served.
        expected: The exact sum, or what rank 0 served.
        allowed: How far the two may lie apart: the bound, or 0 between ranks.
    """

    row: int
    column: int
    served: float
    expected: float
    allowed: float


@dataclass
class CheckedCall:
    """One checked call, as one rank sees it.

    Attributes:
        token0: Tokens at position 0 of their sequence.
        rest: All other tokens.
        nonfinite: Tokens left out, because some rank's message, or the sum in its dtype, is not finite there.
        swallowed: Elements that this rank served as finite, though a message is not finite there.
        worst: The element furthest from the exact sum, in units of its bound.
        differing: Elements whose bits differ from those that rank 0 served.
        differing_most: The one that differs most; None where none does.
    """

    token0: Tally = field(default_factory=Tally)
    rest: Tally = field(default_factory=Tally)
    nonfinite: int = 0
    swallowed: int = 0
    worst: Element | None = None
    differing: int = 0
    differing_most: Element | None = None

    def line(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return asdict(self)

    def add(
        self, inputs: Tensor, served: Tensor, *, rank: int, token0: Tensor, codec: Codec, algorithm: str, row: int
    ) -> None:
        """Measure some rows of the call.

        Args:
            inputs: `[N, T, H]`, every rank's message, bf16, fp16 or fp32.
            served: `[N, T, H]`, what every rank served, of the same dtype.
            rank: This rank.
            token0: `[T]`, bool: whether a row is at position 0 of its sequence.
            codec: The codec that is claimed.
            algorithm: The algorithm that is claimed.
            row: Number of the first of these rows in the batch.
        """
        self._compare_ranks(served[rank], served[0], row)
        self.swallowed += int((~inputs.isfinite().all(dim=0) & served[rank].isfinite()).sum())
        exact = inputs.double().sum(dim=0)
        # A NaN fails the comparison too.
        finite = (exact.abs() <= torch.finfo(inputs.dtype).max).all(dim=-1) & inputs.isfinite().all(dim=-1).all(dim=0)
        self.nonfinite += int((~finite).sum())
        kept = finite.nonzero().flatten()
        if not len(kept):
            return
        # Of all rows: which of them a codec spares is told from the whole message, whatever else stands in it.
        bound = sum_bound(inputs, codec, algorithm)
        # A NaN in the sum of finite numbers is as wrong as can be.
        error = (served[rank].double() - exact).abs().nan_to_num(nan=torch.inf)
        rows = Rows(
            exact=exact,
            error=error,
            over=error / bound,
            claimed=simulate_all_reduce(inputs, codec=codec, algorithm=algorithm).double(),
            message=inputs[rank],
            decoded=codec.decode(codec.encode(inputs[rank], inputs.dtype), inputs.shape[-1], inputs.dtype),
        )
        if len(kept) < len(finite):
            rows, served, bound, token0 = rows.where(kept), served[:, kept], bound[kept], token0[kept]
        at, column = divmod(int(rows.over.argmax()), rows.exact.shape[-1])
        if self.worst is None or rows.over[at, column] > max(self.token0.over_bound, self.rest.over_bound):
            self.worst = Element(
                row=row + int(kept[at]),
                column=column,
                served=served[rank, at, column].item(),
                expected=rows.exact[at, column].item(),
                allowed=bound[at, column].item(),
            )
        for tally, chosen in ((self.token0, token0), (self.rest, ~token0)):
            if chosen.any():
                tally.add(rows.where(chosen))

    def _compare_ranks(self, mine: Tensor, first: Tensor, row: int) -> None:
        # Bits, not numbers: a NaN equals itself, and zero is not minus zero.
        as_bits = torch.int32 if mine.element_size() == torch.int32.itemsize else torch.int16
        differing = mine.view(as_bits) != first.view(as_bits)
        count = int(differing.sum())
        if not count:
            return
        self.differing += count
        apart = (mine.double() - first.double()).abs().nan_to_num(nan=torch.inf).where(differing, -1.0)
        at, column = divmod(int(apart.argmax()), mine.shape[-1])
        before = self.differing_most
        if before is None or apart[at, column] > abs(before.served - before.expected):
            self.differing_most = Element(
                row=row + at,
                column=column,
                served=mine[at, column].item(),
                expected=first[at, column].item(),
                allowed=0.0,
            )
