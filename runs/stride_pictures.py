"""Pictures of the comparison that the library lacks: points by class, by size, by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from koilo.evaluate.intervals import Interval
from koilo.files import atomic_path

COLOURS = ("#1f5a9e", "#2d8a57", "#d1662a", "#c03b5a", "#8e4a9b")
MARKERS = "osD^v"
OF_CLASS = {
    "NILM": "#a7afb6",
    "ASC-US": COLOURS[0],
    "LSIL": COLOURS[1],
    "ASC-H": COLOURS[2],
    "HSIL+SCC": COLOURS[3],
    "ASC-H+HSIL+SCC": COLOURS[2],
    "AGC": COLOURS[4],
}
OTHER = "#2b2f33"
"""What is no class of its own."""


@dataclass(frozen=True)
class CentrePoint:
    """One centre's AUC, and that of the same cells in a training centre's colours."""

    centre: str
    distance: float
    auc: Interval
    twin_auc: float


def draw_f1_by_size(
    path: Path, sizes: Mapping[str, int], f1: Mapping[str, Sequence[float]], what: str
) -> None:
    """F1 of each class against how many of it there were to learn from.

    Args:
        path: a PNG.
        sizes: class -> number in training.
        f1: method -> F1 of each class, in the order of ``sizes``.
        what: what the sizes count, for the axis.
    """
    figure = Figure(figsize=(6.2, 4.0), layout="constrained")
    axes = _axes(figure.subplots())
    numbers = list(sizes.values())
    for index, (method, values) in enumerate(f1.items()):
        axes.plot(numbers, values, MARKERS[index], color=COLOURS[index], label=method, alpha=0.85)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(min(numbers) / 1.7, max(numbers) * 1.9)
    names = list(sizes)
    for place, row in enumerate(np.argsort(numbers, kind="stable")):
        found = [values[row] for values in f1.values()]
        # Names stand above and below by turns: neighbours in size would lie upon each other.
        y, offset = (np.nanmin(found), -15) if place % 2 else (np.nanmax(found), 7)
        axes.annotate(names[row], (numbers[row], y), xytext=(0, offset), ha="center", fontsize=8,
                      textcoords="offset points")  # fmt: skip
    axes.set_xlabel(what)
    axes.set_ylabel("F1")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(path, figure)


def draw_auc_by_distance(path: Path, points: Mapping[str, Sequence[CentrePoint]]) -> None:
    """A panel a method: each unseen centre's AUC with its interval, and its colour twin's.

    Args:
        path: a PNG.
        points: method -> its centres, the nearest first.
    """
    figure = Figure(figsize=(2.3 + 2.3 * len(points), 3.6), layout="constrained")
    panels = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for panel, (method, centres) in zip(panels, points.items(), strict=True):
        x = -np.inf
        for point in centres:
            x = max(point.distance, x + 0.014)  # two centres at one distance stand side by side
            panel.plot([x, x], [point.auc.low, point.auc.high], color=COLOURS[0], linewidth=1.2)
            panel.plot(x, point.auc.estimate, "o", color=COLOURS[0], label="unseen colours")
            panel.plot(x, point.twin_auc, "D", markerfacecolor="white", color=COLOURS[2],
                       label="same cells, a training centre's colours")  # fmt: skip
            low = min(point.auc.low, point.twin_auc)
            panel.annotate(point.centre, (x, low), xytext=(0, -11), textcoords="offset points",
                           ha="center", fontsize=8)  # fmt: skip
        _axes(panel).set_title(method, fontsize=9)
        panel.margins(x=0.12, y=0.12)
    panels[0].set_ylabel("AUC")
    figure.supxlabel("distance of the centre's mean colour from the nearest training centre",
                     fontsize=9)  # fmt: skip
    handles, names = panels[0].get_legend_handles_labels()
    kept = dict(zip(names, handles, strict=True))
    figure.legend(kept.values(), kept.keys(), loc="outside upper center", ncols=2, frameon=False,
                  fontsize=8)  # fmt: skip
    _save(path, figure)


def draw_maps(
    path: Path,
    maps: Mapping[str, tuple[NDArray[np.floating], Sequence[str]]],
    classes: Sequence[str],
) -> None:
    """Points in the plane, a panel a map, one colour a class.

    Args:
        path: a PNG.
        maps: title -> points (N, 2) and their classes (N,).
        classes: names in the legend, NILM first.
    """
    figure = Figure(figsize=(1.0 + 3.8 * len(maps), 4.3), layout="constrained")
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    for panel, (title, (points, labels)) in zip(panels, maps.items(), strict=True):
        names = np.asarray(labels)
        for name in classes:
            own = points[names == name]
            panel.scatter(own[:, 0], own[:, 1], s=9, color=OF_CLASS.get(name, OTHER), label=name,
                          alpha=0.75, linewidths=0)  # fmt: skip
        panel.set_title(title, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    handles, names_shown = panels[0].get_legend_handles_labels()
    figure.legend(handles, names_shown, loc="outside lower center", ncols=len(classes),
                  frameon=False, fontsize=8, markerscale=2)  # fmt: skip
    _save(path, figure)


def _axes(axes: Any) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    return axes


def _save(path: Path, figure: Figure) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
