"""The verb calibrate: lock the threshold anew on a laboratory's own labelled slides.

The weights stay; a new bundle folder carries the new operating point with its interval and says
which slides it was locked on. A set that judges a threshold must not be the set that locked it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from koilo import __version__
from koilo.bundle import Bundle, load_bundle, write_bundle
from koilo.errors import BundleError, ConfigError, ManifestError, OutputError
from koilo.evaluate.calibration import fit_temperature, why_no_temperature
from koilo.evaluate.conformal import lock_bounds
from koilo.evaluate.measures import Judged
from koilo.evaluate.operating_point import OperatingPoint, lock_operating_point
from koilo.evaluate.predictive import predictive_values
from koilo.evaluate.proportions import positives_needed
from koilo.evaluate.slide_scores import (
    LabelledSet,
    SlideScore,
    add_truth,
    label_set,
    read_slide_scores,
)
from koilo.evaluate.write_up import FEW_POSITIVES
from koilo.files import sha256_file
from koilo.manifest import read_manifest
from koilo.progress import log

POINTS = {"slide": "sens95", "field": "sens95_field"}
"""The operating point that judges each kind of picture."""

_TRAIN = "train"


@dataclass(frozen=True)
class CalibrateConfig:
    """Which labelled results lock the threshold of which bundle."""

    results: Path = field(metadata={"positional": "one"})
    """the results folder that `koilo screen` made of the labelled slides with --model"""
    truth: Path
    """manifest (.csv) with a column label"""
    out: Path = field(metadata={"result": False})
    """folder of the new bundle, for --model"""
    model: str = "cytology"
    """the bundle that made the results: a built-in name or a folder"""
    name: str | None = None
    """of the new bundle; default: the folder's name"""
    split: str | None = None
    """only slides of this split, or `all` but those of split train; needed where there are several;
    slides that the model learnt from are taken only by their name, train"""
    half_width: float = 0.03
    """wanted half width of the interval of the sensitivity, for the number of positives needed"""
    temperature: bool = False
    """fit and store a temperature of p_positive as well: reports then say what p_positive means"""
    prevalence: float | None = None
    """share of positives among the laboratory's slides, 0 to 1; stored, with predictive values"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, all in one error."""
        problems = []
        if not 0 < self.half_width < 0.5:
            problems.append(f"half_width is {self.half_width:g} (allowed: above 0, below 0.5)")
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            problems.append(f"prevalence is {self.prevalence:g} (allowed: above 0, below 1)")
        if problems:
            raise ConfigError(f"koilo calibrate: {'; '.join(problems)}. See its --help.")


def calibrate(config: CalibrateConfig) -> int:
    """Lock the threshold of a bundle anew on labelled slides of one's own.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a setting is out of range.
        ManifestError: labels are malformed, fields and slides are mixed, a class is absent, no
            slide has both label and result, all are of split train, or no temperature fits.
        BundleError: the results were made with another bundle.
        OutputError: a bundle stands in ``config.out`` already, or it cannot be written.
    """
    if (config.out / "bundle.json").exists():
        raise OutputError(
            f"{config.out} holds a bundle already. A bundle is never changed, since results name "
            "it by its hash. Choose another --out."
        )
    bundle = load_bundle(config.model)
    scores = add_truth(read_slide_scores(config.results), read_manifest(config.truth))
    scores = _not_learnt_from(config, scores)
    found = label_set(scores, config.truth, config.split)
    _check_bundle(config, found, bundle)
    kind = _one_kind(config, found)
    judged = Judged.of(found.judged)
    if not judged.both:
        raise ManifestError(
            f"{config.truth}: {int(judged.truth.sum())} of the {judged.truth.size} judged slides "
            "are positive. A threshold needs positives and negatives. Add labelled slides."
        )
    point = lock_operating_point(judged.truth, judged.p, _set_name(config, found, kind))
    doubt = lock_bounds(judged.truth, judged.p, point.set)
    extra = {**_calibration(config, judged), "doubt": doubt.to_dict()}
    spec = _new_spec(config, bundle, found, POINTS[kind], {**point.to_dict(), **extra})
    _say(config, bundle, point, kind, found)
    tensors = {part: bundle.tensors(part) for part in bundle.parts}
    made = write_bundle(config.out, spec, tensors, _card(bundle, spec, POINTS[kind]))
    log.info("%s (sha256 %s): use it with --model %s", made.name, made.sha256[:12], config.out)
    return 0


