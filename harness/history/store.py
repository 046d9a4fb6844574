"""The memory's database: one SQLite file beside the run folders, which several processes may write at once.

It is never the only copy: what it holds of a run is that run's history.json, and a file that is lost, broken or of an
older form is made anew from the folders.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.history.record import Figure, Questions, RunMemory

FILE = "history.sqlite"
SCHEMA_VERSION = 1
# So long a writer waits for another one.
WAIT_S = 30.0
SCHEMA = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, stamp INTEGER NOT NULL, suite TEXT NOT NULL, model TEXT NOT NULL,
    device TEXT NOT NULL, variant TEXT NOT NULL, started TEXT NOT NULL, verdict TEXT NOT NULL, reasons TEXT NOT NULL,
    repeat TEXT NOT NULL, facts TEXT NOT NULL, accepted TEXT
) STRICT;
CREATE INDEX runs_by_suite ON runs (suite, started);
CREATE TABLE figures (
    run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, task TEXT NOT NULL, name TEXT NOT NULL,
    value REAL NOT NULL, low REAL, high REAL, "limit" REAL, PRIMARY KEY (run_id, task, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE series (
    run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, task TEXT NOT NULL, name TEXT NOT NULL,
    questions TEXT NOT NULL, judged INTEGER NOT NULL, "values" BLOB NOT NULL, PRIMARY KEY (run_id, task, name)
) STRICT;
CREATE TABLE questions (hash TEXT PRIMARY KEY, ids TEXT NOT NULL, clusters TEXT) STRICT;
"""
# Right and wrong take a byte a question; -1 is no answer.
NO_ANSWER = -1


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as the database has it; fields as in RunMemory.

    Attributes:
        run_id: The name of its folder.
        accepted: Why a person took it for the new normal; None where nobody did.
    """

    run_id: str
    suite: str
    model: str
    device: str
    variant: str
    started: str
    verdict: str
    reasons: list[str]
    repeat: str
    facts: dict[str, str]
    accepted: str | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run's values of a task, in the order of its questions; nan for no answer."""

    run_id: str
    task: str
    name: str
    questions: str
    judged: bool
    values: NDArray[np.float64]


