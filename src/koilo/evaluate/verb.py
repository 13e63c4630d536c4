"""The verb evaluate: measure results or scores against the truth; tables, a page and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo import __version__
from koilo.config import fingerprint, to_dict
from koilo.errors import ConfigError
from koilo.evaluate import figures
from koilo.evaluate.against import measure_against, pair_scores
from koilo.evaluate.calibration import Reliability
from koilo.evaluate.cell_measures import measure_cells
from koilo.evaluate.centres import UNKNOWN, by_centre
from koilo.evaluate.cost_measures import measure_costs
from koilo.evaluate.decision_curve import DecisionCurve
from koilo.evaluate.measures import Judged, measure_set, plain
from koilo.evaluate.slide_scores import LabelledSet, add_truth, label_set, read_slide_scores
from koilo.evaluate.tables import evaluation_tables, write_csv
from koilo.evaluate.write_up import span, write_up
from koilo.files import ensure_folder, write_json, write_text
from koilo.manifest import read_manifest
from koilo.progress import log

MEASURES = "measures.json"
PAGE = "evaluation.md"


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured against what."""

    results: Path = field(metadata={"positional": "one"})
    """a results folder of koilo, or a scores CSV (slide_id, label, p_positive; optionally split,
    centre, threshold, p_<CLASS>)"""
    out: Path = field(metadata={"result": False})
    """folder for measures.json, evaluation.md, the tables and the figures"""
    truth: Path | None = None
    """manifest (.csv) with a column label; default: the label in the scores CSV"""
    split: str | None = None
    """only slides of this split, or `all`; needed where there are several"""
    cells: Path | None = None
    """cells.csv with every labelled cell of these slides: adds Precision@Top-32 and top-K recall
    (results folder only)"""
    costs: str | None = None
    """cost table by name (cytology), or a CSV of what calling each class costs where another
    holds: adds the mean cost of the likeliest class and of the cheapest call"""
    against: Path | None = None
    """results or scores of another method on the same slides: adds differences with intervals,
    DeLong's and McNemar's tests"""
    prevalence: float | None = None
    """share of positives in the population, 0 to 1, to which F1, kappa, workload, calibration and
    net benefit are brought as well"""
    draws: int = 1000
    """resamples of the bootstrap"""
    seed: int = 0
    """of the resamples"""
    no_figures: bool = field(default=False, metadata={"result": False})
    """tables and the page only, which need no matplotlib"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, all in one error."""
        problems = []
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            problems.append(f"prevalence is {self.prevalence:g} (allowed: above 0, below 1)")
        if self.draws < 20:
            problems.append(f"draws is {self.draws} (allowed: 20 and more)")
        if problems:
            raise ConfigError(f"koilo evaluate: {'; '.join(problems)}. See koilo evaluate --help.")


def evaluate(config: EvaluateConfig) -> int:
    """Measure results or scores against the truth: tables, figures and a page.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a setting is out of range, or the costs are malformed.
        ManifestError: scores or truth are malformed, without a label, or of several splits; costs
            without probabilities of classes; ``against`` holds other slides or another truth.
        DependencyError: figures are wanted and matplotlib is not installed.
        OutputError: ``config.out`` cannot be written.
    """
    if not config.no_figures:
        figures.require_matplotlib()
    scores = read_slide_scores(config.results)
    if config.truth is not None:
        scores = add_truth(scores, read_manifest(config.truth))
    found = label_set(scores, config.truth or config.results, config.split)
    values = measure_set(found, prevalence=config.prevalence, draws=config.draws, seed=config.seed)
    values["cells"] = plain(
        measure_cells(
            config.results, found.judged, config.cells, draws=config.draws, seed=config.seed
        )
    )
    values |= _asked_for(config, found)
    ensure_folder(config.out)
    pictures = [] if config.no_figures else _draw(config.out, found, values)
    _write(config, values, pictures)
    _say(config, values)
    return 0


