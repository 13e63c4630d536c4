"""How good a detector is: AP, centre-hit AP, recall among the best boxes, chance, missed slides.

CRIC marks nuclei with points, so a find is judged by its centre (6 µm, one to one) before its box.
Its background is not labelled: a confident find there may be a cell nobody marked, so AP is given
with such finds counted false and with them ignored, and they are listed for a reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

HIT_UM = 6.0
"""A find whose centre is this near a labelled nucleus has found it."""


@dataclass(frozen=True)
class FieldFinds:
    """The finds and the truth of one picture, all boxes (n, 4) x, y, w, h in one pixel frame.

    Attributes:
        boxes_px: finds.
        scores: (n,).
        truth_px: positive cells.
        other_px: labelled cells that are not positive.
        mpp: pixel size of the frame.
        size_px: (width, height) of the picture.
        name: for lists.
        block: what intervals are drawn over.
    """

    boxes_px: Floats
    scores: Floats
    truth_px: Floats
    other_px: Floats
    mpp: float
    size_px: tuple[int, int]
    name: str = ""
    block: int = 0


@dataclass(frozen=True)
class JudgedField:
    """One picture's finds, best first (n,), matched with its truth.

    ``hit``: the centre hits a positive cell of its own; ``on_other``: it does not, and lies on
    another labelled cell; ``box_hit`` and ``box_on_other``: the same by an IoU of 0.5.
    """

    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    on_other: NDArray[np.bool_]
    box_hit: NDArray[np.bool_]
    box_on_other: NDArray[np.bool_]
    n_positive: int


def match_centres(
    boxes_px: Floats, scores: Floats, truth_px: Floats, *, reach_px: float
) -> NDArray[np.int64]:
    """For each find the index of the truth it hits, or -1; one to one, best find first.

    A find takes the nearest truth within ``reach_px`` (centre to centre) that is still free.
    """
    near = centre_distances(boxes_px, truth_px)  # (n, T)
    return _match_greedily(-near, scores, -reach_px)


def match_iou(
    boxes_px: Floats, scores: Floats, truth_px: Floats, *, iou: float
) -> NDArray[np.int64]:
    """For each find the index of the truth it overlaps by ``iou`` or more, or -1; one to one."""
    return _match_greedily(box_ious(boxes_px, truth_px), scores, iou)


def average_precision(scores: Floats, hit: NDArray[np.bool_], n_truth: int) -> float:
    """Area under the precision-recall curve, precision made non-increasing; NaN without truth.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    0.8333333333333333
    """
    if n_truth == 0:
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.asarray(hit, bool)[order]
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / n_truth)


def score_detection(
    fields: Sequence[FieldFinds], *, limit: int = 100, floor: float = 0.001
) -> dict[str, float]:
    """All figures of a set of pictures, finds cut to the best ``limit`` a picture over ``floor``.

    Returns:
        ``recall@20``, ``recall@50``, ``recall@100`` (of positive cells, centre hit), and ``ap50``
        and ``centre_ap``, each also with ``_ignored``: finds on unlabelled ground left out, so
        that only labelled other cells count false; ``n_positive``, ``n_fields``.
    """
    return score_judged([judge_field(field, limit=limit, floor=floor) for field in fields])


def judge_field(field: FieldFinds, *, limit: int = 100, floor: float = 0.001) -> JudgedField:
    """Match one picture's best ``limit`` finds over ``floor``: the slow part of the figures."""
    cut = _cut(field, limit, floor)
    hit, on_other = _hits_by_centre(cut)
    box_hit, box_on_other = _hits_by_iou(cut)
    scores = np.asarray(cut.scores, float)
    return JudgedField(scores, hit, on_other, box_hit, box_on_other, len(cut.truth_px))


def score_judged(judged: Sequence[JudgedField]) -> dict[str, float]:
    """The figures of `score_detection` from matched pictures; cheap, as a bootstrap needs it."""
    n_positive = sum(field.n_positive for field in judged)
    figures: dict[str, float] = {"n_fields": len(judged), "n_positive": n_positive}
    for k in (20, 50, 100):
        found = sum(int(field.hit[:k].sum()) for field in judged)
        figures[f"recall@{k}"] = found / n_positive if n_positive else float("nan")
    scores = _join([field.scores for field in judged], float)
    for name, hit_name, other_name in (
        ("centre_ap", "hit", "on_other"),
        ("ap50", "box_hit", "box_on_other"),
    ):
        hit = _join([getattr(field, hit_name) for field in judged], bool)
        known = hit | _join([getattr(field, other_name) for field in judged], bool)
        figures[name] = average_precision(scores, hit, n_positive)
        figures[f"{name}_ignored"] = average_precision(scores[known], hit[known], n_positive)
    return figures


def random_finds(field: FieldFinds, rng: np.random.Generator, *, n: int = 100) -> FieldFinds:
    """The same field with ``n`` boxes thrown at random, of the truth's usual side: the control."""
    side = 20.5 / field.mpp
    corner = rng.uniform(0, field.size_px, (n, 2)) - side / 2
    boxes = np.concatenate([corner, np.full((n, 2), side)], axis=1)
    return FieldFinds(
        boxes,
        rng.random(n),
        field.truth_px,
        field.other_px,
        field.mpp,
        field.size_px,
        field.name,
        field.block,
    )


