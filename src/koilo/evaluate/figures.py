"""Figures of an evaluation, as PNG or SVG by the ending of the path; needs the extra ``train``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koilo.errors import DependencyError
from koilo.evaluate.calibration import Reliability
from koilo.evaluate.centres import CentreRow
from koilo.evaluate.decision_curve import DecisionCurve
from koilo.evaluate.scores import roc_points
from koilo.files import atomic_path

_COLOURS = ("#1f5a9e", "#d1662a", "#2d8a57", "#8e4a9b", "#b8a12b", "#5c6770", "#c03b5a")
"""Told apart in print and by colour-blind readers in this order."""
_GREY = "#8a9199"
_DPI = 150


def require_matplotlib() -> None:
    """Refuse where figures cannot be drawn.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    _figure_class()


def draw_roc(
    path: Path,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    points: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """ROC curves.

    Args:
        path: ``.png`` or ``.svg``.
        curves: name in the legend -> truth (N,) and score (N,).
        points: name -> (sensitivity, specificity) of a locked threshold, drawn as a dot.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        for number, (name, (truth, score)) in enumerate(curves.items()):
            false_rate, true_rate = roc_points(truth, score)
            axes.plot(false_rate, true_rate, color=_colour(number), linewidth=1.6, label=name)
        for number, (name, (sensitivity, specificity)) in enumerate((points or {}).items()):
            axes.plot(
                1 - specificity, sensitivity, "o", color=_colour(number), label=name, markersize=6
            )
        _share_axes(axes, "1 - specificity", "sensitivity")
        axes.set_aspect("equal")
        axes.legend(loc="lower right", frameon=False, fontsize=8)

    _save(path, (4.6, 4.6), draw)


def draw_reliability(path: Path, diagrams: Mapping[str, Reliability]) -> None:
    """Reliability diagrams: predicted against observed, the dot's area the bin's slides.

    Args:
        path: ``.png`` or ``.svg``.
        diagrams: name in the legend -> its bins.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        for number, (name, diagram) in enumerate(diagrams.items()):
            size = 15 + 120 * diagram.weight / max(float(diagram.weight.max(initial=0)), 1e-9)
            label = f"{name} (ECE {diagram.ece:.3f})"
            axes.plot(diagram.p_mean, diagram.observed, color=_colour(number), linewidth=1,
                      label=label)  # fmt: skip
            axes.scatter(diagram.p_mean, diagram.observed, s=size, color=_colour(number), alpha=0.6,
                         linewidths=0, clip_on=False)  # fmt: skip
        _share_axes(axes, "predicted probability of a positive slide", "observed share")
        axes.set_aspect("equal")
        axes.legend(loc="upper left", frameon=False, fontsize=8)

    _save(path, (4.6, 4.6), draw)


def draw_decision_curve(path: Path, curves: Mapping[str, DecisionCurve]) -> None:
    """Net benefit of the models against acting on all and on none.

    Args:
        path: ``.png`` or ``.svg``.
        curves: name in the legend -> its curve; "all" is drawn from the first.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """

    def draw(axes: Any) -> None:
        first = next(iter(curves.values()))
        top = max(float(curve.model.max(initial=0)) for curve in curves.values())
        top = max(top, float(first.treat_all.max(initial=0)), 0.01)
        axes.plot(first.threshold, first.treat_all, color=_GREY, linestyle="--", label="act on all")
        axes.axhline(0, color=_GREY, linestyle=":", label="act on none")
        for number, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve.threshold, curve.model, color=_colour(number), linewidth=1.6, label=name
            )
        axes.set_ylim(-0.25 * top, 1.08 * top)
        axes.set_xlim(0, float(first.threshold.max(initial=0)))
        axes.set_xlabel("threshold probability")
        axes.set_ylabel("net benefit a slide")
        axes.legend(loc="upper right", frameon=False, fontsize=8)

    _save(path, (5.4, 3.8), draw)


