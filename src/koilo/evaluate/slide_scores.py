"""Read the scores of slides (a results folder, its slides.csv, or a scores CSV) and their truth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from koilo.errors import ManifestError
from koilo.files import read_csv_rows
from koilo.manifest import SlideEntry, given_slide_id
from koilo.results import RESULT, SLIDES_CSV, read_slide_result
from koilo.taxonomy import NEGATIVE, fold_members
from koilo.types import SlideResult

_SCORE_COLUMNS = ("slide_id", "label", "p_positive")
_TABLE_COLUMNS = ("slide_id", "status", "p_positive", "koilo_version")
"""What tells a results folder's slides.csv, whose label is the program's, from a scores CSV."""


@dataclass(frozen=True)
class SlideScore:
    """One slide: what the model said of it and, where it is known, what it is.

    ``label`` is the true class or fold. ``p_positive`` is None where there is no reading, and then
    ``reason`` says why: such a slide is neither negative nor positive.
    """

    slide_id: str
    label: str | None = None
    p_positive: float | None = None
    threshold: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    centre: str | None = None
    split: str | None = None
    kind: str = "slide"
    """``slide`` or ``field``: which operating point judged it"""
    reason: str = ""
    bundle: str = ""
    bundle_sha256: str = ""
    synthetic: bool = False

    @property
    def truly_positive(self) -> bool:
        """True where the label is known and not NILM."""
        return self.label is not None and self.label != NEGATIVE

    @property
    def called_positive(self) -> bool | None:
        """Whether the score reaches its threshold; None where either is missing."""
        if self.p_positive is None or self.threshold is None:
            return None
        return self.p_positive >= self.threshold

    @property
    def called(self) -> str | None:
        """The class called, as a results folder calls it: NILM below the threshold, else the best.

        None without a threshold or without probabilities of classes.
        """
        others = {name: p for name, p in self.probabilities.items() if name != NEGATIVE}
        if self.called_positive is None or not others:
            return None
        return max(others, key=others.__getitem__) if self.called_positive else NEGATIVE


@dataclass(frozen=True)
class LabelledSet:
    """Slides with truth and score, and all the others by why they cannot be judged."""

    judged: tuple[SlideScore, ...]
    without_result: tuple[SlideScore, ...]
    """labelled, but failed, no cell found, or never read"""
    unlabelled: tuple[SlideScore, ...]


def read_slide_scores(path: Path) -> tuple[SlideScore, ...]:
    """Read a results folder, the slides.csv of one, or a scores CSV.

    A scores CSV has ``slide_id, label`` (the truth), ``p_positive`` and optionally ``split, centre,
    threshold, p_<CLASS>…``. Of a results folder the result.json files are read, which hold
    more digits than its table.

    Raises:
        ManifestError: ``path`` is none of these, or rows of it are wrong.
        OutputError: a result.json is not one of koilo's.
    """
    if path.is_dir():
        found = sorted(file.parent for file in path.glob(f"*/{RESULT}"))
        if found:
            return tuple(
                _of_result(read_slide_result(folder, with_cells=False)) for folder in found
            )
        path = path / SLIDES_CSV
    return _read_table(path)


def add_truth(
    scores: Sequence[SlideScore], entries: Sequence[SlideEntry]
) -> tuple[SlideScore, ...]:
    """Give scores the label, centre and split of a manifest; it wins over what they have.

    Slides that the manifest labels and no score is given for are added, without a result.
    """
    known = {entry.slide_id: entry for entry in entries}
    joined = [_with_entry(score, known.get(score.slide_id)) for score in scores]
    read = {score.slide_id for score in scores}
    missing = [
        _with_entry(SlideScore(entry.slide_id, reason="not among the results"), entry)
        for entry in entries
        if entry.slide_id not in read and entry.label
    ]
    return (*joined, *missing)


def label_set(scores: Sequence[SlideScore], source: Path, split: str | None = None) -> LabelledSet:
    """Part slides into those that can be judged and those that cannot.

    Args:
        scores: with what is known of the truth.
        source: where labels come from, for messages.
        split: only slides of this split; ``all``: whatever the split.

    Raises:
        ManifestError: a label is outside the taxonomy, splits would be mixed, or no slide has both
            label and result.
    """
    _check_labels(scores, source)
    chosen = _of_split(scores, source, split)
    labelled = [score for score in chosen if score.label]
    if not labelled:
        raise ManifestError(
            f"{source} gives none of the {len(chosen)} slides a label. Measures need the truth in "
            "a column label. Name a manifest with --truth whose slide_id are those of the results."
        )
    judged = tuple(score for score in labelled if score.p_positive is not None)
    if not judged:
        raise ManifestError(
            f"{source}: none of the {len(labelled)} labelled slides has a result. One at least is "
            "needed. Check that slide_id are the same in both."
        )
    return LabelledSet(
        judged=judged,
        without_result=tuple(score for score in labelled if score.p_positive is None),
        unlabelled=tuple(score for score in chosen if not score.label),
    )


def _with_entry(score: SlideScore, entry: SlideEntry | None) -> SlideScore:
    if entry is None:
        return score
    return replace(
        score,
        label=entry.label or score.label,
        centre=entry.centre or score.centre,
        split=entry.split or score.split,
    )


def _check_labels(scores: Sequence[SlideScore], source: Path) -> None:
    """Refuse labels outside the taxonomy, and folds that are negative and positive at once."""
    wrong: dict[str, str] = {}
    for score in scores:
        try:
            mixed = score.label and len(m := fold_members(score.label)) > 1 and NEGATIVE in m
        except ValueError as error:
            wrong[score.label or ""] = f"slide {score.slide_id}: {error}"
        else:
            if mixed:
                wrong[score.label or ""] = (
                    f"slide {score.slide_id}: '{score.label}' is negative and positive at once."
                )
    if wrong:
        more = f" And {len(wrong) - 3} more." if len(wrong) > 3 else ""
        raise ManifestError(
            f"{source}: {' '.join(list(wrong.values())[:3])}{more} Mend the labels."
        )


def _of_split(
    scores: Sequence[SlideScore], source: Path, split: str | None
) -> Sequence[SlideScore]:
    splits = Counter(score.split or "none" for score in scores)
    shown = ", ".join(f"{name} ({n})" for name, n in splits.items())
    if split is None and len(splits) > 1:
        raise ManifestError(
            f"{source} holds several splits: {shown}. Measures over a mixture of what a model "
            "learnt from and what it did not mean nothing. Choose one with --split, or `all`."
        )
    if split in (None, "all"):
        return scores
    chosen = [score for score in scores if (score.split or "none") == split]
    if not chosen:
        raise ManifestError(f"{source} has no split '{split}', only {shown}. Choose one of these.")
    return chosen


def _of_result(result: SlideResult) -> SlideScore:
    facts = result.slide.get("case") or {}
    reason = result.error or ""
    if not reason and result.p_positive is None:
        reason = result.image_quality.verdict if result.image_quality else "no result"
    return SlideScore(
        result.slide_id,
        p_positive=result.p_positive,
        threshold=result.threshold,
        probabilities=dict(result.probabilities),
        centre=facts.get("centre"),
        kind=str(result.slide.get("kind") or "slide"),
        reason=reason,
        bundle=str(result.provenance.get("bundle", "")),
        bundle_sha256=str(result.provenance.get("bundle_sha256", "")),
        synthetic=bool(result.slide.get("synthetic")),
    )


def _read_table(path: Path) -> tuple[SlideScore, ...]:
    try:
        names, rows = read_csv_rows(path)
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read as scores ({error}). Name a results folder of koilo or a UTF-8 "
            f"CSV with {', '.join(_SCORE_COLUMNS)}. Check the path."
        ) from error
    columns = set(names)
    is_table = columns.issuperset(_TABLE_COLUMNS)
    missing = sorted(set(_SCORE_COLUMNS) - columns)
    if missing and not is_table:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}. Scores are a CSV with "
            f"{', '.join(_SCORE_COLUMNS)}, and optionally split, centre, threshold and p_<CLASS>. "
            "Add what is missing."
        )
    scores, problems = [], []
    for number, row in enumerate(rows, start=2):
        try:
            scores.append(_of_row(row, is_table))
        except ValueError as error:
            problems.append(f"row {number}: {str(error).rstrip('.')}")
    counted = Counter(score.slide_id for score in scores)
    problems += [f"slide_id '{name}' stands {n} times" for name, n in counted.items() if n > 1]
    if problems or not scores:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ManifestError(
            f"{path}: {'; '.join(problems[:5]) or 'it has no row'}{more}. Every row is one slide "
            "with probabilities of 0 to 1. Mend these."
        )
    return tuple(scores)


def _of_row(row: Mapping[str, Any], is_table: bool) -> SlideScore:
    """One row; the label of a results table is the program's own and no truth."""
    slide_id = given_slide_id(row)
    if not slide_id:
        raise ValueError("slide_id is empty")
    p_positive = _share(row, "p_positive")
    named = {name[2:]: name for name in row if name and name.startswith("p_")}
    named.pop("positive")
    probabilities = {name: _share(row, column) for name, column in named.items()}
    for name in probabilities:
        fold_members(name)
    reason = (row.get("error") or row.get("image_quality") or "") if is_table else ""
    return SlideScore(
        slide_id,
        label=None if is_table else (row["label"] or "").strip() or None,
        p_positive=p_positive,
        threshold=_share(row, "threshold"),
        probabilities={name: p for name, p in probabilities.items() if p is not None},
        centre=(row.get("centre") or "").strip() or None,
        split=(row.get("split") or "").strip() or None,
        reason="" if p_positive is not None else reason or "no p_positive",
        bundle=row.get("bundle") or "",
    )


def _share(row: Mapping[str, Any], column: str) -> float | None:
    value = _number(row, column)
    if value is not None and not -1e-6 <= value <= 1 + 1e-6:
        raise ValueError(f"{column} is {value:g}, not a probability of 0 to 1")
    return None if value is None else min(max(value, 0.0), 1.0)


def _number(row: Mapping[str, Any], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is '{text}', not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{column} is '{text}', not a finite number")
    return value
