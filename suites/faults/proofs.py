"""Ranks whose logs prove something else than what was to be proven, or nothing."""

from collections.abc import Iterator

from suites.faults.kinds import PASS, Kind
from suites.faults.served import served


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    family = "proof"
    for name, arm, fault, says in (
        ("the baseline is secretly compressed", "baseline", "secretly-compressed", "though this is the baseline"),
        ("the compressed arm secretly compresses nothing", "compressed", "secretly-plain", "not proven"),
        ("a plain sum under the flag", "compressed", "plain-under-flag", "too good"),
        ("the plugin is missing on one rank", "compressed", "rank-missing", "rank 1 left no proof"),
        ("the plugin is missing on one rank of the baseline", "baseline", "rank-missing", "rank 1 left no proof"),
        ("the plugin fails on one rank in the middle", "compressed", "rank-stops", ""),
        ("the plugin fails on one rank of the baseline", "baseline", "rank-stops", ""),
        ("a rank's log is cut within a line", "compressed", "rank-cut", "rank 1"),
        ("garbage in a rank's log", "compressed", "garbage-in-log", "rank 1"),
        ("ranks that say the codec is `none`", "compressed", "says-none", "codec"),
        ("ranks of a group of three", "compressed", "says-three-ranks", "world_size|world size|ranks"),
        ("ranks of another SGLang", "compressed", "says-another-version", "0\\.4\\.0"),
        ("ranks that say another flag", "compressed", "says-another-flag", "enable_quant_communications"),
        ("fifty times the prefills", "compressed", "fifty-fold", "tokens|prefill"),
        ("fifty times the prefills in the baseline", "baseline", "fifty-fold", "tokens|prefill"),
        ("a stranger's server answers", "baseline", "stranger", ""),
        ("a server that others ask too", "baseline", "asked-by-others", "somebody else"),
        ("half of the elements", "compressed", "half-elements", "elements"),
        ("quantization that fell back", "compressed", "fell-back", "fell back"),
        ("compression in decode", "compressed", "in-decode", "DECODE"),
        ("ranks that ran different passes", "compressed", "ranks-differ", "differ"),
        ("no live check on one rank", "compressed", "live-missing", "live check"),
        ("a layer that the live check never saw", "compressed", "live-layer-missing", "layer"),
        ("a NaN that was hidden", "compressed", "live-swallowed", "finite"),
        ("sums beyond their bound", "compressed", "live-beyond", "further from the exact sum"),
        ("ranks that serve different bits", "compressed", "live-differing", "not the bits"),
        ("logs that come a minute late", "compressed", "much-too-late", ""),
    ):
        short = fault in {"plain-under-flag", "secretly-plain"} or (
            fault in {"secretly-compressed", "fifty-fold"} and arm == "baseline"
        )
        yield served(name, family, {arm: fault}, says=says, short=short)
    modes = {"baseline": "late-rank", "compressed": "late-rank"}
    yield served("one rank's logs come a third of a second late", family, modes, PASS, short=True)
    modes = {"compressed": "live-nonfinite"}
    yield served("sums that are not finite in both arms", family, modes, PASS, says="WARNING[^\\n]*finite")
    yield served("logs that come half a second late", family, {"baseline": "late", "compressed": "late"}, PASS)
    yield served(
        "no live check", family, {}, PASS, arguments=("--no-live-check",), says="WARNING[^\\n]*live.check", short=True
    )
