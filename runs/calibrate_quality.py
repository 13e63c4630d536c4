"""Calibrate and check image quality and adequacy on real fields and phantoms.

Run: ``python runs/calibrate_quality.py DATA [focus] [fit] [counts]`` (DATA as in KOILO_DATA).

- ``focus``: edge width of real pictures at 1.0 µm/px blurred by known sigmas;
- ``fit``: fits the rule of ``slides/squamous.py`` on CRIC (blocks of field_id held out for the
  figures) and prints its table for ``taxonomy/adequacy.yaml``;
- ``counts``: the shipped rule against CRIC labels and against phantom truth of unseen centres.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from koilo.phantom import draw_centre, draw_field, training_bank
from koilo.slides import open_slide
from koilo.slides.adequacy import estimate_total
from koilo.slides.quality import BLUR_LIMIT_UM, edge_width
from koilo.slides.squamous import FEATURES, candidates, count_squamous

Picture = NDArray[np.uint8]
SEED = 0
MATCH_UM = 6.0
BLOCKS = 6
CENTRES = range(12)
FIELDS_A_CENTRE = 6


def cric_fields(data: Path) -> Iterator[tuple[int, Picture, NDArray[np.float64]]]:
    """Each CRIC field at 1.0 µm/px: its id, pixels and labelled points (N, 2)."""
    cells = defaultdict(list)
    with open(data / "cric" / "cells.csv") as handle:
        for row in csv.DictReader(handle):
            cells[row["field"]].append(row)
    for name, rows in sorted(cells.items()):
        mpp = float(rows[0]["mpp"])
        picture = cv2.imread(str(data / "cric" / name))[:, :, ::-1]
        size = [round(n * mpp) for n in (picture.shape[1], picture.shape[0])]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        points = np.array([[float(r["x_px"]), float(r["y_px"])] for r in rows]) * mpp
        yield int(rows[0]["field_id"]), np.ascontiguousarray(small), points


def phantom_fields(centres: range) -> Iterator[tuple[int, Picture, NDArray[np.float64]]]:
    """Phantom fields at 1.0 µm/px with the nuclei of their squamous cells (N, 2)."""
    bank = training_bank(SEED + 7)
    for index in centres:
        rng = np.random.default_rng([SEED, index])
        centre = draw_centre(SEED + 7, index)
        for _ in range(FIELDS_A_CENTRE):
            picture, truths = draw_field(rng, centre, bank=bank)
            points = np.array([t.point_px for t in truths if t.squamous]).reshape(-1, 2)
            inside = ((points >= 0) & (points < 512)).all(axis=1)
            yield index, picture, points[inside]


def is_labelled(places: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candidates are the nearest to a labelled point, one to one within 6 µm."""
    found = np.zeros(len(places), bool)
    taken = np.zeros(len(points), bool)
    far = np.hypot(*(places[:, None, axis] - points[None, :, axis] for axis in (0, 1)))
    for i, j in sorted(zip(*np.nonzero(far < MATCH_UM), strict=True), key=lambda ij: far[ij]):
        if not found[i] and not taken[j]:
            found[i] = taken[j] = True
    return found


def as_elsewhere(rng: np.random.Generator, picture: Picture) -> Picture:
    """The picture as another laboratory might stain and focus it."""
    light = (picture.astype(np.float32) + 1) / 251
    light = light ** (rng.uniform(0.65, 1.35) * rng.uniform(0.88, 1.12, 3))
    light = np.clip(light * rng.uniform(235, 252) - 1, 0, 255)
    return cv2.GaussianBlur(light, (0, 0), rng.uniform(0.2, 0.9)).astype(np.uint8)


def fit(data: Path) -> None:
    """Fit the rule on CRIC with stain variants; figures from held-out blocks."""
    rng = np.random.default_rng(SEED)
    x, y, field, plain = [], [], [], []
    for index, picture, points in cric_fields(data):
        for variant in range(3):
            shown = as_elsewhere(rng, picture) if variant else picture
            places, features = candidates(shown)
            x.append(features)
            y.append(is_labelled(places, points))
            field.append(np.full(len(places), index))
            plain.append(np.full(len(places), variant == 0))
    print(f"CRIC candidates {sum(map(len, x))}")
    report_fit(np.vstack(x), np.concatenate(y), np.concatenate(field), np.concatenate(plain))


