"""The verb ``quiz score``: saved answers against the key, by learner and class, with intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from koilo import __version__
from koilo.errors import ConfigError, ManifestError
from koilo.evaluate.agreement import cohen_kappa
from koilo.evaluate.measures import plain
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import confusion
from koilo.evaluate.tables import Table, markdown, write_csv
from koilo.files import ensure_folder, write_json, write_text
from koilo.progress import log
from koilo.taxonomy import severity
from koilo.teach.page import NOTICE

Values = dict[str, Any]

_COLUMNS = ("quiz", "learner", "question", "answer")


@dataclass(frozen=True)
class ScoreConfig:
    """Whose answers are scored against which key."""

    answers: tuple[Path, ...] = field(metadata={"positional": "many"})
    """files that the quiz saved: .json or .csv, one a learner"""
    key: Path
    """the key.json that was written beside the quiz"""
    out: Path = field(metadata={"result": False})
    """folder for score.md, score.json, score.csv and confusion.csv"""


@dataclass(frozen=True)
class Sheet:
    """One learner's answers: question -> class."""

    learner: str
    answers: Mapping[str, str]


def score(config: ScoreConfig) -> int:
    """Score saved answers of a quiz by learner and class.

    A question without an answer counts as asked and not right.

    Returns:
        exit status 0.

    Raises:
        ConfigError: the key is none.
        ManifestError: answers are malformed, of another quiz, or name unknown classes.
        OutputError: ``config.out`` cannot be written.
    """
    key = _read_key(config.key)
    sheets = [read_answers(path, key) for path in config.answers]
    values = [score_sheet(sheet, key) for sheet in sheets]
    tables = {"score": _score_table(values), "confusion": _confusion_table(key, values)}
    ensure_folder(config.out)
    for name, table in tables.items():
        write_csv(config.out / f"{name}.csv", table)
    parts = [f"# Quiz {key['quiz']}\n", f"{NOTICE}\n", *map(markdown, tables.values())]
    write_text(config.out / "score.md", "\n".join(parts))
    stamp = {"koilo_version": __version__, "quiz": key["quiz"], "classes": key["classes"]}
    write_json(config.out / "score.json", {**stamp, "learners": plain(values)})
    for each in values:
        found = each["all"]
        log.info("%s: %d of %d right, kappa %s", each["learner"], found["right"], found["asked"],
                 "–" if np.isnan(each["kappa"]) else f"{each['kappa']:.2f}")  # fmt: skip
    log.info("%s", config.out / "score.md")
    return 0


def read_answers(path: Path, key: Mapping[str, Any]) -> Sheet:
    """Read what a quiz saved.

    Raises:
        ManifestError: the file is no such, of another quiz, or names a question twice, a question
            that was not asked, or an unknown class.
    """
    learner, rows = _read_rows(path)
    problems = sorted(
        {f"it is of quiz {row['quiz']}" for row in rows if row["quiz"] != key["quiz"]}
    )
    known = {row["question"] for row in key["questions"]}
    answers: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if row["question"] not in known:
            problems.append(f"answer {number}: question '{row['question']}' was not asked")
        elif row["question"] in answers:
            problems.append(f"answer {number}: question '{row['question']}' stands twice")
        if row["answer"] not in key["classes"]:
            problems.append(
                f"answer {number}: '{row['answer']}' is none of {', '.join(key['classes'])}"
            )
        answers[row["question"]] = row["answer"]
    if problems:
        raise ManifestError(
            f"{path} does not fit quiz {key['quiz']}: {'; '.join(problems[:8])}. Give the answers "
            "that this quiz saved, and its own --key."
        )
    return Sheet(learner or path.stem, answers)


def score_sheet(sheet: Sheet, key: Mapping[str, Any]) -> Values:
    """Share right with Wilson's interval in all and by class, confusion (C, C), kappa.

    Kappa is over the answered questions, plain and with linear weights by gravity.
    """
    truth = {row["question"]: row["answer"] for row in key["questions"]}
    classes = list(key["classes"])
    answered = [name for name in truth if name in sheet.answers]
    table = confusion(
        [truth[name] for name in answered], [sheet.answers[name] for name in answered], classes
    )
    by_gravity = np.argsort([severity(name) for name in classes], kind="stable")
    return {
        "learner": sheet.learner,
        "answered": len(answered),
        "all": _share(list(truth), sheet, truth),
        "classes": {
            name: _share([q for q, label in truth.items() if label == name], sheet, truth)
            for name in classes
        },
        "confusion": table,
        "kappa": cohen_kappa(table),
        "kappa_linear": cohen_kappa(table[np.ix_(by_gravity, by_gravity)], "linear"),
    }


def _share(questions: Sequence[str], sheet: Sheet, truth: Mapping[str, str]) -> Values:
    right = sum(sheet.answers.get(name) == truth[name] for name in questions)
    return {
        "right": right,
        "asked": len(questions),
        "share": share_interval(right, len(questions)),
    }


def _read_key(path: Path) -> dict[str, Any]:
    try:
        key: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not (key["quiz"] and key["classes"] and key["questions"]):
            raise ValueError("it is empty")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is no key of a quiz ({error}). The key.json that `koilo quiz` wrote is "
            "needed. Check --key."
        ) from error
    return key


def _read_rows(path: Path) -> tuple[str, list[dict[str, str]]]:
    """The learner's name, and quiz, question and answer of each row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            saved = json.loads(text)
            rows = [
                {"quiz": str(saved["quiz"]), "question": str(row["question"]),
                 "answer": str(row["answer"])}
                for row in saved["answers"]
            ]  # fmt: skip
            return str(saved.get("learner") or ""), rows
        table = list(csv.DictReader(io.StringIO(text)))
        rows = [{name: row[name] or "" for name in _COLUMNS} for row in table]
        return (rows[0]["learner"] if rows else ""), rows
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{path} is no file of answers ({error}). A .json or .csv that the quiz saved is "
            "needed. Save it again."
        ) from error


def _score_table(values: Sequence[Values]) -> Table:
    columns = ["learner", "class", "right", "asked", "share", "share_low", "share_high", "kappa",
               "kappa_linear"]  # fmt: skip
    rows = []
    for each in values:
        parts = [("all", each["all"], each["kappa"], each["kappa_linear"])]
        parts += [(name, found, None, None) for name, found in each["classes"].items()]
        for name, found, *agreement in parts:
            share = found["share"]
            bounds = [share.estimate, share.low, share.high]
            row = [each["learner"], name, found["right"], found["asked"], *bounds, *agreement]
            rows.append(plain(row))
    return Table("Right answers, 95 % intervals", columns, rows)


def _confusion_table(key: Mapping[str, Any], values: Sequence[Values]) -> Table:
    total = np.sum([each["confusion"] for each in values], axis=0)
    rows = [[name, *row] for name, row in zip(key["classes"], total.tolist(), strict=True)]
    return Table("What the cells are (rows) and what was answered (columns), all learners",
                 ["is", *key["classes"]], rows)  # fmt: skip