class Store:
    """An open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def stamps(self) -> dict[str, int]:
        """Return when the files of each folder that is in here were last written, by its name."""
        return dict(self._connection.execute("SELECT run_id, stamp FROM runs"))

    def add(self, run_id: str, memory: RunMemory, *, stamp: int, accepted: str | None) -> None:
        """Take in a run, in place of what there is of it.

        Args:
            run_id: The name of its folder, whatever its files say: a copy takes no other's place.
            memory: What is to be remembered.
            stamp: When its files were last written.
            accepted: Why a person took it for the new normal.

        Raises:
            HarnessError: Another writer holds the file for longer than WAIT_S.
        """
        run = (
            run_id,
            stamp,
            memory.suite,
            memory.model,
            memory.device,
            memory.variant,
            memory.started,
            memory.verdict,
            json.dumps(memory.reasons),
            memory.repeat,
            json.dumps(memory.facts),
            accepted,
        )
        figures = [(run_id, one.task, one.name, one.value, one.low, one.high, one.limit) for one in memory.figures]
        series = [
            (run_id, one.task, one.name, one.questions, one.judged, _packed(one.values)) for one in memory.series
        ]
        questions = [
            (name, json.dumps(asked.ids), None if asked.clusters is None else json.dumps(asked.clusters))
            for name, asked in memory.questions.items()
        ]
        with writing(self._connection) as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", run)
            connection.executemany("INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?)", figures)
            connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)", series)
            connection.executemany("INSERT OR IGNORE INTO questions VALUES (?, ?, ?)", questions)

    def forget(self, runs: list[str]) -> None:
        """Take out the runs whose folders are gone."""
        with writing(self._connection) as connection:
            connection.executemany("DELETE FROM runs WHERE run_id = ?", [(run,) for run in runs])

    def runs(self, suite: str | None = None) -> list[Run]:
        """Return all runs, or a suite's, by when they started."""
        rows = self._connection.execute(
            "SELECT run_id, suite, model, device, variant, started, verdict, reasons, repeat, facts, accepted "
            "FROM runs WHERE ?1 IS NULL OR suite = ?1 ORDER BY started, run_id",
            (suite,),
        )
        return [
            Run(
                run_id=run_id,
                suite=its,
                model=model,
                device=device,
                variant=variant,
                started=started,
                verdict=verdict,
                reasons=json.loads(reasons),
                repeat=repeat,
                facts=json.loads(facts),
                accepted=accepted,
            )
            for run_id, its, model, device, variant, started, verdict, reasons, repeat, facts, accepted in rows
        ]

    def figures(self, runs: Sequence[str]) -> dict[str, list[Figure]]:
        """Return the figures of some runs, by run."""
        rows = self._connection.execute(
            'SELECT run_id, task, name, value, low, high, "limit" FROM figures '
            "WHERE run_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(runs)),),
        )
        found: dict[str, list[Figure]] = {}
        for run_id, task, name, value, low, high, limit in rows:
            # What the database holds was checked on its way in.
            figure = Figure.model_construct(task=task, name=name, value=value, low=low, high=high, limit=limit)
            found.setdefault(run_id, []).append(figure)
        return found

    def measured(self, suite: str) -> list[Measured]:
        """Return the answers of a suite's runs, by when those started."""
        rows = self._connection.execute(
            'SELECT run_id, task, name, questions, judged, "values" FROM series JOIN runs USING (run_id) '
            "WHERE suite = ? ORDER BY started, run_id",
            (suite,),
        )
        return [
            Measured(
                run_id=run_id, task=task, name=name, questions=asked, judged=bool(judged), values=_unpacked(values)
            )
            for run_id, task, name, asked, judged, values in rows
        ]

    def questions(self, name: str) -> Questions:
        """Return what was asked, by its hash."""
        ids, clusters = self._connection.execute(
            "SELECT ids, clusters FROM questions WHERE hash = ?", (name,)
        ).fetchone()
        return Questions(ids=json.loads(ids), clusters=None if clusters is None else json.loads(clusters))


@contextmanager
def opened(reports: Path) -> Iterator[Store]:
    """Open the memory of a folder of reports; made where there is none, and anew where it is of an older form.

    Args:
        reports: The folder of the run folders.

    Raises:
        HarnessError: The file is of a newer harness, or cannot be read or written.
    """
    file = reports / FILE
    try:
        reports.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=WAIT_S, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise HarnessError(f"{file} cannot be opened: {error}") from error
    try:
        _prepare(connection, file)
        yield Store(connection)
    except sqlite3.DatabaseError as error:
        raise HarnessError(
            f"{file}: {error}; it can be deleted at any time: `nox -s history` makes it anew of the run folders"
        ) from error
    finally:
        connection.close()


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Have all or nothing of the body written, alone: another writer waits at the beginning and not halfway."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    # Readers go on while one writes; the file may lie where that cannot be had, and then they wait.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if _version(connection, file) == SCHEMA_VERSION:
        return
    with writing(connection):
        # Another process may have made it meanwhile.
        if _version(connection, file) == SCHEMA_VERSION:
            return
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection, file: Path) -> int:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise HarnessError(
            f"{file} was written by a newer harness (form {version}, this one knows {SCHEMA_VERSION}): use that one, "
            "or move the file away, and this one makes its own of the run folders"
        )
    return int(version)


def _packed(values: list[float | None]) -> bytes:
    if all(value in (None, 0.0, 1.0) for value in values):
        return b"b" + bytes(255 if value is None else int(value) for value in values)
    return b"d" + np.array([np.nan if value is None else value for value in values], "<f8").tobytes()


def _unpacked(packed: bytes) -> NDArray[np.float64]:
    if packed[:1] == b"d":
        return np.frombuffer(packed[1:], "<f8").astype(np.float64)
    found = np.frombuffer(packed[1:], np.int8).astype(np.float64)
    found[found == NO_ANSWER] = np.nan
    return found
