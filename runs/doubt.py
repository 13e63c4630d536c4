r"""Give a bundle its doubt: when a call is open, and when a slide is not like the training data.

    python runs/cric_fields.py final ...        leaves WORK with thresholds and out-of-fold heads
    python runs/doubt_bags.py --data DATA --slides SLIDES/manifest.csv --out BAGS.npz
    python runs/doubt.py --data DATA/cric --cells CELLS.npz... --work WORK --bags BAGS.npz \
        --bundle src/koilo/bundles/cytology

Bounds are locked on the out-of-fold predictions that the thresholds of WORK are locked on, and the
reference of likeness on BAGS, which this bundle read. Where WORK is another training than the
bundle's, bounds keep their distance from the threshold in log-odds, and say so. The folder is
written anew, its hash changes; run it again whenever the models or thresholds do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from cric_fields import SETS, SHIPPED, TEST_COMPOSED, Study
from koilo.bundle import Bundle, load_bundle, write_bundle
from koilo.datasets.cric import CLASSES, N_FOLDS
from koilo.evaluate.conformal import DoubtBounds, lock_bounds
from koilo.mil import build_head
from koilo.mil.likeness import PART, Likeness, fit_likeness
from koilo.pipeline import load_models
from koilo.train.recipes.slide_head import predict_bags
from slide_bags import SLIDE_CLASSES, TOP_K

POINTS = {"sens95": "composed", "sens95_field": "fields"}
TITLE = "## When a human is needed"
REFERENCE = ("field", "phantom")


@dataclass(frozen=True)
class Scored:
    """Bags that no model had seen: truth (N,), p_positive (N,), fold (N,) and group by name."""

    truth: NDArray[np.bool_]
    score: NDArray[np.float64]
    fold: NDArray[np.int64]
    groups: tuple[str, ...]


def judge_out_of_fold(study: Study, work: Path) -> dict[str, Scored]:
    """What the heads that ``cric_fields.py final`` left say of the blocks they never saw."""
    parts: dict[str, list[tuple[bool, float, int, str]]] = {part: [] for part in SETS}
    for fold in range(N_FOLDS):
        head = load_fold_head(work, fold)
        drawn = study.draw(fold, fold, seed=100 + fold)
        drawn["composed"] = drawn["composed"][:TEST_COMPOSED]
        for part in SETS:
            p = predict_bags(head, study.bags(drawn[part], SHIPPED.inputs), top_k=TOP_K)
            parts[part] += [
                (draw.label != "NILM", 1 - float(row[0]), fold, draw.group)
                for draw, row in zip(drawn[part], p, strict=True)
            ]
    return {part: _scored(rows) for part, rows in parts.items()}


def load_fold_head(work: Path, fold: int) -> torch.nn.Module:
    """The head that never saw the blocks of ``fold``."""
    head = build_head(SHIPPED.head, len(CLASSES), len(SLIDE_CLASSES), SHIPPED.config)
    head.load_state_dict(load_file(work / f"shipped-{fold}" / "model.safetensors"))
    return head.eval()


def _scored(rows: Sequence[tuple[bool, float, int, str]]) -> Scored:
    truth, score, fold, groups = zip(*rows, strict=True)
    return Scored(np.array(truth), np.array(score), np.array(fold), groups)


def moved_bounds(bounds: DoubtBounds, own: float, threshold: float) -> DoubtBounds:
    """The bounds at the same distance in log-odds from another training's threshold."""
    if np.isclose(own, threshold):
        return bounds
    step = _log_odds(threshold) - _log_odds(own)
    low, high = (1 / (1 + np.exp(-_log_odds(p) - step)) for p in (bounds.low, bounds.high))
    words = f"{bounds.set}, of a second training, by distance from its threshold in log-odds"
    return replace(bounds, low=float(low), high=float(high), set=words)


def _log_odds(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def read_bags(path: Path) -> dict[str, Any]:
    """The file of `doubt_bags.py`; ``features`` is a list, one array (N, D) a bag."""
    with np.load(path, allow_pickle=False) as arrays:
        bags: dict[str, Any] = dict(arrays)
    bags["features"] = np.split(bags["features"], np.cumsum(bags.pop("counts"))[:-1])
    return bags


def fit_reference(bags: dict[str, Any]) -> Likeness:
    """The reference of likeness: CRIC's fields by block, validation phantoms by centre."""
    rows = np.flatnonzero(np.isin(bags["kind"], REFERENCE))
    features = [bags["features"][row] for row in rows]
    return fit_likeness(features, bags["colours"][rows], bags["group"][rows].tolist())


def lock(bundle: Bundle, scored: dict[str, Scored], work: Path, likeness: Likeness) -> Bundle:
    """Write the bundle anew with bounds and reference."""
    own = json.loads((work / "operating_points.json").read_text(encoding="utf-8"))
    points = dict(bundle.spec["operating_points"])
    for name, part in POINTS.items():
        bounds = lock_bounds(scored[part].truth, scored[part].score, own[name]["set"])
        moved = moved_bounds(bounds, own[name]["threshold"], points[name]["threshold"])
        points[name] = {**points[name], "doubt": moved.to_dict()}
    spec = {key: value for key, value in bundle.spec.items() if key not in ("format", "sha256")}
    tensors = {part: bundle.tensors(part) for part in bundle.parts}
    tensors[PART] = likeness.tensors()
    card = bundle.card.split(TITLE)[0].rstrip() + "\n\n" + write_section(points, likeness)
    return write_bundle(bundle.folder, {**spec, "operating_points": points}, tensors, card)


def write_section(points: dict[str, Any], likeness: Likeness) -> str:
    """The card's paragraph; it stands last."""
    rows = [
        f"| {name} | {p['doubt']['low']:.4f} | {p['doubt']['high']:.4f} | "
        f"{p['doubt']['coverage_positive']:.0%} / {p['doubt']['coverage_negative']:.0%} | "
        f"{p['doubt']['n_positive']} / {p['doubt']['n_negative']} | {p['doubt']['set']} |"
        for name, p in points.items()
    ]
    return (
        f"{TITLE}\n\nA call is open where p_positive lies between the bounds (split conformal by "
        "class). Coverage holds for slides drawn as those were; docs/results.md has what was "
        "measured elsewhere.\n\n"
        "| point | positive ruled out below | negative ruled out above | coverage, positive / "
        "negative | n, positive / negative | locked on |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n`ood_score` compares a slide with {len(likeness.distances)} pictures: CRIC's "
        "fields, which the models were trained on, and validation phantoms. Each was compared with "
        "those of other blocks or centres alone.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument(
        "--cells", type=Path, nargs="+", required=True, help="files of cric_field_cells.py"
    )
    parser.add_argument("--work", type=Path, required=True, help="of cric_fields.py final")
    parser.add_argument("--bags", type=Path, required=True, help="of doubt_bags.py")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scored = judge_out_of_fold(Study(args.data, args.cells), args.work)
    bundle = load_bundle(args.bundle)
    made = lock(bundle, scored, args.work, fit_reference(read_bags(args.bags)))
    load_models(made, torch.device("cpu"))
    print(f"{args.bundle}: {made.sha256[:16]}")


if __name__ == "__main__":
    main()
