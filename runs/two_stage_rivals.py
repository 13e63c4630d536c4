"""Fit both two-stage rivals on the bags of a crop store and write their scores, a CSV each.

Run: ``python runs/two_stage_rivals.py STORE BAGS OUT [--seed 1]``. BAGS is a bag file made from
that store under any cell classifier, with features and probabilities. OUT receives
``cheng_SEED.csv`` and ``zhu_SEED.csv``: slide_id, split, centre, label, p_positive, p_<CLASS>…
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import StoredSlide, open_crop_store
from koilo.files import write_text
from koilo.mil import read_bags
from koilo.mil.cheng import ChengRival
from koilo.mil.scored import with_detector_scores
from koilo.mil.zhu import ZhuRival


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("bags", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    store, bag_set = open_crop_store(args.store), read_bags(args.bags)
    bags = with_detector_scores(bag_set, store)
    by_id = {slide.slide_id: slide for slide in store.slides}
    slides = [by_id[bag_id] for bag_id in bag_set.bag_ids]
    classes = ("NILM", *sorted({slide.label for slide in slides} - {"NILM"}))
    training = [i for i, slide in enumerate(slides) if slide.split == "train"]
    train_bags = [bags[i] for i in training]
    labels = [classes.index(slides[i].label) for i in training]

    cheng = ChengRival(bags[0].features.shape[1])
    cheng.fit(train_bags, labels, args.seed)
    write_scores(args.out / f"cheng_{args.seed}.csv", slides, cheng.predict(bags), ("NILM",))
    zhu = ZhuRival(len(classes))
    zhu.fit(train_bags, labels, args.seed)
    write_scores(args.out / f"zhu_{args.seed}.csv", slides, zhu.predict(bags), classes)


def write_scores(
    path: Path, slides: Sequence[StoredSlide], p: NDArray[np.float64], classes: Sequence[str]
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [f"p_{name}" for name in classes]
    writer.writerow(["slide_id", "split", "centre", "label", "p_positive", *columns])
    for slide, row in zip(slides, p, strict=True):
        known = [f"{value:.6f}" for value in row[: len(classes)]]
        writer.writerow(
            [slide.slide_id, slide.split, slide.centre, slide.label, f"{1 - row[0]:.6f}", *known]
        )
    write_text(path, buffer.getvalue())


if __name__ == "__main__":
    main()
