"""Policies that were measured before, by what their figures depend on: a study that is repeated only adds."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex

from pydantic import BaseModel

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
    """The measurements of one fingerprint, a file each.

    Attributes:
        kept: Whether anything is: a model by its name on a hub may be another one tomorrow.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        """Find them.

        Args:
            facts: Everything that the figures depend on, beside the policy itself.
        """
        self.kept = UNKNOWN not in facts.values()
        digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()
        self._folder = cache() / "studies" / digest[:24]

    def get(self, key: str) -> Measured | None:
        """Return what was measured under a `Measurement`'s key; None for nothing that this version can read."""
        return _read(self._folder / f"{key}.json", Measured) if self.kept else None

    def put(self, key: str, measured: Measured) -> None:
        """Keep what was measured."""
        self._write(key, measured)

    @property
    def model(self) -> ModelFacts | None:
        """What is known of the model; None before its server was up once."""
        return _read(self._folder / "model.json", ModelFacts)

    def keep_model(self, facts: ModelFacts) -> None:
        """Keep what a server said of its model."""
        self._write("model", facts)

    def _write(self, name: str, record: BaseModel) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Under a name of its own until it is whole: the parts of a study may share a disk.
        own = self._folder / f"{name}.{token_hex(4)}"
        write_record(own, record)
        own.replace(self._folder / f"{name}.json")


def _read(file: Path, kind: type[RecordT]) -> RecordT | None:
    if not file.exists():
        return None
    try:
        return read_record(file, kind)
    except HarnessError:
        # Of another version: measured again.
        return None
