"""Read every CRIC field with the models of each fold, as `koilo screen` would, and keep the cells.

    python runs/cric_field_cells.py --data DATA/cric --detector D --cells C --out FILE

D and C hold fold0, fold1, fold2 with model.safetensors (`cric_detector.py`,
`cric_cells.py`). FILE (.npz) holds one row a box and model: fields of the model's own fold are out
of fold, the others were trained on and are kept to measure what that flatters. A box takes the
class of the labelled nucleus within 6 µm of its centre, one to one, nearest first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from shapely.geometry import GeometryCollection

from cric_cells import INPUT_PX, MPP, OUTPUTS
from cric_cells import MODEL as CELL_MODEL
from cric_detector import CONFIG as DETECTOR_CONFIG
from cric_detector import MODEL as DETECTOR_MODEL
from koilo.cells import CellClassifier, read_crops
from koilo.cells.predict import BACKGROUND, build_cell_net
from koilo.datasets.cric import CLASSES, N_FOLDS, CricField, read_cric
from koilo.detect import Detector, build_detector
from koilo.files import write_bytes
from koilo.pipeline.find import OVERLAP_PX, find_cells
from koilo.pipeline.workers import open_workers
from koilo.progress import progress, start_logging
from koilo.slides import Slide, open_slide, tile_grid
from koilo.slides.foreground import foreground

MATCH_UM = 6.0
UNLABELLED = -1
TOP_K, SCORE_FLOOR = 1024, 0.001
CPU = torch.device("cpu")

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Readers:
    """The detector and the cell classifier of one training."""

    detector: Detector
    classifier: CellClassifier

    def read(self, slide: Slide) -> Table:
        """Boxes of a slide or field, best first, with what the cell model says of each."""
        area = foreground(slide)
        tiles = tile_grid(
            slide, area, size_px=self.detector.tile_px, mpp=self.detector.mpp, overlap_px=OVERLAP_PX
        )
        with open_workers(CPU) as workers:
            found = find_cells(
                slide,
                tiles,
                self.detector,
                workers,
                top_k=TOP_K,
                measure=lambda tile, rgb: None,
                excluded_px0=GeometryCollection(list(area.excluded.values())),
                threads=1,
                advance=lambda amount: None,
            )
        centres_px0 = found.boxes_px0[:, :2] + found.boxes_px0[:, 2:] / 2
        crops = read_crops(slide, centres_px0, self.classifier.mpp, self.classifier.input_px)
        features, p = self.classifier.predict(crops)
        return {
            "centre_px0": centres_px0,
            "score": found.scores,
            "features": features.astype(np.float16),
            "p": p,
        }


def load_readers(detector: Path, cells: Path) -> Readers:
    """Models from the weights that the two training scripts leave."""
    found = build_detector(DETECTOR_MODEL, DETECTOR_CONFIG)
    found.load_state_dict(load_file(detector))
    net = build_cell_net("pooled", n_outputs=len(OUTPUTS), **CELL_MODEL)
    net.load_state_dict(load_file(cells))
    classifier = CellClassifier(
        net,
        outputs=OUTPUTS,
        classes=CLASSES,
        folds={BACKGROUND: "NILM"},
        mpp=MPP,
        input_px=INPUT_PX,
        device=CPU,
    )
    return Readers(Detector(found, score_floor=SCORE_FLOOR), classifier)


def match_labels(field: CricField, centre_px0: NDArray[np.floating]) -> NDArray[np.int64]:
    """For each box (N,) the class of its labelled nucleus, UNLABELLED where there is none."""
    labels = np.full(len(centre_px0), UNLABELLED)
    points = np.array([(cell.x_px0 + 0.5, cell.y_px0 + 0.5) for cell in field.cells])
    if not len(points) or not len(centre_px0):
        return labels
    away_um = np.linalg.norm(points[:, None] - centre_px0[None], axis=2) * field.mpp  # (M, N)
    rows, columns = linear_sum_assignment(np.where(away_um <= MATCH_UM, away_um, 1e6))
    near = away_um[rows, columns] <= MATCH_UM
    labels[columns[near]] = [CLASSES.index(field.cells[row].label) for row in rows[near]]
    return labels


def read_field(readers: Readers, field: CricField) -> Table:
    with open_slide(field.path, mpp=field.mpp) as slide:
        rows = readers.read(slide)
    n = len(rows["score"])
    return rows | {
        "label": match_labels(field, rows["centre_px0"]),
        "field_id": np.full(n, field.field_id),
        "fold": np.full(n, field.fold),
        "block": np.full(n, field.block),
    }


def stack(parts: list[Mapping[str, NDArray[Any]]]) -> Table:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def save(path: Path, table: Table) -> None:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, **table)
    write_bytes(path, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=int, choices=range(N_FOLDS), help="default: all three")
    parser.add_argument("--held-out-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start_logging()
    fields = read_cric(args.data)
    parts = []
    for fold in range(N_FOLDS) if args.model is None else [args.model]:
        detector, cells = (
            folder / f"fold{fold}" / "model.safetensors" for folder in (args.detector, args.cells)
        )
        readers = load_readers(detector, cells)
        chosen = [f for f in fields if f.fold == fold or not args.held_out_only]
        with progress(f"fields, model {fold}", len(chosen)) as advance:
            for field in chosen:
                rows = read_field(readers, field)
                parts.append(rows | {"model": np.full(len(rows["score"]), fold)})
                advance(1)
    save(args.out, stack(parts))


if __name__ == "__main__":
    main()
