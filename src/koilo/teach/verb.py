"""The verb quiz: choose labelled cells, balanced over classes, and write them as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo import __version__
from koilo.config import fingerprint
from koilo.errors import ConfigError, ManifestError
from koilo.evaluate.grades import place_in, shared_classes
from koilo.files import ensure_folder, sha256_text, write_json, write_text
from koilo.phantom.descriptions import vocabulary
from koilo.progress import log
from koilo.report.pictures import jpeg_uri
from koilo.taxonomy import fold_members
from koilo.teach.items import Item, read_items
from koilo.teach.page import Question, render_quiz
from koilo.teach.selection import balanced_choice

PAGE = "quiz.html"
KEY = "key.json"
FORMAT = 1

_PICTURE_PX = 320
_FEWEST_CLASSES = 2


@dataclass(frozen=True)
class QuizConfig:
    """Which cells are asked, and how many."""

    source: Path = field(metadata={"positional": "one"})
    """a crop store; a folder with manifest.csv and cells.csv (`koilo data`, `koilo phantom`); or a
    CSV with image and label, optionally reasons (parted by ;), mpp and synthetic"""
    out: Path = field(metadata={"result": False})
    """folder for quiz.html (the learner's) and key.json (the teacher's)"""
    questions: int = 40
    """how many cells are asked"""
    seed: int = 0
    """of choice and order; the same seed asks the same cells"""

    def __post_init__(self) -> None:
        """Refuse a quiz without questions."""
        if not 1 <= self.questions <= 500 or self.seed < 0:
            raise ConfigError(
                f"koilo quiz: questions is {self.questions} and seed {self.seed} (allowed: 1 to "
                "500, and 0 or more). See koilo quiz --help."
            )


def quiz(config: QuizConfig) -> int:
    """Write a quiz of labelled cells as one page that works without a network.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a setting is out of range.
        ManifestError: the source is no gallery, or its cells are of one class only.
        SlideError: a slide of it cannot be read.
        OutputError: ``config.out`` cannot be written.
    """
    items = read_items(config.source)
    folds = shared_classes(item.label for item in items)
    labels = [place_in(item.label, folds) for item in items]
    classes = [name for name in folds if name in labels]
    if len(classes) < _FEWEST_CLASSES:
        raise ManifestError(
            f"{config.source}: all {len(items)} labelled cells are {classes[0]}. A quiz needs two "
            "classes or more. Add cells of others."
        )
    chosen = balanced_choice(labels, config.questions, config.seed)
    asked = [(items[index], labels[index]) for index in chosen]
    questions = [
        _question(number, item, label) for number, (item, label) in enumerate(asked, start=1)
    ]
    quiz_id = sha256_text(fingerprint(config, *(item.name for item, _ in asked)))[:12]
    ensure_folder(config.out)
    is_call = any(item.is_call for item, _ in asked)
    page = render_quiz(quiz_id, classes, questions, is_call=is_call)
    write_text(config.out / PAGE, page)
    write_json(config.out / KEY, _key(config, quiz_id, classes, asked))
    _say(config, asked, is_call=is_call)
    return 0


def _question(number: int, item: Item, label: str) -> Question:
    texts = {text: None for name in fold_members(label) for text in vocabulary(name)}
    return Question(
        id=f"q{number}",
        picture=jpeg_uri(item.read(), side_px=_PICTURE_PX, quality=90),
        answer=label,
        reasons=item.reasons,
        hints=() if item.reasons else tuple(texts),
        synthetic=item.synthetic,
        side_um=item.side_um,
    )


def _key(
    config: QuizConfig, quiz_id: str, classes: Sequence[str], asked: Sequence[tuple[Item, str]]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "koilo_version": __version__,
        "quiz": quiz_id,
        "source": config.source.name,
        "seed": config.seed,
        "classes": list(classes),
        "questions": [
            {
                "question": f"q{number}",
                "cell": item.name,
                "answer": label,
                "reasons": list(item.reasons),
                "synthetic": item.synthetic,
            }
            for number, (item, label) in enumerate(asked, start=1)
        ],
    }


def _say(config: QuizConfig, asked: Sequence[tuple[Item, str]], *, is_call: bool) -> None:
    counts = Counter(label for _, label in asked)
    log.info("%d questions: %s", len(asked), ", ".join(f"{k} {n}" for k, n in counts.items()))
    n_synthetic = sum(bool(item.synthetic) for item, _ in asked)
    if n_synthetic:
        log.info("%d of them are synthetic, and the page says so at each", n_synthetic)
    if is_call:
        log.warning("Warning: the labels are a model's own calls, and the page says so.")
    if len(asked) < config.questions:
        log.warning("Warning: only %d labelled cells, not %d.", len(asked), config.questions)
    log.info("%s; its answers are scored with %s", config.out / PAGE, config.out / KEY)