def _not_learnt_from(
    config: CalibrateConfig, scores: tuple[SlideScore, ...]
) -> tuple[SlideScore, ...]:
    """Leave out split train where nobody named it.

    A model is surer of slides it has learnt from: a threshold locked on them lies too high for the
    positives of others, and promises a sensitivity that they do not reach.
    """
    if config.split not in (None, "all"):
        return scores
    kept = tuple(score for score in scores if score.split != _TRAIN)
    n_left_out = len(scores) - len(kept)
    if n_left_out and not kept:
        raise ManifestError(
            f"{config.truth}: all {n_left_out} slides are of split {_TRAIN}. A threshold needs "
            f"slides that the model has not learnt from. Add some, or name --split {_TRAIN} if "
            "this model never saw these."
        )
    if config.split is None:
        return scores  # several splits are refused by label_set
    if n_left_out:
        log.info("%d slides of split %s left out: the model may have learnt from them",
                 n_left_out, _TRAIN)  # fmt: skip
    return kept


def _check_bundle(config: CalibrateConfig, found: LabelledSet, bundle: Bundle) -> None:
    others = Counter(
        f"{slide.bundle or 'one that is not named'} ({slide.bundle_sha256[:12] or 'no hash'})"
        for slide in found.judged
        if slide.bundle_sha256 != bundle.sha256
    )
    if others:
        made = ", ".join(f"{name} ({n} slides)" for name, n in others.items())
        raise BundleError(
            f"{config.results} was not made with bundle {bundle.name} ({bundle.sha256[:12]}) but "
            f"with {made}. A threshold holds for one model only. Screen the labelled slides with "
            "--model of that bundle, and name the results folder."
        )


def _one_kind(config: CalibrateConfig, found: LabelledSet) -> str:
    kinds = Counter(slide.kind for slide in found.judged)
    if len(kinds) > 1 or not set(kinds) <= set(POINTS):
        shown = " and ".join(f"{n} {kind}s" for kind, n in kinds.items())
        raise ManifestError(
            f"{config.results} mixes {shown}. Slides are judged by {POINTS['slide']} and single "
            f"fields by {POINTS['field']}, each locked on its own kind. Calibrate them apart."
        )
    return next(iter(kinds))


def _set_name(config: CalibrateConfig, found: LabelledSet, kind: str) -> str:
    centres = sorted({slide.centre for slide in found.judged if slide.centre})
    synthetic = ", synthetic" if any(slide.synthetic for slide in found.judged) else ""
    named = f"all but {_TRAIN}" if config.split == "all" else config.split
    split = f", split {named}" if named else ""
    place = f" of {', '.join(centres)}" if centres else ""
    return f"{kind}s{place} labelled in {config.truth.name}{split}{synthetic}"


def _calibration(config: CalibrateConfig, judged: Judged) -> dict[str, Any]:
    """What the bundle says of its probabilities besides the threshold, which they do not move."""
    values: dict[str, Any] = {}
    if config.temperature:
        both = np.stack([1 - judged.p, judged.p], axis=1)  # (N, 2)
        temperature = fit_temperature(both, judged.truth.astype(int))
        if why_none := why_no_temperature(temperature):
            raise ManifestError(
                f"{config.truth}: no temperature fits these {judged.truth.size} slides, since "
                f"{why_none}. More labelled slides are needed. Add some, or leave --temperature "
                "out."
            )
        values["temperature"] = round(temperature, 6)
        values["set_prevalence"] = round(float(judged.truth.mean()), 6)
    if config.prevalence is not None:
        values["prevalence"] = config.prevalence
    return values


