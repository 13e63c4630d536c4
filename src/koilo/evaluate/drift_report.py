"""The verb drift: do two results folders (two centres, two weeks) differ; needs no labels.

It is a verb of its own and no mode of evaluate, since it takes two folders and no truth. It sees
that pictures or scores have moved, never whether calls became worse: that needs labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from koilo import __version__
from koilo.errors import BundleError, ManifestError
from koilo.evaluate import figures
from koilo.evaluate.drift import Drift, compare_classes, compare_numbers, correct_for_number
from koilo.evaluate.measures import plain
from koilo.evaluate.ranking import TOP
from koilo.evaluate.tables import Table, markdown, write_csv
from koilo.files import ensure_folder, write_json, write_text
from koilo.progress import log
from koilo.results import RESULT, read_slide_result
from koilo.types import SlideResult

FEW_SLIDES = 30


@dataclass(frozen=True)
class DriftConfig:
    """Which two results folders are compared."""

    a: Path = field(metadata={"positional": "one"})
    """results folder of the reference: the centre or period that is known to be well"""
    b: Path = field(metadata={"positional": "one"})
    """results folder of the other centre or period"""
    out: Path = field(metadata={"result": False})
    """folder for drift.json, drift.csv, drift.md and drift.png"""
    no_figures: bool = field(default=False, metadata={"result": False})
    """tables and the page only, which need no matplotlib"""


def drift(config: DriftConfig) -> int:
    """Say whether two results folders differ, measure by measure; needs no labels.

    Returns:
        exit status 0, whatever is found.

    Raises:
        ManifestError: a folder holds no result.
        BundleError: the two were read by different bundles.
        DependencyError: figures are wanted and matplotlib is not installed.
        OutputError: ``config.out`` cannot be written.
    """
    if not config.no_figures:
        figures.require_matplotlib()
    a, b = read_results(config.a), read_results(config.b)
    _check_bundles(config, a, b)
    found = compare_results(a, b)
    ensure_folder(config.out)
    rows = [[getattr(d, name) for name in _COLUMNS] for d in found]
    table = Table("All measures", _COLUMNS, plain(rows))
    write_csv(config.out / "drift.csv", table)
    picture = ""
    if not config.no_figures:
        picture = "drift.png"
        figures.draw_samples(config.out / picture, _samples(a, b))
    write_text(config.out / "drift.md", _page(config, a, b, found, table, picture))
    write_json(
        config.out / "drift.json",
        {
            "koilo_version": __version__,
            "a": str(config.a),
            "b": str(config.b),
            "measures": [{**plain(asdict(d)), "differs": d.differs, "line": d.line} for d in found],
        },
    )
    for line in [d.line for d in found if d.differs] or ["no measure differs beyond chance"]:
        log.info("%s", line)
    log.info("%s", config.out / "drift.md")
    return 0


def read_results(folder: Path) -> list[SlideResult]:
    """All results of a folder, with their cells.

    Raises:
        ManifestError: it holds none.
        OutputError: one of them is not koilo's.
    """
    found = [read_slide_result(file.parent) for file in sorted(folder.glob(f"*/{RESULT}"))]
    if not any(result.status == "done" for result in found):
        raise ManifestError(
            f"{folder} holds no slide that was read. A results folder of koilo screen is needed. "
            "Check the path."
        )
    return found


def compare_results(a: Sequence[SlideResult], b: Sequence[SlideResult]) -> tuple[Drift, ...]:
    """Every measure of two sets of results, A the reference.

    Slides weigh alike; cells enter as one number a slide, since cells of a slide are not
    independent. What a slide does not have (a failed one: anything) is left out of that measure.
    """
    done_a = [result for result in a if result.status == "done"]
    done_b = [result for result in b if result.status == "done"]
    numbers = [
        compare_numbers(name, [of(r) for r in done_a], [of(r) for r in done_b])
        for name, of in _NUMBERS.items()
    ]
    classes = [
        compare_classes("slides that failed", _states(a), _states(b)),
        *(
            compare_classes(name, _known(done_a, of), _known(done_b, of))
            for name, of in _CLASSES.items()
        ),
    ]
    return correct_for_number([*numbers, *classes])


def _measure(name: str) -> Callable[[SlideResult], float]:
    """A number of image quality; NaN where the slide has none."""
    return lambda result: float(
        (result.image_quality.measures if result.image_quality else {}).get(name, np.nan)
    )


def _top_score(result: SlideResult) -> float:
    """Median detector score of a slide's best cells, which are kept best first."""
    scores = [cell.detector_score for cell in result.cells[:TOP]]
    return float(np.median(scores)) if scores else float("nan")


