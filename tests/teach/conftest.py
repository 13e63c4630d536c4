"""A list of made pictures of three classes, some with reasons, and a quiz of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from koilo.teach.verb import QuizConfig, quiz

LABELS = ("NILM",) * 9 + ("LSIL",) * 5 + ("HSIL",) * 2
REASON = "a reason only this picture has"


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """A CSV of 16 pictures, each of its own grey."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    lines = ["image,label,reasons,mpp,synthetic"]
    for number, label in enumerate(LABELS):
        grey = np.full((40, 40, 3), 10 * number + 20, np.uint8)
        Image.fromarray(grey).save(folder / f"{number}.png")
        reasons = f"{REASON} {number}; <b>dark & round</b>" if number % 2 else ""
        lines.append(f"{number}.png,{label},{reasons},0.5,{'phantom' if number % 3 == 0 else ''}")
    path = folder / "gallery.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def made(gallery: Path, tmp_path: Path) -> Path:
    """The folder of a quiz of eight questions."""
    quiz(QuizConfig(gallery, tmp_path / "quiz", questions=8, seed=1))
    return tmp_path / "quiz"


@pytest.fixture
def key(made: Path) -> dict:
    """Its key."""
    return json.loads((made / "key.json").read_text())
