"""Policies that were measured before, by what their figures depend on: a study that is repeated only adds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.places import cache
from harness.records.run import RecordT, read_record, write_record
from harness.run.versions import UNKNOWN
from harness.strict import Strict
from harness.study.records import Measured


class ModelFacts(Strict):
    """What a running server said of its model.

    Attributes:
        layers: Its decoder layers.
    """

    layers: int


class Store:
    """The measurements of one fingerprint, a file each."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        """Find them.

        Args:
            facts: Everything that the figures depend on, beside the policy itself.
        """
        # A model by its name on a hub may be another one tomorrow.
        self._kept = UNKNOWN not in facts.values()
        digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()
        self._folder = cache() / "studies" / digest[:24]

    def key(
        self,
        purpose: str,
        rules: Sequence[Mapping[str, Any]],
        *,
        texts: int,
        questions: int,
        stop_above: float | None,
    ) -> str:
        """Return the name of a measurement; the same for all purposes but `again`, which is to be another."""
        what = [purpose == "again", list(rules), texts, questions, stop_above]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]

    def get(self, key: str) -> Measured | None:
        """Return a measurement, or None where there is none that this version can read."""
        return _read(self._folder / f"{key}.json", Measured) if self._kept else None

    def put(self, key: str, measured: Measured) -> None:
        """Keep a measurement."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_record(self._folder / f"{key}.json", measured)

    @property
    def model(self) -> ModelFacts | None:
        """What is known of the model; None before its server was up once."""
        return _read(self._folder / "model.json", ModelFacts)

    def keep_model(self, facts: ModelFacts) -> None:
        """Keep what a server said of its model."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_record(self._folder / "model.json", facts)


def _read(file: Path, kind: type[RecordT]) -> RecordT | None:
    if not file.exists():
        return None
    try:
        return read_record(file, kind)
    except HarnessError:
        # Of another version: measured again.
        return None
