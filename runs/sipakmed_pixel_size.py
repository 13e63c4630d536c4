"""Estimate SIPaKMeD's pixel size, which is stated nowhere, from the areas of nuclei.

    python runs/sipakmed_pixel_size.py --sipakmed DATA/sipakmed --cric DATA/cric

Nuclei of intermediate cells measure 35 to 45 µm². The same outline is put round CRIC's NILM nuclei,
whose pixel size is known: it says how far the outline can be trusted. Nothing is trained on either.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.cells.crops import read_crops
from koilo.datasets.cric import read_cric
from koilo.slides import open_slide

FINE_MPP = 0.2
"""CRIC's crops are read at this, so that both sets are outlined at about the same fineness."""
CROP_PX = 240
LEAST_CONTRAST, LEAST_SOLID = 0.15, 0.85
FIELDS, CELLS_A_FIELD = 40, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sipakmed", type=Path, required=True)
    parser.add_argument("--cric", type=Path, required=True)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with open(args.sipakmed / "cells.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["label"] == "Superficial-Intermediate"]
    area = median_area_px(cv2.imread(str(args.sipakmed / row["image"])) for row in rows)
    sizes = ", ".join(f"{np.sqrt(um2 / area):.3f} at {um2} µm²" for um2 in (35, 40, 45))
    print(f"SIPaKMeD: median nucleus {area:.0f} px; µm/px {sizes}")
    known = median_area_px(cric_nilm(args.cric)) * FINE_MPP**2
    print(
        f"CRIC NILM: median nucleus {known:.1f} µm²; SIPaKMeD at that {np.sqrt(known / area):.3f}"
    )


def cric_nilm(folder: Path) -> Iterable[NDArray[np.uint8]]:
    """BGR crops of NILM cells at `FINE_MPP`, a few a field."""
    rng = np.random.default_rng(0)
    fields = read_cric(folder)
    for number in rng.choice(len(fields), FIELDS, replace=False):
        field = fields[int(number)]
        centres = [(c.x_px0 + 0.5, c.y_px0 + 0.5) for c in field.cells if c.label == "NILM"]
        with open_slide(field.path, mpp=field.mpp) as slide:
            some = np.array(centres[:CELLS_A_FIELD]).reshape(-1, 2)
            yield from read_crops(slide, some, FINE_MPP, CROP_PX)[..., ::-1]


def median_area_px(pictures: Iterable[NDArray[np.uint8]]) -> float:
    """Median over the pictures whose nucleus can be outlined."""
    areas = [area for area in map(nucleus_area_px, pictures) if area]
    return float(np.median(areas))


def nucleus_area_px(bgr: NDArray[np.uint8]) -> int | None:
    """Area of the darkest blob at the picture's middle; None where it has no clear outline."""
    red = np.ascontiguousarray(bgr[..., 2]).astype(np.float32)
    density = cv2.GaussianBlur(-np.log((red + 1) / 256), (0, 0), 1.5)
    height, width = density.shape
    top, left = height * 3 // 8, width * 3 // 8
    middle = density[top : height - top, left : width - left]
    row, column = np.unravel_index(int(middle.argmax()), middle.shape)
    peak = float(middle[row, column])
    around = density[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4]
    ground = float(np.median(around))
    if peak - ground < LEAST_CONTRAST:
        return None
    inside = float(np.median(around[around > ground + 0.6 * (peak - ground)]))
    mask = (density > ground + 0.5 * (inside - ground)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    mine = labels[row + top, column + left]
    if mine == 0:
        return None
    outline = cv2.findContours(
        (labels == mine).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )[0][0]
    area = int(stats[mine, cv2.CC_STAT_AREA])
    solid = area / max(cv2.contourArea(cv2.convexHull(outline)), 1)
    return area if solid >= LEAST_SOLID else None


if __name__ == "__main__":
    main()
