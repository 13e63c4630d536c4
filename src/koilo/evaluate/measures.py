"""All measures of one set of slides with truth: what measures.json holds, as plain values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.calibration import shift_prevalence
from koilo.evaluate.calibration_measures import measure_calibration
from koilo.evaluate.centres import UNKNOWN, by_centre
from koilo.evaluate.comparison import mean_over_seeds
from koilo.evaluate.decision_curve import decision_curve
from koilo.evaluate.delong import auc_interval
from koilo.evaluate.grading import measure_grading
from koilo.evaluate.intervals import Interval
from koilo.evaluate.operating_point import specificity_at, threshold_at_specificity
from koilo.evaluate.predictive import PREVALENCES, predictive_table
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import auc, sensitivity_specificity
from koilo.evaluate.slide_scores import LabelledSet, SlideScore
from koilo.evaluate.workload import recall_by_class, recall_by_group, workload
from koilo.taxonomy import severity

EQUAL_SPECIFICITY = 0.65
"""where the paper compares methods"""

Values = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """The slides that can be judged, as arrays (N,); ``called`` is None without a threshold."""

    slides: tuple[SlideScore, ...]
    truth: NDArray[np.bool_]
    p: NDArray[np.float64]
    called: NDArray[np.bool_] | None

    @classmethod
    def of(cls, slides: Sequence[SlideScore]) -> Judged:
        """The arrays of some judged slides."""
        calls = [slide.called_positive for slide in slides]
        known = all(call is not None for call in calls)
        return cls(
            tuple(slides),
            np.array([slide.truly_positive for slide in slides], dtype=bool),
            np.array([slide.p_positive for slide in slides], dtype=np.float64),
            np.array(calls, dtype=bool) if known else None,
        )

    @property
    def labels(self) -> list[str]:
        """The true class of each slide."""
        return [str(slide.label) for slide in self.slides]

    @property
    def both(self) -> bool:
        """True where there are positives and negatives."""
        return bool(self.truth.any() and not self.truth.all())


def measure_set(
    found: LabelledSet, *, prevalence: float | None = None, draws: int = 1000, seed: int = 0
) -> Values:
    """Every measure that the set allows, as plain values for JSON; None where it allows none.

    Args:
        found: slides with truth and score, and the others.
        prevalence: share of positives of the population to which F1, kappa, workload, calibration
            and net benefit are brought as well; None: as the set is only.
        draws: resamples of the bootstrap.
        seed: of the draws.
    """
    judged = Judged.of(found.judged)
    centres = [slide.centre or UNKNOWN for slide in judged.slides]
    values: Values = {
        "slides": count_slides(found),
        "ranking": _ranking(judged, draws, seed),
        "locked": _locked(judged, found.without_result, prevalence),
        "grading": _grading(judged, prevalence, draws, seed),
        "at_equal_specificity": _at_specificity(judged),
        "calibration": measure_calibration(judged.truth, judged.p, draws=draws, seed=seed),
        "decision_curve": _net_benefit(judged, prevalence),
        "centres": list(
            by_centre(centres, judged.truth, judged.p, judged.called, draws=draws, seed=seed)
        ),
    }
    if prevalence is not None and judged.both:
        values["calibration_at_prevalence"] = measure_calibration(
            judged.truth, judged.p, prevalence, draws=draws, seed=seed
        )
    return plain(values)


def count_slides(found: LabelledSet) -> Values:
    """How many slides there are of which kind, and by name those that count in no measure."""
    judged = found.judged
    return {
        "n": len(judged) + len(found.without_result) + len(found.unlabelled),
        "n_judged": len(judged),
        "n_positive": sum(slide.truly_positive for slide in judged),
        "n_fields": sum(slide.kind == "field" for slide in judged),
        "n_synthetic": sum(slide.synthetic for slide in judged),
        "n_without_threshold": sum(slide.threshold is None for slide in judged),
        "by_label": _counted(str(slide.label) for slide in judged),
        "bundles": sorted({slide.bundle for slide in judged if slide.bundle}),
        "without_result": [
            {"slide_id": slide.slide_id, "label": slide.label, "why": slide.reason}
            for slide in found.without_result
        ],
        "unlabelled": [slide.slide_id for slide in found.unlabelled],
    }


def plain(value: Any) -> Any:
    """JSON values of dataclasses, arrays and numbers; what is not finite becomes None.

    An interval without a width has no bounds: a perfect AUC of five slides is not certain, its
    variance only cannot be seen in them.
    """
    if isinstance(value, Interval):
        known = value.high > value.low
        bounds = {"low": value.low, "high": value.high} if known else {"low": None, "high": None}
        return plain({"estimate": value.estimate, **bounds})
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _ranking(judged: Judged, draws: int, seed: int) -> Values | None:
    """AUC by DeLong, and the paper's measure: specificity where this set's sensitivity is 95 %."""
    if not judged.both:
        return None
    n_each = min(judged.truth.sum(), (~judged.truth).sum())
    area = float(auc(judged.truth, judged.p))
    return {
        "auc": auc_interval(judged.truth, judged.p) if n_each > 1 else _alone(area),
        "spec_at_sens95": mean_over_seeds(
            judged.truth, judged.p, specificity_at, draws=draws, seed=seed
        ),
    }


def _locked(
    judged: Judged, unread: Sequence[SlideScore], prevalence: float | None
) -> Values | None:
    """What the threshold that came with the results does; nothing is tuned here."""
    if judged.called is None or not judged.slides:
        return None
    truth, called = judged.truth, judged.called
    n_positive, n_hits = int(truth.sum()), int(called[truth].sum())
    n_negative, n_passed = int((~truth).sum()), int((~called[~truth]).sum())
    n_unread = sum(slide.truly_positive for slide in unread)
    sensitivity = share_interval(n_hits, n_positive)
    specificity = share_interval(n_passed, n_negative)
    values: Values = {
        "thresholds": _counted(f"{slide.threshold:.6g}" for slide in judged.slides),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ruled_out": share_interval(int((~called).sum()), called.size),
        "unread_slides": {
            "n_positive": n_unread,
            "n_negative": len(unread) - n_unread,
            "sensitivity_if_missed": share_interval(n_hits, n_positive + n_unread),
            "sensitivity_if_a_reader_finds_them": share_interval(
                n_hits + n_unread, n_positive + n_unread
            ),
            "specificity_if_a_reader_sees_them": share_interval(
                n_passed, n_negative + len(unread) - n_unread
            ),
        },
        "missed_by_class": recall_by_class(judged.labels, called),
        "groups": recall_by_group(judged.labels, called),
        "workload": workload(truth, called),
    }
    if judged.both:
        values["predictive"] = _predictive(sensitivity, specificity, prevalence)
        if prevalence is not None:
            values["workload_at_prevalence"] = workload(truth, called, prevalence=prevalence)
    return values


def _predictive(sensitivity: Interval, specificity: Interval, asked: float | None) -> list[Values]:
    """Predictive values; their bounds are those where both rates stand at their own bounds."""
    shares = sorted({*PREVALENCES, *([asked] if asked else [])})
    at, low, high = (
        predictive_table(getattr(sensitivity, bound), getattr(specificity, bound), shares)
        for bound in ("estimate", "low", "high")
    )
    return [
        {
            "prevalence": row.prevalence,
            "ppv": {"estimate": row.ppv, "low": least.ppv, "high": most.ppv},
            "npv": {"estimate": row.npv, "low": least.npv, "high": most.npv},
            "flagged_per_1000": row.flagged_per_1000,
            "missed_per_1000": row.missed_per_1000,
        }
        for row, least, most in zip(at, low, high, strict=True)
    ]


def _grading(judged: Judged, prevalence: float | None, draws: int, seed: int) -> Values | None:
    """Measures of the called classes; None where a slide's call is not known."""
    calls = [slide.called for slide in judged.slides if slide.called is not None]
    if not judged.slides or len(calls) < len(judged.slides):
        return None
    return measure_grading(
        judged.labels,
        calls,
        {name for slide in judged.slides for name in slide.probabilities},
        prevalence=prevalence if judged.both else None,
        draws=draws,
        seed=seed,
    )


def _at_specificity(judged: Judged) -> Values | None:
    """Sensitivity at the paper's specificity of 0.65, threshold from this very set."""
    if not judged.both:
        return None
    threshold = threshold_at_specificity(judged.truth, judged.p, EQUAL_SPECIFICITY)
    sensitivity, specificity = sensitivity_specificity(judged.truth, judged.p, threshold)
    return {
        "threshold": threshold,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "missed_by_class": recall_by_class(judged.labels, judged.p >= threshold),
    }


def _net_benefit(judged: Judged, prevalence: float | None) -> Values | None:
    if not judged.both:
        return None
    p = judged.p
    if prevalence is not None and 0 < prevalence < 1:
        p = shift_prevalence(p, float(judged.truth.mean()), prevalence)
    curve = decision_curve(judged.truth, p, prevalence=prevalence)
    return {"curve": curve, "prevalence": prevalence}


def _alone(estimate: float) -> Interval:
    return Interval(estimate, float("nan"), float("nan"))


def _counted(names: Any) -> dict[str, int]:
    counts = Counter(names)
    try:
        order = sorted(counts, key=severity)
    except ValueError:
        order = sorted(counts)
    return {name: counts[name] for name in order}