def _asked_for(config: EvaluateConfig, found: LabelledSet) -> dict[str, Any]:
    """What only a flag adds: costs, and another method's scores."""
    draws: dict[str, Any] = {"draws": config.draws, "seed": config.seed}
    values: dict[str, Any] = {}
    if config.costs is not None:
        values["costs"] = plain(measure_costs(Judged.of(found.judged), config.costs, **draws))
    if config.against is not None:
        others = read_slide_scores(config.against)
        if config.truth is not None:
            others = add_truth(others, read_manifest(config.truth))
        pair = pair_scores(found.judged, others, config.against)
        values["against"] = measure_against(*pair, **draws)
    return values


def _write(config: EvaluateConfig, values: dict[str, Any], pictures: Sequence[str]) -> None:
    tables = evaluation_tables(values)
    for name, table in tables.items():
        write_csv(config.out / f"{name}.csv", table)
    facts = {
        "scores": str(config.results),
        "truth": str(config.truth or "the label column of the scores"),
        "split": config.split or "none named",
        **({"against": str(config.against)} if config.against else {}),
        "bundle": ", ".join(values["slides"]["bundles"]) or "not said",
        "koilo": __version__,
        "settings": fingerprint(config)[:12],
    }
    write_text(config.out / PAGE, write_up(values, tables, pictures, facts))
    stamp = {"koilo_version": __version__, "fingerprint": fingerprint(config)}
    write_json(config.out / MEASURES, {**stamp, "config": to_dict(config), **values})


def _draw(out: Path, found: LabelledSet, values: dict[str, Any]) -> list[str]:
    """Draw what the set allows; gives the file names."""
    judged, drawn = Judged.of(found.judged), []
    locked = values["locked"]
    if judged.both:
        area = values["ranking"]["auc"]["estimate"]
        dots = {}
        if locked:
            dots = {"locked threshold": (
                locked["sensitivity"]["estimate"], locked["specificity"]["estimate"],
            )}  # fmt: skip
        curves = {f"slides (AUC {area:.3f})": (judged.truth, judged.p)}
        figures.draw_roc(out / "roc.png", curves, points=dots)
        curve = DecisionCurve(**_arrays(values["decision_curve"]["curve"]))
        share = values["decision_curve"]["prevalence"]
        name = "these scores" if share is None else f"these scores at a prevalence of {share:.0%}"
        figures.draw_decision_curve(out / "decision_curve.png", {name: curve})
        drawn += ["roc.png", "decision_curve.png"]
    diagram = Reliability(**_arrays(values["calibration"]["diagram"]))
    figures.draw_reliability(out / "reliability.png", {"as it is": diagram})
    drawn.append("reliability.png")
    grading = values["grading"]
    if grading:
        figures.draw_confusion(out / "confusion.png", grading["table"], grading["classes"])
        drawn.append("confusion.png")
    names = [slide.centre or UNKNOWN for slide in judged.slides]
    # The picture does not show what is drawn by resampling.
    rows = by_centre(names, judged.truth, judged.p, judged.called, draws=1)
    if len(rows) > 1:
        figures.draw_centres(out / "centres.png", rows)
        drawn.append("centres.png")
    return drawn


def _arrays(values: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {name: np.asarray(value, dtype=float) for name, value in values.items()}


def _say(config: EvaluateConfig, values: dict[str, Any]) -> None:
    slides, ranking, locked = values["slides"], values["ranking"], values["locked"]
    log.info(
        "%d slides judged, %d of them positive; %d without a result, %d without a label",
        slides["n_judged"], slides["n_positive"], len(slides["without_result"]),
        len(slides["unlabelled"]),
    )  # fmt: skip
    for row in slides["without_result"][:10]:
        log.info("no result: %s (%s): %s", row["slide_id"], row["label"], row["why"])
    if ranking:
        log.info("AUC %s", span(ranking["auc"]))
    if locked:
        rates = (span(locked[name]) for name in ("sensitivity", "specificity"))
        log.info("at the locked threshold: sensitivity %s, specificity %s", *rates)
    if config.against and (n := values["against"]["n"]) < slides["n_judged"]:
        log.info("the other method scored %d of these slides; it is compared on them alone", n)
    log.info("%s", config.out / PAGE)