def _top_lesion(result: SlideResult) -> float:
    """Highest probability of not being NILM among a slide's cells."""
    p = [1 - cell.probabilities.get("NILM", np.nan) for cell in result.cells]
    return float(np.nanmax(p)) if np.isfinite(p).any() else float("nan")


_NUMBERS: dict[str, Callable[[SlideResult], float]] = {
    "p_positive": lambda result: np.nan if result.p_positive is None else result.p_positive,
    "cells kept a slide": lambda result: float(result.n_cells),
    f"detector score (median of the best {TOP} cells)": _top_score,
    "most suspicious cell (1 - p_NILM)": _top_lesion,
    "squamous cells (estimate)": lambda result: float(
        result.adequacy.n_squamous
        if result.adequacy and result.adequacy.n_squamous is not None
        else np.nan
    ),
    "share out of focus": _measure("blurred_share"),
    "blur, µm": _measure("blur_um_median"),
    "stain, optical density": _measure("stain_od_median"),
    "stain, colourfulness": _measure("stain_colour_od_median"),
}

_CLASSES: dict[str, Callable[[SlideResult], str | None]] = {
    "class suggested": lambda result: result.label,
    "image quality": lambda result: (
        result.image_quality.verdict.split(":")[0] if result.image_quality else None
    ),
    "adequacy": lambda result: (
        result.adequacy.verdict.split(":")[0].split(",")[0] if result.adequacy else None
    ),
}

_COLUMNS = (
    *("measure", "n_a", "n_b", "a", "b", "psi", "psi_by_chance", "statistic", "p"),
    *("p_corrected", "effect", "size", "differs"),
)


def _known(results: Sequence[SlideResult], of: Callable[[SlideResult], str | None]) -> list[str]:
    return [name for result in results if (name := of(result)) is not None]


def _states(results: Sequence[SlideResult]) -> list[str]:
    return [result.status for result in results]


def _samples(
    a: Sequence[SlideResult], b: Sequence[SlideResult]
) -> dict[str, tuple[list[float], list[float]]]:
    done_a = [result for result in a if result.status == "done"]
    done_b = [result for result in b if result.status == "done"]
    return {
        name: ([of(result) for result in done_a], [of(result) for result in done_b])
        for name, of in _NUMBERS.items()
    }


def _check_bundles(config: DriftConfig, a: Sequence[SlideResult], b: Sequence[SlideResult]) -> None:
    """Another model's scores differ by design, whatever the pictures do."""
    first, second = (
        {str(r.provenance.get("bundle_sha256", "")) for r in side if r.status == "done"}
        for side in (a, b)
    )
    if len(first | second) > 1:
        shown = ["/".join(sorted(name[:12] or "no hash" for name in side))
                 for side in (first, second)]  # fmt: skip
        raise BundleError(
            f"{config.a} was read by bundle {shown[0]} and {config.b} by {shown[1]}. Scores of two "
            "models differ by design. Screen both folders with one --model."
        )


def _page(
    config: DriftConfig,
    a: Sequence[SlideResult],
    b: Sequence[SlideResult],
    found: Sequence[Drift],
    table: Table,
    picture: str,
) -> str:
    n_a, n_b = len(a), len(b)
    lines = [
        "# Drift\n",
        f"A: {config.a} ({n_a} slides)  \nB: {config.b} ({n_b} slides)\n",
        "It sees that pictures or scores have moved, never whether calls became worse: that needs "
        "labelled slides (`koilo evaluate`). A difference is named where it is more than chance "
        "(p corrected for the number of measures) and not negligible.\n",
    ]
    if min(n_a, n_b) < FEW_SLIDES:
        lines.append(
            f"**Only {min(n_a, n_b)} slides on one side**: what is not seen may still be there.\n"
        )
    for title, chosen in (("Differs", True), ("No difference seen", False)):
        own = [f"- {d.line}" for d in found if d.differs == chosen]
        lines.append(f"## {title}\n\n" + ("\n".join(own) or "- nothing") + "\n")
    if picture:
        lines.append(f"![A and B, share of slides at or below each value]({picture})\n")
    return "\n".join([*lines, markdown(table)])
