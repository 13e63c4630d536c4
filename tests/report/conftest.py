"""Made results, noise pictures and a reader of the HTML for the report's tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from koilo.report.drawn import draw
from koilo.report.render import render_page
from koilo.types import Adequacy, Cell, ImageQuality, SlideResult

CELL_CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
FRAME = (0.0, 0.0, 8000.0, 6000.0)


class Page(HTMLParser):
    """Text, elements and marked fields of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.fields: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.styles: list[str] = []
        self._field: str | None = None
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_style = tag == "style"
        self._field = dict(attrs).get("data-field")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self._field = None

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)
            return
        self.words.append(data)
        if self._field is not None:
            self.fields.setdefault(self._field, []).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def style(self) -> str:
        return "".join(self.styles)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_cells(n: int, labels: tuple[str, ...] = CELL_CLASSES, seed: int = 0) -> tuple[Cell, ...]:
    rng = np.random.default_rng(seed)
    cells = []
    for index in range(n):
        label = labels[index % len(labels)]
        rest = (1 - 0.7) / (len(CELL_CLASSES) - 1)
        cells.append(
            Cell(
                x_px0=float(rng.uniform(200, 7700)),
                y_px0=float(rng.uniform(200, 5700)),
                w_px0=82.0,
                h_px0=82.0,
                detector_score=1 - index / (n + 1),
                probabilities={name: 0.7 if name == label else rest for name in CELL_CLASSES},
                label=label,
                attention=1 / n,
            )
        )
    return tuple(cells)


def make_crops(n: int, side_px: int = 48) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8) for _ in range(n)]


def make_overview() -> np.ndarray:
    return np.random.default_rng(2).integers(180, 250, (300, 400, 3), dtype=np.uint8)


def below(result: SlideResult, **changes: Any) -> SlideResult:
    """The same slide below its threshold."""
    probabilities = {"NILM": 0.9, "ASC-US": 0.06, "LSIL": 0.02, "ASC-H": 0.01, "HSIL+SCC": 0.01}
    negative: dict[str, Any] = {
        "label": "NILM",
        "probabilities": probabilities,
        "p_positive": 0.1,
        "positive": False,
    }
    return replace(result, **(negative | changes))


@pytest.fixture
def spec() -> dict[str, Any]:
    return {
        "name": "cytology",
        "stages": {
            "cells": {"classes": list(CELL_CLASSES)},
            "head": {"classes": ["NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC"]},
        },
        "operating_points": {
            "sens95": {
                "threshold": 0.2173,
                "sensitivity": 0.95,
                "specificity": 0.60,
                "n": 420,
                "n_positive": 210,
                "set": "composed slides, folds 0-2",
            },
            "sens95_field": {
                "threshold": 0.41,
                "sensitivity": 0.96,
                "specificity": 0.5,
                "n": 189,
                "n_positive": 83,
                "set": "CRIC fields, out of fold",
            },
        },
        "not_assessed": ["glandular lesions", "endometrial cells", "organisms", "reactive change"],
        "trained_on": ["CRIC Cervix (CC BY 4.0)", "phantom slides, seeds 1-40"],
    }


@pytest.fixture
def positive() -> SlideResult:
    return SlideResult(
        slide_id="S-001",
        path="/slides/S-001.svs",
        status="done",
        label="HSIL+SCC",
        probabilities={
            "NILM": 0.02,
            "ASC-US": 0.09,
            "LSIL": 0.2,
            "ASC-H": 0.11,
            "HSIL+SCC": 0.58,
        },
        p_positive=0.98,
        positive=True,
        threshold=0.2173,
        n_cells=24,
        cells=make_cells(24),
        image_quality=ImageQuality("ok", (), {"focus_median": 0.8}),
        adequacy=Adequacy("adequate", 12412, 11020, 13904, 5000, "thinprep"),
        slide={
            "kind": "slide",
            "dimensions": [8000, 6000],
            "mpp": 0.25,
            "mpp_source": "file",
            "accession": "C26-1",
            "preparation": "thinprep",
            "site": "cervix",
            "hpv": "16",
        },
        seconds={"read": 12.3, "total": 41.2},
        fingerprint="c0ffee12",
        provenance={"koilo_version": "0.1.0", "bundle": {"name": "cytology", "sha256": "9f2c1a77"}},
    )


def render_report(
    result: SlideResult, *, bundle_spec: Mapping[str, Any], language: str = "en", **pictures: Any
) -> str:
    """The page of a slide as a screening writes it, before anybody signed."""
    return render_page(result, draw(result, bundle_spec=bundle_spec, **pictures), language=language)