def report_fit(
    x: NDArray[np.float64], y: NDArray[np.bool_], field: NDArray[np.int64], plain: NDArray[np.bool_]
) -> None:
    """Print held-out figures and the table of the rule fitted on everything."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / scale
    blocks = np.array_split(np.unique(field), BLOCKS)
    p = np.zeros(len(y))
    for block in blocks:
        held = np.isin(field, block)
        p[held] = _logistic(z[~held], y[~held]).predict_proba(z[held])[:, 1]
    print(f"held-out AUC {roc_auc_score(y[plain], p[plain]):.3f}, "
          f"AP {average_precision_score(y[plain], p[plain]):.3f}")  # fmt: skip
    for block in blocks:
        own = plain & np.isin(field, block)
        print(f"fields {block[0]}-{block[-1]}: count / matched = {p[own].sum() / y[own].sum():.2f}")
    model = _logistic(z, y)
    print(f"squamous_rule:\n  intercept: {model.intercept_[0]:.4f}\n  features:")
    for name, row in zip(FEATURES, zip(mean, scale, model.coef_[0], strict=True), strict=True):
        print(f"    {name}: [{', '.join(f'{v:.5g}' for v in row)}]")


def counts(data: Path) -> None:
    """The shipped rule against labels and truth."""
    rows = [(index // 60, len(points), count_squamous(picture))
            for index, picture, points in cric_fields(data)]  # fmt: skip
    _print_ratios("CRIC, field_id / 60", rows)
    rows = [(index, len(points), count_squamous(picture))
            for index, picture, points in phantom_fields(CENTRES)]  # fmt: skip
    _print_ratios("phantom, centre", rows)


def focus(data: Path) -> None:
    """Edge width against known blur."""
    sets = {"CRIC": [p for _, p, _ in list(cric_fields(data))[::6]]}
    with open_slide(data / "slides" / "cytology_csf_pap_penmark.tiff", mpp=0.25) as slide:
        rng = np.random.default_rng(SEED)
        origins = rng.uniform(3000, 22000, (24, 2))
        sets["CSF slide"] = [slide.read_at_mpp((x, y), 1.0, (512, 512)) for x, y in origins]
    with open_slide(data / "slides" / "CMU-1-Small-Region.svs") as slide:
        origins = [(x, y) for x in (0, 600, 1190) for y in (0, 960, 1940)]
        sets["CMU SVS"] = [slide.read_at_mpp(at, 1.0, (512, 512)) for at in origins]
    for name, pictures in sets.items():
        for sigma in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0):
            blurred = [cv2.GaussianBlur(p, (0, 0), sigma) if sigma else p for p in pictures]
            width = np.array([edge_width(p) for p in blurred])
            low, middle, high = np.nanpercentile(width, [5, 50, 95])
            over, blank = np.mean(width > BLUR_LIMIT_UM), np.isnan(width).mean()
            print(f"| {name} | {sigma} | {middle:.2f} ({low:.2f}-{high:.2f}) "
                  f"| {over:.2f} | {blank:.2f} |")  # fmt: skip


def _logistic(z: NDArray[np.float64], y: NDArray[np.bool_]) -> LogisticRegression:
    return LogisticRegression(C=1.0, max_iter=1000).fit(z, y)


def _print_ratios(title: str, rows: list[tuple[int, int, float]]) -> None:
    table = np.array(rows, np.float64)
    for group in np.unique(table[:, 0]):
        own = table[table[:, 0] == group]
        total = estimate_total(own[:, 2], len(own))
        truth = own[:, 1].sum()
        print(f"{title} {group:.0f}: truth {truth:.0f}, counted {total.n:.0f} "
              f"({total.low:.0f}-{total.high:.0f}), ratio {total.n / truth:.2f}, "
              f"{'covered' if total.low <= truth <= total.high else 'missed'}")  # fmt: skip
    print(f"{title}: all, ratio {table[:, 2].sum() / table[:, 1].sum():.2f}, "
          f"correlation a field {np.corrcoef(table[:, 1], table[:, 2])[0, 1]:.2f}")  # fmt: skip


if __name__ == "__main__":
    for part in sys.argv[2:] or ["focus", "fit", "counts"]:
        {"focus": focus, "fit": fit, "counts": counts}[part](Path(sys.argv[1]))
