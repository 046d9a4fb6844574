"""How an arm ended that ran alone, by itself in a run's folder: see `harness.run.one_arm`."""

from typing import Literal

from harness.strict import Strict

Outcome = Literal["done", "died", "unlike", "refused"]
DONE: Outcome = "done"
DIED: Outcome = "died"
UNLIKE: Outcome = "unlike"
REFUSED: Outcome = "refused"
ENDED = "ended.json"


class ArmEnd(Strict):
    """How an arm that ran alone ended, kept in its run's folder as ended.json.

    Attributes:
        outcome: `done`; `died`: its server did, and another start may do; `unlike`: this host is not as the
            fingerprint in the folder says, and no server was started; `refused`: what would be found again.
        error: What ended it early; empty for an arm that is done.
        seconds: How long it took, set-up and all.
        versions: Of everything that took part.
    """

    outcome: Outcome
    error: str = ""
    seconds: float
    versions: dict[str, str]
