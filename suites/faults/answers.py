"""Servers whose answers are wrong, malformed, slow, endless, or not there at all."""

from collections.abc import Iterator

from suites.faults.kinds import ERROR, FAIL, INCONCLUSIVE, PASS, Kind
from suites.faults.served import served

# Of a run that is all right the harness holds some 290 MB; an answer may be read up to some limit.
PEAK_MB = 800.0
HANG_S = 75.0


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    yield from _verdicts()
    yield from _starts()
    yield from _contents()
    yield from _ways()


def _verdicts() -> Iterator[Kind]:
    """What is no fault: the campaign must be able to see every verdict."""
    family = "verdicts"
    yield served("nothing", family, {}, PASS, short=True)
    yield served("nothing, with the baseline again", family, {}, PASS, arguments=("--noise-floor",))
    yield served("compression that harms every answer", family, {"compressed": "harmful"}, FAIL, short=True)
    yield served("too few questions", family, {}, INCONCLUSIVE, arguments=("--limit=8",))
    yield served("a slow server", family, {"baseline": "slow", "compressed": "slow"}, PASS)
    yield served("compressed: wrong known answer", family, {"compressed": "wrong-answer"}, FAIL, says="no longer")
    yield served("baseline: wrong known answer", family, {"baseline": "wrong-answer"}, says="does not continue")


def _starts() -> Iterator[Kind]:
    family = "start"
    for name, mode, says in (
        ("dies at once", "dies-at-once", "no such weights"),
        ("dies at once with exit code 0", "dies-with-code-0", "exit code 0"),
        ("is never ready", "never-ready", "not ready within"),
        ("never listens", "starts-never", "not ready within"),
        ("its health check hangs", "health-hangs", "not ready within"),
        ("its port is taken while it starts", "port-taken", "took the server's port"),
        ("its log is flooded with control characters", "dies-with-control-characters", "such weights"),
        ("does not have the flag it was given", "wrong-flag", "enable_quant_communications"),
        ("has other ranks than asked for", "wrong-tp", "tp_size"),
        ("tells its arguments as a list", "info-list", "does not tell its arguments"),
        ("tells its arguments as HTML", "info-garbage", "does not tell its arguments"),
        ("never tells its arguments", "info-hangs", "does not tell its arguments"),
        ("refuses to flush its cache", "flush-refused", "flush_cache"),
        ("hangs when its cache is flushed", "flush-hangs", "flush_cache"),
    ):
        short = mode in {"dies-at-once", "dies-with-control-characters"}
        modes = {"baseline": mode}
        yield served(name, family, modes, says=says, within_s=HANG_S, not_started="compressed", short=short)
    yield served("compressed arm dies at once", family, {"compressed": "dies-at-once"}, says="no such weights")
    yield served("compressed arm has another setting", family, {"compressed": "other-dtype"}, says="dtype")
    yield served("leaves an orphan in a session of its own", family, {"baseline": "leaves-orphans"}, PASS, short=True)
    yield served("does not end when it is asked to", family, {"compressed": "ignores-signals"}, PASS)
    yield served("writes 10 MB of CI commands to its log", family, {"compressed": "floods-its-log"}, PASS)


