from pathlib import Path

import pytest

from harness.judge.rank_log import read_rank

FACTS = '{"rank": 0, "flag": true, "tp_size": 2, "layers": 2, "hidden": 8}'
SITE = '{"calls": 2, "quantized": 2, "elements": 48, "wire_bytes": 9}'


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "rank-0.jsonl"
    passes = [
        '{"mode": "EXTEND", "tokens": 3, "sites": {"ffn": %s}}' % SITE,  # noqa: UP031 - braces all over
        '{"policy": 0, "mode": "DECODE", "tokens": 1, "seconds": 0.5}',
    ]
    # The second start of a run that was resumed.
    file.write_text("\n".join([FACTS, passes[0], FACTS, passes[1]]) + "\n")
    log = read_rank(file)
    assert (log.facts["layers"], [forward["mode"] for forward in log.passes]) == (2, ["EXTEND", "DECODE"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"mode": "EXTEND", "tokens": "3"}', "no forward pass: tokens: Input should be a valid integer"),
        ('{"mode": "EXTEND", "tokens": -1}', "no forward pass: tokens: "),
        ('{"mode": ["EXTEND"], "tokens": 1}', "no forward pass: mode: "),
        ('{"mode": "EXTEND", "tokens": 1, "sites": {"ffn": {"quantized": 1}}}', "sites.ffn.calls: Field required"),
        ('{"mode": "EXTEND", "tokens": 1, "sites": [1]}', "no forward pass: sites: "),
        ("7", "no forward pass"),
        (FACTS.replace("true", "1").replace("rank", "other"), "no forward pass: mode: Field required"),
    ],
)
def test_a_line_that_is_none_is_told(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "rank-0.jsonl"
    file.write_text(f"{FACTS}\n{line}\n")
    with pytest.raises(ValueError, match=said):
        read_rank(file)
    file.write_text(f"{FACTS.replace('2', '[]')}\n")
    with pytest.raises(ValueError, match="its first line lacks the rank's facts: tp_size: "):
        read_rank(file)