def slide_miss_rate(recall: float, n_cells: int) -> float:
    """Chance that a slide of ``n_cells`` positive cells has none found: (1 - r)^n.

    It takes finds as independent, which cells of one slide are not: a lower bound.

    >>> round(slide_miss_rate(0.9, 2), 4)
    0.01
    """
    if not 0 <= recall <= 1 or n_cells < 0:
        raise ValueError(f"recall is {recall}, n_cells {n_cells}; 0-1 and 0 or more are needed.")
    return float((1 - recall) ** n_cells)


def unlabelled_finds(
    fields: Sequence[FieldFinds], *, n: int = 50, floor: float = 0.3
) -> list[dict[str, Any]]:
    """The most confident finds on unlabelled ground, for a reader to look at, best first."""
    rows = []
    for field in fields:
        hit, on_other = _hits_by_centre(field)
        for i in np.flatnonzero(~hit & ~on_other & (field.scores > floor)):
            x, y, w, h = (float(v) for v in field.boxes_px[i])
            rows.append(
                {
                    "field": field.name,
                    "x_px0": round(x + w / 2, 1),
                    "y_px0": round(y + h / 2, 1),
                    "score": round(float(field.scores[i]), 4),
                }
            )
    return sorted(rows, key=lambda row: -float(str(row["score"])))[:n]


def coco_map(fields: Sequence[FieldFinds]) -> Mapping[str, float]:
    """COCO's mAP50-95 and AP50 of one class, at most 100 finds a picture, by faster-coco-eval.

    For exact boxes (phantoms) only: on points it measures how the reader clicked.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth: list[dict[str, Any]] = []
    finds: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for index, field in enumerate(fields):
        width, height = field.size_px
        images.append({"id": index, "width": width, "height": height})
        for box in field.truth_px.tolist():
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": index,
                    "category_id": 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        for box, score in zip(field.boxes_px.tolist(), field.scores.tolist(), strict=True):
            finds.append({"image_id": index, "category_id": 1, "bbox": box, "score": score})
    if not truth or not finds:
        return {"map50_95": 0.0 if truth else float("nan"), "ap50": 0.0 if truth else float("nan")}
    categories = [{"id": 1, "name": "positive"}]
    ground = COCO({"images": images, "annotations": truth, "categories": categories})
    evaluation = COCOeval_faster(ground, ground.loadRes(finds), "bbox", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {
        "map50_95": float(evaluation.stats[0]),
        "ap50": float(evaluation.stats[1]),
    }


def centre_distances(a_px: Floats, b_px: Floats) -> NDArray[np.float64]:
    """(n, m) distances between the centres of boxes (n, 4) and (m, 4)."""
    a = np.asarray(a_px, np.float64).reshape(-1, 4)
    b = np.asarray(b_px, np.float64).reshape(-1, 4)
    gap = (a[:, None, :2] + a[:, None, 2:] / 2) - (b[None, :, :2] + b[None, :, 2:] / 2)
    return np.asarray(np.hypot(gap[..., 0], gap[..., 1]))


def box_ious(a_px: Floats, b_px: Floats) -> NDArray[np.float64]:
    """(n, m) intersections over unions of boxes (n, 4) and (m, 4)."""
    a = np.asarray(a_px, np.float64).reshape(-1, 1, 4)
    b = np.asarray(b_px, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def _match_greedily(
    affinity: NDArray[np.float64], scores: Floats, least: float
) -> NDArray[np.int64]:
    """Best find first, each takes the free truth of highest affinity if that is ``least`` or up."""
    matched = np.full(len(affinity), -1, np.int64)
    if not affinity.size:
        return matched
    free = affinity.copy()
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        j = int(np.argmax(free[i]))
        if free[i, j] >= least:
            matched[i] = j
            free[:, j] = -np.inf
    return matched


def _hits_by_centre(field: FieldFinds) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Each find: hits a positive cell; hits no positive but another labelled cell."""
    reach_px = HIT_UM / field.mpp
    hit = match_centres(field.boxes_px, field.scores, field.truth_px, reach_px=reach_px) >= 0
    near_other = centre_distances(field.boxes_px, field.other_px) <= reach_px
    near_truth = centre_distances(field.boxes_px, field.truth_px) <= reach_px
    return hit, ~hit & (near_other.any(axis=1) | near_truth.any(axis=1))


def _hits_by_iou(field: FieldFinds) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    hit = match_iou(field.boxes_px, field.scores, field.truth_px, iou=0.5) >= 0
    known = [box_ious(field.boxes_px, boxes) >= 0.5 for boxes in (field.other_px, field.truth_px)]
    return hit, ~hit & (known[0].any(axis=1) | known[1].any(axis=1))


def _cut(field: FieldFinds, limit: int, floor: float) -> FieldFinds:
    order = np.argsort(-np.asarray(field.scores), kind="stable")
    order = order[np.asarray(field.scores)[order] >= floor][:limit]
    return FieldFinds(
        field.boxes_px[order],
        field.scores[order],
        field.truth_px,
        field.other_px,
        field.mpp,
        field.size_px,
        field.name,
        field.block,
    )


def _join(arrays: Sequence[Any], kind: type) -> NDArray[Any]:
    return np.concatenate([np.asarray(a, kind) for a in arrays] or [np.zeros(0, kind)])


def _silent(*_: object) -> None:
    return None
