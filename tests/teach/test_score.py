"""Answers against their key: counted by hand, from JSON and CSV, foreign ones refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from koilo.cli import main
from koilo.errors import ConfigError, ManifestError
from koilo.teach.score import ScoreConfig, read_answers, score


def write_answers(path: Path, key: dict, answers: list[str], learner: str = "Li") -> Path:
    rows = [
        {"question": row["question"], "answer": answer, "seconds": 1.5}
        for row, answer in zip(key["questions"], answers, strict=False)
    ]
    path.write_text(json.dumps({"quiz": key["quiz"], "learner": learner, "answers": rows}))
    return path


def test_a_score_is_counted_by_class_with_kappa(made: Path, key: dict, tmp_path: Path) -> None:
    truth = [row["answer"] for row in key["questions"]]
    answers = [*truth]
    wrong = truth.index("HSIL")
    answers[wrong] = "LSIL"
    path = write_answers(tmp_path / "li.json", key, answers)
    out = tmp_path / "score"
    command = ["quiz", "score", str(path), "--key", str(made / "key.json"), "--out", str(out)]
    assert main(command) == 0
    (learner,) = json.loads((out / "score.json").read_text())["learners"]
    assert (learner["all"]["right"], learner["all"]["asked"]) == (7, 8)
    assert learner["classes"]["HSIL"]["share"]["estimate"] == 0.5
    assert learner["kappa"] == pytest.approx(cohen_kappa_score(truth, answers), abs=1e-5)
    assert np.sum(learner["confusion"]) == 8
    assert learner["confusion"][2] == [0, 1, 1]
    with open(out / "score.csv", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert (rows["all"]["right"], rows["HSIL"]["right"]) == ("7", "1")
    assert "For teaching" in (out / "score.md").read_text()


def test_two_learners_one_of_whom_stopped_early_are_scored_side_by_side(made, key, tmp_path):
    truth = [row["answer"] for row in key["questions"]]
    whole = write_answers(tmp_path / "a.json", key, truth, "Ann")
    part = tmp_path / "part.csv"
    lines = [f"{key['quiz']},,{row['question']},{row['answer']},2" for row in key["questions"][:3]]
    part.write_text("\n".join(["quiz,learner,question,answer,seconds", *lines]) + "\n")
    score(ScoreConfig((whole, part), made / "key.json", tmp_path / "out"))
    learners = json.loads((tmp_path / "out" / "score.json").read_text())["learners"]
    assert [each["learner"] for each in learners] == ["Ann", "part"]
    assert [each["all"]["right"] for each in learners] == [8, 3]
    assert [each["answered"] for each in learners] == [8, 3]
    assert learners[1]["all"]["asked"] == 8


def test_answers_of_another_quiz_or_of_unknown_words_are_refused(made, key, tmp_path):
    path = write_answers(tmp_path / "x.json", key, ["NILM", "CIN2"])
    saved = json.loads(path.read_text())
    saved["answers"] += [saved["answers"][0], {"question": "q99", "answer": "NILM"}]
    saved["quiz"] = "other"
    path.write_text(json.dumps(saved))
    with pytest.raises(ManifestError) as error:
        read_answers(path, key)
    for said in ("of quiz other", "answer 2: 'CIN2' is none of NILM, LSIL, HSIL",
                 "answer 3: question 'q1' stands twice", "'q99' was not asked"):  # fmt: skip
        assert said in str(error.value)
    for text in ("[1]", "not json", '{"quiz": 1}'):
        path.write_text(text)
        with pytest.raises(ManifestError, match="is no file of answers"):
            read_answers(path, key)
    with pytest.raises(ConfigError, match="is no key of a quiz"):
        score(ScoreConfig((path,), path, tmp_path / "out"))
