"""What an arm's time went into, as it was measured: written to arm.json as the arm is asked, read by the report."""

from pydantic import Field

from harness.strict import Counted, Strict


class Span(Strict):
    """A part of a run's time, on the run's own clock.

    Attributes:
        began: Seconds from the run's beginning; the time between being broken and being resumed is left out.
        ended: The same of its end.
    """

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.ended - self.began


class Passes(Counted):
    """Forward passes, as rank 0 logged them: in every sum it waits for the other ranks.

    Attributes:
        prefills: Passes over prompts.
        prefill_tokens: Their tokens.
        prefill_seconds: The host's time of these calls: on an accelerator, which goes on by itself, not the device's.
        decodes: Passes that generate, those of drafts included.
        decode_tokens: Their tokens: one for each answer under way.
        decode_seconds: The host's time of these.
    """

    prefills: int = 0
    prefill_tokens: int = 0
    prefill_seconds: float = 0.0
    decodes: int = 0
    decode_tokens: int = 0
    decode_seconds: float = 0.0


class Spent(Strict):
    """What the time of a task went into.

    Attributes:
        spans: When it was asked: a span for each start of the server that it was asked of.
        waited: Seconds in which at least one request was on its way to the server or back.
        passes: What the server computed; None where its ranks' logs could not be followed.
    """

    spans: list[Span] = Field(default_factory=list)
    waited: float = 0.0
    passes: Passes | None = Passes()

    def with_leg(self, leg: Span, *, waited: float, passes: Passes | None, started: float) -> "Spent":
        """Return it with one leg more.

        Args:
            leg: When it was asked.
            waited: Seconds that were waited for the server in it.
            passes: Its forward passes, None where they are not known.
            started: When the server that was asked was started, on the clock of the spans.
        """
        joins = bool(self.spans) and self.spans[-1].began >= started
        first = self.spans[-1].began if joins else leg.began
        earlier = self.spans[:-1] if joins else self.spans
        return Spent(
            spans=[*earlier, Span(began=first, ended=leg.ended)],
            waited=self.waited + waited,
            passes=None if self.passes is None or passes is None else self.passes + passes,
        )
