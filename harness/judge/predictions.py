"""Two arms' predictions of the same texts, compared. Pure functions of their records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.judge.prediction_shift import Moved, PredictionShift, TextShift, by_position, by_text, moved, summarise
from harness.records.predictions import CompareLine, TextRecord
from harness.stats import ALPHA
from harness.strict import Strict

WORST = 10
WORDS_BEFORE = 8


class Outlier(Strict):
    """A prediction that moved far, for a person to look at.

    Attributes:
        text: The text's name.
        position: Number of the token after which the next is predicted, from 0.
        before: The last few words up to there, without the text's first token.
        follows: The token that follows.
        token: Its id.
        kl: KL divergence, in nats.
        baseline: The baseline's most likely token.
        other: The other arm's.
    """

    text: str
    position: int
    before: str
    follows: str
    token: int
    kl: float
    baseline: str
    other: str


class Fidelity(Strict):
    """How far two arms' predictions of the same texts are apart.

    Attributes:
        texts: Texts that both arms predicted.
        failed: Requests that failed, in either arm.
        faults: Why the arms are not comparable; empty where they are.
        overall: All predictions; None for none.
        positions: Token 0, the first tokens after it and the rest, each apart.
        by_text: Each text by itself, in their order.
        worst: The predictions that moved farthest.
    """

    texts: int
    failed: int
    faults: list[str]
    overall: PredictionShift | None
    positions: dict[str, PredictionShift]
    by_text: list[TextShift]
    worst: list[Outlier]


def compare(
    baseline: Sequence[TextRecord],
    other: Sequence[TextRecord],
    compared: Mapping[str, CompareLine],
    *,
    expected: int,
    names: tuple[str, str] = ("baseline", "compressed"),
    pieces: Mapping[int, str] | None = None,
    alpha: float = ALPHA,
) -> Fidelity:
    """Compare two arms.

    Args:
        baseline: The baseline's records.
        other: The other arm's.
        compared: What the other arm's server found, by the hash of a text's tokens.
        expected: How many texts each should have.
        names: What the arms are called in faults.
        pieces: Tokens as text; of one that is not among them its number is shown.
        alpha: Error of each bound.
    """
    ours, theirs = ({record.text: record for record in arm} for arm in (baseline, other))
    faults = [
        f"{expected - len(found)} of {expected} texts are missing in the {name} arm"
        for name, found in zip(names, (ours, theirs), strict=True)
        if len(found) != expected
    ]
    faults += [
        f"{len(arm) - len(found)} texts stand twice in the {name} arm"
        for name, arm, found in zip(names, (baseline, other), (ours, theirs), strict=True)
        if len(arm) != len(found)
    ]
    if only := sorted(ours.keys() ^ theirs.keys()):
        faults.append(f"{len(only)} texts are in one arm only, the first is {only[0]}")
    found: list[Moved] = []
    not_compared: dict[str, list[str]] = defaultdict(list)
    for text in [text for text in ours if text in theirs]:
        here, there = ours[text], theirs[text]
        if here.text_hash != there.text_hash:
            faults.append(f"{text} is another text in the {names[1]} arm")
        elif here.error is None and there.error is None:
            line = compared.get(there.token_hash)
            if here.tokens != there.tokens:
                faults.append(f"the tokens of {text} differ between the arms")
            elif line is None or len(line.kl) != len(here.tokens) - 1:
                why = line.not_measured if line and line.not_measured else "nothing of it was written"
                not_compared[why].append(text)
            else:
                found += moved(text, line)
    for why, texts in not_compared.items():
        which = texts[0] if len(texts) == 1 else f"{len(texts)} texts, the first is {texts[0]}"
        faults.append(f"the {names[1]} arm's server did not compare {which}: {why}")
    return Fidelity(
        texts=len({move.text for move in found}),
        failed=sum(record.error is not None for arm in (baseline, other) for record in arm),
        faults=faults,
        overall=summarise(found, alpha) if found else None,
        positions=by_position(found, alpha),
        by_text=by_text(found),
        worst=[
            _outlier(move, theirs[move.text].tokens, compared[theirs[move.text].token_hash], pieces or {})
            for move in sorted(found, key=lambda move: (-move.kl, move.text, move.position))[:WORST]
        ],
    )


def _outlier(move: Moved, tokens: Sequence[int], line: CompareLine, pieces: Mapping[int, str]) -> Outlier:
    after = move.position + 1

    def words(some: Sequence[int]) -> str:
        return "".join(pieces.get(token, f"[{token}]") for token in some)

    at = slice(move.position, after)
    return Outlier(
        text=move.text,
        position=move.position,
        before=words(tokens[max(1, after - WORDS_BEFORE) : after]),
        follows=words(tokens[after : after + 1]),
        token=tokens[after],
        kl=move.kl,
        baseline=words(line.baseline_top[at]),
        other=words(line.candidate_top[at]),
    )
