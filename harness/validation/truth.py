"""What a simulated cell assumes to be true, and the shares of answers that follow from it."""

from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from harness.stats.paired import score

# A cell is clear if its score on all questions lies this many standard deviations from 0 on average: the fixed-size
# test then leaves fewer than one run in ten million undecided, and has far more questions than it needs.
CLEAR = 7.0


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One cell.

    Attributes:
        n: Questions.
        max_drop: The margin.
        accuracy: True accuracy of the baseline.
        discordance: True share of questions that compression turns, at least the drop; without the noise.
        true_drop: Accuracy of the baseline less that of the compressed arm; negative for a gain.
        noise: Share of questions on which two runs of the same arm differ.
    """

    n: int
    max_drop: float
    accuracy: float
    discordance: float
    true_drop: float
    noise: float

    def runs_of_three(self) -> NDArray[np.float64]:
        """Return how likely a question is right in the baseline, right in its second run, right under compression.

        Each run of an arm turns some right answers wrong and as many wrong ones right, by itself.

        Returns:
            Shape (2, 2, 2): baseline, baseline again, compressed; 1 is right. Adds up to 1.

        Raises:
            ValueError: The shares cannot go together.
        """
        lost, won = (self.discordance + self.true_drop) / 2, (self.discordance - self.true_drop) / 2
        latent = {
            (1, 1): self.accuracy - lost,
            (1, 0): lost,
            (0, 1): won,
            (0, 0): 1 - self.accuracy - won,
        }
        if min(latent.values()) < 0:
            raise ValueError(f"no table has these shares: {self}")
        baseline = _right_again(self.accuracy, self.noise)
        compressed = _right_again(self.accuracy - self.true_drop, self.noise)
        shares = np.zeros((2, 2, 2))
        for (before, after), chance in latent.items():
            for one, again, other in product((0, 1), repeat=3):
                shares[one, again, other] += chance * (
                    _of(baseline[before], one) * _of(baseline[before], again) * _of(compressed[after], other)
                )
        return shares

    def table(self) -> tuple[float, float]:
        """Return the shares of lost and of won questions, the noise included."""
        shares = self.runs_of_three().sum(axis=1)
        return float(shares[1, 0]), float(shares[0, 1])

    @property
    def drift(self) -> float:
        """Mean of the score at the margin on all questions: below 0 for a drop beyond it."""
        lost, won = self.table()
        return float(score(self.n * lost, self.n * won, self.n, -self.max_drop))

    @property
    def clear(self) -> bool:
        """Whether the fixed-size test decides all but always."""
        return abs(self.drift) >= CLEAR


def _right_again(accuracy: float, noise: float) -> tuple[float, float]:
    """Return the chances that a question that is by nature wrong, or right, is answered right in one run.

    A share x of all questions turns each way, which leaves the accuracy. Two runs then differ in a share of
    4 x - 2 x**2 / (accuracy * (1 - accuracy)), which is solved for the noise.
    """
    spread = accuracy * (1 - accuracy)
    if noise == 0:
        return 0.0, 1.0
    if noise > 2 * spread:
        raise ValueError(f"two runs of accuracy {accuracy:g} differ in at most {2 * spread:g} of the questions")
    x = spread * (1 - sqrt(1 - noise / (2 * spread)))
    return x / (1 - accuracy), 1 - x / accuracy


def _of(chance: float, outcome: int) -> float:
    return chance if outcome else 1 - chance