def _contents() -> Iterator[Kind]:
    family = "answers"
    for name, what, says in (
        ("text is null", "text-null", ""),
        ("text is a number", "text-number", ""),
        ("text is missing", "text-missing", ""),
        ("no meta_info", "meta-missing", ""),
        ("meta_info is text", "meta-text", ""),
        ("an answer is a list", "a-list", ""),
        ("an answer is a number", "a-number", ""),
        ("an answer is null", "null", ""),
        ("the answer is another object", "other-object", ""),
        ("the request is aborted", "aborted", "abort"),
        ("no reason why it ended", "finish-null", ""),
        ("a negative number of tokens", "tokens-negative", ""),
        ("one token more than was sent", "prompt-longer", ""),
        ("the prompt was cut", "prompt-cut", ""),
        ("log-probabilities of other tokens", "logprobs-of-others", ""),
        ("no log-probabilities", "logprobs-empty", ""),
        ("log-probabilities are text", "logprobs-text", ""),
        ("log-probabilities above 0", "logprobs-positive", ""),
        ("a lone surrogate in a text", "text-surrogate", ""),
    ):
        short = what in {"text-null", "prompt-cut"}
        yield served(name, family, {"compressed": f"{what}@5"}, says=says or "failed", short=short)
    for name, what in (
        ("log-probabilities are NaN", "logprobs-nan"),
        ("log-probabilities are null", "logprobs-null"),
        ("log-probabilities are -Infinity", "logprobs-infinite"),
    ):
        modes = {"compressed": f"{what}@5"}
        says = "no number|not finite|not a number"
        yield served(name, family, modes, FAIL, ERROR, says=says, short=what == "logprobs-nan")
    yield served("the answers in another order", family, {"compressed": "other-order@5"})
    yield served("everything came from a cache", family, {"compressed": "all-cached@5"})
    yield served("tokens are text", family, {"baseline": "tokens-text"}, says="failed")
    yield served("tokens are fractions", family, {"baseline": "tokens-floats"}, says="failed")
    yield served("tokens are null", family, {"baseline": "tokens-null"}, says="failed")
    yield served("a prompt of no tokens", family, {"baseline": "tokens-none"}, says="failed")
    yield served(
        "control characters in generated text",
        family,
        {"baseline": "text-control", "compressed": "text-control"},
        PASS,
    )
    yield served("one request of 136 fails, harmless at worst", family, {"compressed": "text-null@=70"}, PASS, ERROR)
    both = {"baseline": "refuses-one", "compressed": "refuses-one"}
    yield served(
        "one prompt is refused, and its request with it", family, both, PASS, says="WARNING[^\\n]*fail", short=True
    )
    # Asked one by one its answers are good.
    says = "asked one by one.*0 in baseline, [0-9]+ in compressed"
    yield served("fewer answers than prompts", family, {"compressed": "fewer@5"}, PASS, says=says)
    yield served("every third request fails", family, {"compressed": "fails-some"}, says="failed", short=True)
    yield served("every request fails", family, {"baseline": "fails-all"}, says="failed", not_started="compressed")


def _ways() -> Iterator[Kind]:
    family = "connection"
    for name, what in (
        ("hangs", "hangs"),
        ("a byte every tenth of a second", "drips"),
        ("headers, a byte every tenth of a second", "drips-headers"),
        ("an answer without end", "endless"),
        ("an answer of 300 MB", "huge"),
        ("ends the connection", "resets"),
        ("half an answer", "cut"),
        ("bytes that are no JSON", "garbage"),
        ("HTML with status 200", "html"),
        ("an empty answer", "empty"),
        ("JSON nested 100,000 deep", "deep"),
        ("a redirect", "redirects"),
        ("an error page with CI commands", "gateway"),
        ("no content", "no-content"),
    ):
        short = what in {"hangs", "garbage", "gateway"}
        yield served(
            name,
            family,
            {"baseline": f"{what}@20"},
            says="failed|nothing answers|the server",
            within_s=HANG_S,
            peak_mb=PEAK_MB,
            not_started="compressed",
            resumes=what in {"hangs", "resets"},
            short=short,
        )
    yield served("hangs in the compressed arm", family, {"compressed": "hangs@20"}, within_s=HANG_S, resumes=True)
    yield served(
        "dies in a task", family, {"baseline": "dies-in-task@20"}, says="told to die", resumes=True, short=True
    )
    yield served("dies in the compressed arm's task", family, {"compressed": "dies-in-task@40"}, resumes=True)
    yield served("refuses the key in the middle", family, {"baseline": "refuses-key"}, says="401")
