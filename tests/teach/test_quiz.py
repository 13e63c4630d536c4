"""A quiz from every kind of gallery: balanced, seeded, whole in one file, and what is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.cli import main
from koilo.datasets import LabelledCell, write_cells
from koilo.errors import ConfigError, ManifestError
from koilo.manifest import SlideEntry, write_manifest
from koilo.phantom.truth import CellTruth
from koilo.phantom.truth_files import write_truth_parquet
from koilo.slides import write_pyramid
from koilo.teach.items import read_items
from koilo.teach.selection import balanced_choice
from koilo.teach.verb import QuizConfig, quiz
from tests.train.toy_store import make_toy_store


@given(
    labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    n=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_classes_are_asked_alike_as_far_as_they_reach(labels, n, seed):
    chosen = balanced_choice(labels, n, seed)
    assert len(set(chosen)) == len(chosen) == min(n, len(labels))
    asked, there = Counter(labels[i] for i in chosen), Counter(labels)
    most = max(asked.values())
    assert all(asked[name] >= most - 1 or asked[name] == there[name] for name in there)
    assert chosen == balanced_choice(labels, n, seed)


def test_a_quiz_is_one_file_with_its_key_beside_it(made: Path, key: dict) -> None:
    page = (made / "quiz.html").read_text(encoding="utf-8")
    assert Counter(row["answer"] for row in key["questions"]) == {"NILM": 3, "LSIL": 3, "HSIL": 2}
    assert key["classes"] == ["NILM", "LSIL", "HSIL"]
    assert not re.search(r'(?:src|href)="(?!data:)[^"]', page)
    assert "default-src 'none'" in page
    assert "For teaching. Research use only." in page
    assert "SYNTHETIC" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert [each["answer"] for each in data["questions"]] == [
        row["answer"] for row in key["questions"]
    ]
    assert {bool(each["reasons"]) != bool(each["hints"]) for each in data["questions"]} == {True}
    body = page.split('id="data"')[0]
    assert "a reason only" not in body


def test_the_same_seed_asks_the_same_cells_and_another_one_others(gallery, made, key, tmp_path):
    for seed in (1, 2):
        quiz(QuizConfig(gallery, tmp_path / str(seed), questions=8, seed=seed))
    assert (tmp_path / "1" / "quiz.html").read_bytes() == (made / "quiz.html").read_bytes()
    other = json.loads((tmp_path / "2" / "key.json").read_text())
    assert other["quiz"] != key["quiz"]
    assert other["questions"] != key["questions"]


def test_cells_of_slides_are_cut_with_the_phantoms_own_reasons(tmp_path: Path) -> None:
    image = np.full((400, 600, 3), 240, np.uint8)
    image[180:220, 130:170] = (90, 30, 120)
    slide = tmp_path / "slides" / "p.tiff"
    slide.parent.mkdir()
    write_pyramid(
        slide,
        (600, 400),
        0.5,
        lambda x, y, width, height: image[y : y + height, x : x + width],
        description={"synthetic": "phantom"},
    )
    write_manifest(tmp_path / "manifest.csv", [SlideEntry("p", slide, mpp=0.5)])
    labels = ["HSIL", "NILM"]
    cells = [LabelledCell("p", 130 + 250 * i, 180, 40, 40, name) for i, name in enumerate(labels)]
    write_cells(tmp_path / "cells.csv", cells)
    empty = np.zeros((0, 2), np.float32)
    truths = [
        CellTruth(name, "k", (0, 0, 9, 9), (0, 0, 9, 9), (), empty, "single", True,
                  descriptions=(f"reason of {name}",))
        for name in labels
    ]  # fmt: skip
    (tmp_path / "truth").mkdir()
    write_truth_parquet(tmp_path / "truth" / "p.parquet", truths, {})
    dark, light = read_items(tmp_path)
    assert (dark.reasons, dark.synthetic) == (("reason of HSIL",), "phantom")
    picture = dark.read()
    middle = picture.shape[0] // 2
    assert picture.shape == (192, 192, 3)
    assert picture[middle, middle].sum() < 350
    assert picture[4, 4].sum() > 650
    assert light.read()[middle, middle].sum() > 650


def test_a_crop_store_is_a_gallery_and_its_truth_the_answer(tmp_path: Path) -> None:
    store = make_toy_store(tmp_path / "store")
    items = read_items(tmp_path / "store")
    assert [item.label for item in items] == store.cells.truth.tolist()
    assert (items[3].read() == store.crops[3]).all()
    assert items[0].synthetic == "phantom"
    assert main(["quiz", str(tmp_path / "store"), "--out", str(tmp_path / "quiz")]) == 0
    key = json.loads((tmp_path / "quiz" / "key.json").read_text())
    assert len(key["questions"]) == 40
    assert set(key["classes"]) == {"NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC"}


def test_a_models_own_calls_are_said_to_be_no_truth(gallery: Path, tmp_path: Path) -> None:
    lines = gallery.read_text().splitlines()
    rows = [line.split(",")[:2] for line in lines[1:]]
    text = "\n".join(["image,status,error,label,p_NILM", *(f"{a},done,,{b},0.5" for a, b in rows)])
    gallery.write_text(text + "\nbroken.png,failed,why,,\n")
    quiz(QuizConfig(gallery, tmp_path / "calls", questions=6))
    assert "a model’s own calls" in (tmp_path / "calls" / "quiz.html").read_text(encoding="utf-8")


def test_galleries_that_are_none_are_refused_in_one_line(gallery: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ManifestError, match="is no gallery"):
        quiz(QuizConfig(tmp_path / "nowhere", out))
    kept = gallery.read_text()
    gallery.write_text("image,label\n0.png,NILM\n1.png,NILM\n")
    with pytest.raises(ManifestError, match="all 2 labelled cells are NILM"):
        quiz(QuizConfig(gallery, out))
    gallery.write_text("image,label\n0.png,CIN2\n")
    with pytest.raises(ManifestError, match="row 2: 'CIN2' is not a class"):
        quiz(QuizConfig(gallery, out))
    gallery.write_text("image,name\n0.png,x\n")
    with pytest.raises(ManifestError, match="no column image and label"):
        quiz(QuizConfig(gallery, out))
    gallery.write_text("image,label\n")
    with pytest.raises(ManifestError, match="holds no labelled cell"):
        quiz(QuizConfig(gallery, out))
    gallery.write_text(kept.replace("3.png", "gone.png"))
    with pytest.raises(ManifestError, match="cannot be read as a picture"):
        quiz(QuizConfig(gallery, out))
    assert not out.exists()
    with pytest.raises(ConfigError, match="questions is 0"):
        QuizConfig(gallery, out, questions=0)
