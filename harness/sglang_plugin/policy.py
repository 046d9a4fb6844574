"""What is compressed, and how: a list of rules over sites and layers. Standard library only: both sides import it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

SITES = ("attention", "ffn")
OWN = "own"
"""The algorithm of a mechanism that is no codec of ours, or of a user's function of all ranks' tensors."""
ALGORITHMS = ("one_shot", "two_shot", OWN)
PLAIN = "plain"
"""The codec that is none: the group's own all-reduce."""
PREDICTIONS = ("reference", "compare")

_POLICY_KEYS = frozenset({"number", "name", "rules", "predictions"})
_RULE_KEYS = frozenset({"codec", "algorithm", "claims", "site", "layers", "rows"})
CREST, POSITION = "crest", "position"
_MOST = {CREST: 100.0, POSITION: inf}


class PolicyError(ValueError):
    """A policy cannot be used.

    Attributes:
        problems: Everything that is wrong with it, one sentence each, with the key it is about.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a message that are compressed; the others are summed plainly. In virtual ranks alone.

    Attributes:
        by: `crest`: percentiles of the row's crest factor (amax over rms, the largest of the ranks') among the rows
            of its sum; `position`: the tokens' positions in their sequences.
        low: From here on.
        high: Up to here, which does not belong to them.
    """

    by: str
    low: float
    high: float

    def content(self) -> dict[str, list[float | None]]:
        """Return it as JSON and YAML take it: `{"crest": [96, 100]}`; null where there is no end."""
        return {self.by: [self.low, None if self.high == inf else self.high]}

    def __str__(self) -> str:
        what = "crest percentiles" if self.by == CREST else "positions"
        return f"{what} {self.low:g} to {self.high:g}" if self.high < inf else f"{what} from {self.low:g}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How one sum is compressed.

    Attributes:
        codec: A codec of harness.collective, or `module:function`.
        algorithm: One of ALGORITHMS.
        claims: In the latter case, the codec whose bound and bytes hold for it.
        rows: Which rows of the message; None: all.
    """

    codec: str
    algorithm: str = "one_shot"
    claims: str | None = None
    rows: Rows | None = None

    @property
    def claimed(self) -> str:
        """The codec whose bound and bytes hold."""
        return self.claims or self.codec

    @property
    def label(self) -> str:
        """The codec and the algorithm, as the logs name them."""
        return f"{self.codec} {self.algorithm}{f', {self.rows}' if self.rows else ''}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A choice, and where it holds.

    Attributes:
        choice: None: plain.
        site: One of SITES; None: all of them.
        layers: Layers, from 0; None: all of them.
    """

    choice: Choice | None
    site: str | None = None
    layers: tuple[int, ...] | None = None

    def holds(self, site: str, layer: int) -> bool:
        """Return whether the rule is about this sum."""
        return self.site in {None, site} and (self.layers is None or layer in self.layers)

    def content(self) -> dict[str, Any]:
        """Return it as JSON and YAML take it."""
        how = vars(self.choice) if self.choice else {"codec": PLAIN}
        if self.choice and self.choice.rows:
            how = {**how, "rows": self.choice.rows.content()}
        where = {"site": self.site, "layers": None if self.layers is None else list(self.layers)}
        return {key: value for key, value in {**how, **where}.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is compressed, and how.

    Attributes:
        rules: The last one that holds for a sum wins; where none does, the sum is plain.
        number: By which the ranks' logs name it.
        name: By which people do.
        predictions: What is done with predictions of fixed texts: see harness.sglang_plugin.predictions.
    """

    rules: tuple[Rule, ...]
    number: int = 0
    name: str = ""
    predictions: str | None = None

    def choice(self, site: str, layer: int) -> Choice | None:
        """Return how a sum is compressed; None: plain."""
        return next((rule.choice for rule in reversed(self.rules) if rule.holds(site, layer)), None)

    def choices(self) -> list[Choice]:
        """Return every way of compressing that it names, each once, in the order of the rules."""
        return list(dict.fromkeys(rule.choice for rule in self.rules if rule.choice))

    def content(self) -> dict[str, Any]:
        """Return it as JSON and YAML take it; `parse` reads it."""
        content = {"number": self.number, "name": self.name, "rules": [rule.content() for rule in self.rules]}
        return content if self.predictions is None else {**content, "predictions": self.predictions}


def uniform(choice: Choice | None, *, number: int = 0, name: str = "", predictions: str | None = None) -> Policy:
    """Return the policy that treats all sums alike."""
    return Policy(rules=(Rule(choice=choice),), number=number, name=name, predictions=predictions)


def parse(content: object) -> Policy:
    """Return the policy that JSON or YAML says.

    Whether its codecs exist is known where torch is: `harness.sglang_plugin.codecs.policy_problems`.

    Args:
        content: `{"number": 3, "name": "…", "rules": […], "predictions": "reference" | "compare"}`, all but `rules`
            optional; a rule is `{"codec": "int8_token", "algorithm": "two_shot", "claims": "…", "site": "ffn",
            "layers": [11], "rows": {"position": [0, 1]}}`, all but `codec` optional.

    Raises:
        PolicyError: It says none; all problems at once.
    """
    if not isinstance(content, Mapping):
        raise PolicyError([f"a policy is a mapping with the key `rules`, not {content!r}"])
    problems = _unknown(content, _POLICY_KEYS, "policy")
    number, name = content.get("number", 0), content.get("name", "")
    predictions, rules = content.get("predictions"), content.get("rules")
    if not _is_count(number):
        problems.append(f"policy.number: {number!r} is no number from 0 on")
    if not isinstance(name, str):
        problems.append(f"policy.name: {name!r} is no text")
    if predictions not in {None, *PREDICTIONS}:
        problems.append(f"policy.predictions: {predictions!r} is none of {', '.join(PREDICTIONS)}")
    if not isinstance(rules, list):
        problems.append(f"policy.rules: {rules!r} is no list of rules")
        rules = []
    for index, rule in enumerate(rules):
        problems += _rule_problems(rule, f"policy.rules[{index}]")
    if problems:
        raise PolicyError(problems)
    return Policy(rules=tuple(_rule(rule) for rule in rules), number=number, name=name, predictions=predictions)


def _rule(content: Mapping[str, Any]) -> Rule:
    choice = (
        None
        if content["codec"] == PLAIN
        else Choice(
            **{key: content[key] for key in ("codec", "algorithm", "claims") if key in content},
            rows=_rows(content["rows"]) if "rows" in content else None,
        )
    )
    layers = content.get("layers")
    return Rule(choice=choice, site=content.get("site"), layers=None if layers is None else tuple(layers))


def _rows(content: Mapping[str, Sequence[float | None]]) -> Rows:
    [(by, (low, high))] = content.items()
    return Rows(by=by, low=float(low or 0), high=inf if high is None else float(high))


def _are_rows(content: object) -> bool:
    if not isinstance(content, Mapping) or len(content) != 1:
        return False
    [(by, ends)] = content.items()
    if by not in _MOST or not isinstance(ends, list) or len(ends) != 2:  # noqa: PLR2004 - from and to
        return False
    low, high = ends[0], _MOST[by] if ends[1] is None else ends[1]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    return numbers and 0 <= low < high <= _MOST[by]


def _rule_problems(rule: object, where: str) -> list[str]:
    if not isinstance(rule, Mapping):
        return [f"{where}: {rule!r} is no rule, a mapping with the key `codec`"]
    problems = _unknown(rule, _RULE_KEYS, where)
    codec, claims, layers = rule.get("codec"), rule.get("claims"), rule.get("layers")
    if not isinstance(codec, str) or not codec:
        problems.append(f"{where}.codec: {codec!r} is no codec's name; `{PLAIN}` compresses nothing")
    elif codec == PLAIN:
        problems += [
            f"{where}.{key}: a plain sum has none: leave it out"
            for key in ("algorithm", "claims", "rows")
            if key in rule
        ]
    elif ":" in codec and rule.get("algorithm") != OWN and not isinstance(claims, str):
        problems.append(f"{where}.claims: name the codec whose bound and bytes {codec} claims")
    elif ":" not in codec and claims is not None:
        problems.append(f"{where}.claims: only an implementation `module:function` claims to be a codec")
    for key, allowed in (("algorithm", ALGORITHMS), ("site", SITES)):
        if key in rule and rule[key] not in allowed:
            problems.append(f"{where}.{key}: {rule[key]!r} is none of {', '.join(allowed)}")
    if "rows" in rule and not _are_rows(rule["rows"]):
        problems.append(
            f'{where}.rows: {rule["rows"]!r} are none: {{"{CREST}": [FROM, TO]}} in percentiles, 0 to 100, or '
            f'{{"{POSITION}": [FROM, TO]}}, TO null for all that follow'
        )
    if layers is not None and not (isinstance(layers, list) and layers and all(map(_is_count, layers))):
        problems.append(f"{where}.layers: {layers!r} is no list of layers, which count from 0")
    return problems


def _unknown(content: Mapping[Any, Any], known: frozenset[str], where: str) -> list[str]:
    return [
        f"{where}.{key}: no such key; there are: {', '.join(sorted(known))}" for key in content if key not in known
    ]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