def _new_spec(
    config: CalibrateConfig,
    bundle: Bundle,
    found: LabelledSet,
    point_name: str,
    point: dict[str, Any],
) -> dict[str, Any]:
    """The old description with the new point, name and where it comes from."""
    spec = {name: value for name, value in bundle.spec.items() if name not in ("format", "sha256")}
    spec["name"] = config.name or config.out.resolve().name
    spec["operating_points"] = {**bundle.spec["operating_points"], point_name: point}
    spec["provenance"] = {
        **bundle.spec.get("provenance", {}),
        "calibrated": {
            "operating_point": point_name,
            "from_bundle": bundle.name,
            "from_sha256": bundle.sha256,
            "truth": config.truth.name,
            "truth_sha256": sha256_file(config.truth),
            "n_judged": len(found.judged),
            "n_without_result": len(found.without_result),
            "n_unlabelled": len(found.unlabelled),
            "koilo_version": __version__,
        },
    }
    return spec


def _card(bundle: Bundle, spec: dict[str, Any], point_name: str) -> str:
    point, made = spec["operating_points"][point_name], spec["provenance"]["calibrated"]
    low, high = point["sensitivity_interval"]
    warning = (
        f"\n**Only {point['n_positive']} positives**: under {FEW_POSITIVES} the interval is wide.\n"
        if point["n_positive"] < FEW_POSITIVES
        else ""
    )
    return (
        f"{bundle.card.rstrip()}\n\n## Threshold locked anew\n\n"
        f"`{point_name}` of this bundle was locked by `koilo calibrate` on {point['n']} "
        f"{point['set']}, {point['n_positive']} of them positive. Sensitivity there "
        f"{point['sensitivity']:.1%} ({low:.1%} to {high:.1%}), specificity "
        f"{point['specificity']:.1%}; what it does elsewhere has to be measured on other slides. "
        f"Other operating points are those of bundle {made['from_bundle']} "
        f"({made['from_sha256'][:12]}), whose weights these are. {_doubt_text(point)}\n{warning}"
    )


def _doubt_text(point: dict[str, Any]) -> str:
    """What the conformal bounds of the new point say, for the card."""
    doubt = point["doubt"]
    positive = f"below {doubt['low']:.4f}" if doubt["low"] >= 0 else "at no score, for too few"
    negative = f"above {doubt['high']:.4f}" if doubt["high"] <= 1 else "at no score, for too few"
    return (
        f"Positive is ruled out {positive} (coverage of positives "
        f"{doubt['coverage_positive']:.0%}), negative {negative} (of negatives "
        f"{doubt['coverage_negative']:.0%}); between them the call is open and needs a human."
    )


def _say(
    config: CalibrateConfig, bundle: Bundle, point: OperatingPoint, kind: str, found: LabelledSet
) -> None:
    before = bundle.spec["operating_points"].get(POINTS[kind], {}).get("threshold")
    log.info(
        "%s: threshold %.4g (was %s) on %d %ss, %d of them positive",
        POINTS[kind], point.threshold, "none" if before is None else f"{before:.4g}",
        point.n, kind, point.n_positive,
    )  # fmt: skip
    log.info(
        "sensitivity %s, specificity %s",
        _span(point.sensitivity, point.sensitivity_interval),
        _span(point.specificity, point.specificity_interval),
    )
    log.info(
        "for ±%.1f points at a sensitivity of 95 %%, %d positives are needed; this set has %d",
        100 * config.half_width, positives_needed(config.half_width), point.n_positive,
    )  # fmt: skip
    if point.n_positive < FEW_POSITIVES:
        log.warning(
            "Warning: only %d positives. Under %d the sensitivity of this threshold is uncertain "
            "(the interval above is stored with it).",
            point.n_positive, FEW_POSITIVES,
        )  # fmt: skip
    if config.prevalence is not None:
        ppv, npv = predictive_values(point.sensitivity, point.specificity, config.prevalence)
        # Negative has no predictive value where this threshold lets no slide pass.
        negative = "–" if np.isnan(npv) else f"{npv:.2%}"
        log.info("at a prevalence of %.1f %%: predictive values %.1f %% positive, %s negative",
                 100 * config.prevalence, 100 * ppv, negative)  # fmt: skip
    for slide in found.without_result:
        log.info("no result, not counted: %s (%s): %s", slide.slide_id, slide.label, slide.reason)
    if found.unlabelled:
        log.info("%d slides have no label and are not counted", len(found.unlabelled))


def _span(share: float, interval: tuple[float, float] | None) -> str:
    low, high = interval or (float("nan"), float("nan"))
    return f"{share:.1%} (95 % interval {low:.1%} to {high:.1%})"
