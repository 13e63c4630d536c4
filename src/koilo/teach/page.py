"""The page of a quiz: self-contained, no network; answers stay in it until they are saved."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import jinja2
import markupsafe

from koilo.report.render import environment
from koilo.report.words import class_name

NOTICE = "For teaching. Research use only. Not for clinical diagnosis."


@dataclass(frozen=True)
class Question:
    """One cell: its picture as a data URI, its class, and why."""

    id: str
    picture: str
    answer: str
    reasons: tuple[str, ...]
    """what is known to be true of this very cell"""
    hints: tuple[str, ...]
    """what is said of the class, where nothing is known of the cell"""
    synthetic: str
    side_um: float | None


def render_quiz(
    quiz_id: str, classes: Sequence[str], questions: Sequence[Question], *, is_call: bool
) -> str:
    """The quiz as HTML.

    Args:
        quiz_id: what ties saved answers to their key.
        classes: what may be answered, in the order of the buttons.
        questions: in the order of asking.
        is_call: the labels are a model's own calls; the page says so.
    """
    script = files("koilo.teach").joinpath("templates/quiz.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    data = {
        "quiz": quiz_id,
        "classes": [{"name": name, "meaning": class_name(name)} for name in classes],
        "questions": [asdict(question) for question in questions],
    }
    return (
        _templates()
        .get_template("quiz.html")
        .render(
            notice=NOTICE,
            data=data,
            n_questions=len(questions),
            n_classes=len(classes),
            synthetic=sorted({each.synthetic for each in questions} - {""}),
            all_synthetic=all(each.synthetic for each in questions),
            is_call=is_call,
            # The script is this package's own text, and the page lets no other one run.
            script=markupsafe.Markup(script),
            script_hash=digest,
        )
    )


@cache
def _templates() -> jinja2.Environment:
    """The report's own look and filters, with this part's templates."""
    shared = environment()
    assert shared.loader is not None
    own = jinja2.PackageLoader("koilo.teach", "templates")
    return shared.overlay(loader=jinja2.ChoiceLoader([own, shared.loader]))