def draw_confusion(path: Path, table: ArrayLike, classes: Sequence[str]) -> None:
    """A confusion table: counts, coloured by the share of the row (the truth).

    Args:
        path: ``.png`` or ``.svg``.
        table: (C, C) counts, rows the truth.
        classes: (C,) names.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    counts = np.asarray(table, dtype=float)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)

    def draw(axes: Any) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.55 else "black"
            text = f"{count:g}\n{shares[row, column]:.0%}" if rows[row, 0] else "–"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        axes.set_xlabel("called")
        axes.set_ylabel("truth")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)

    side = 1.6 + 0.75 * len(classes)
    _save(path, (side + 0.4, side), draw)


def draw_centres(path: Path, rows: Sequence[CentreRow]) -> None:
    """A forest plot: AUC, sensitivity and specificity of each centre with their intervals.

    Args:
        path: ``.png`` or ``.svg``.
        rows: one a centre, as `koilo.evaluate.centres.by_centre` gives them.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = _figure_class()(figsize=(8.4, 1.3 + 0.3 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    height = np.arange(len(rows))[::-1]
    names = [f"{row.centre}  ({row.n_positive}/{row.n})" for row in rows]
    for panel, measure in zip(panels, ("auc", "sensitivity", "specificity"), strict=True):
        for place, row in zip(height, rows, strict=True):
            found = getattr(row, measure)
            colour = _COLOURS[1] if row.centre == "all" else _COLOURS[0]
            panel.plot([found.low, found.high], [place, place], color=colour, linewidth=1.4)
            panel.plot(found.estimate, place, "s", color=colour, markersize=5)
        panel.set_title(measure if measure != "auc" else "AUC", fontsize=9)
        panel.set_xlim(-0.02, 1.02)
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(height, names, fontsize=8)
    panels[0].set_ylim(-0.6, len(rows) - 0.4)
    panels[0].set_ylabel("centre (positives/slides)", fontsize=8)
    _write(path, figure)


def draw_learning_curves(
    path: Path,
    curves: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    measure: str,
) -> None:
    """A measure over training, a panel a method: all have one axis of the measure.

    Args:
        path: ``.png`` or ``.svg``.
        curves: method -> name of a run in the legend -> steps (T,) and values (T,).
        measure: what the values are, for the axis.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure, panels = _panels(len(curves), sharey=True)
    for panel, (method, runs) in zip(panels, curves.items(), strict=False):
        for number, (name, (steps, values)) in enumerate(runs.items()):
            panel.plot(steps, values, color=_colour(number), linewidth=1.4, label=name)
        panel.set_title(method, fontsize=8)
    panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel(measure, fontsize=9)
    _write(path, figure)


def draw_samples(path: Path, samples: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> None:
    """Two samples of several numbers: the share of slides at or below each value.

    Args:
        path: ``.png`` or ``.svg``.
        samples: name of the number -> values of A (N,) and of B (M,); what is not finite is left
            out, and a number that one side lacks altogether is not drawn.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    finite = {
        name: [np.sort(v[np.isfinite(v)]) for v in (np.asarray(a, float), np.asarray(b, float))]
        for name, (a, b) in samples.items()
    }
    drawn = {name: both for name, both in finite.items() if min(v.size for v in both)}
    figure, panels = _panels(len(drawn))
    for panel, (name, both) in zip(panels, drawn.items(), strict=False):
        for number, (side, values) in enumerate(zip("AB", both, strict=True)):
            share = np.arange(1, values.size + 1) / values.size
            panel.step(values, share, where="post", color=_colour(number), label=side)
        panel.set_title(name, fontsize=8)
        panel.set_ylim(0, 1.02)
    panels[0].legend(frameon=False, fontsize=8)
    figure.supylabel("share of slides at or below", fontsize=9)
    _write(path, figure)


def _panels(n: int, *, sharey: bool = False) -> tuple[Any, Any]:
    """A figure of ``n`` small axes, three in a row; the rest of the last row is empty."""
    n_columns = min(3, max(n, 1))
    n_rows = max(-(-n // n_columns), 1)
    size = (3.2 * n_columns, 2.3 * n_rows + 0.3)
    figure = _figure_class()(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey).ravel()
    for panel in panels:
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[n:]:
        panel.set_visible(False)
    return figure, panels


def _save(path: Path, size_inch: tuple[float, float], draw: Callable[[Any], None]) -> None:
    figure = _figure_class()(figsize=size_inch, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    _write(path, figure)


def _write(path: Path, figure: Any) -> None:
    ending = path.suffix.lower().lstrip(".")
    with atomic_path(path) as temporary:  # its name has another ending
        figure.savefig(temporary, format=ending, dpi=_DPI)


def _share_axes(axes: Any, x_label: str, y_label: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError(
            "matplotlib is not installed. Figures need it; tables do not. "
            "Run: pip install 'koilo[train]', or ask for no figures."
        ) from error
    return Figure
