"""Slide heads by features on one seed: every head refitted on what each way of training leaves.

    python runs/stride_heads.py COHORT OUT [--features a,b] [--seed 1] [--smoke]

The features are frozen: those of two-stage, of the semi- and the self-supervised methods and of
SWIFT (``--features``: some of these, other methods of runs/stride.sh, or the folder of an encoder
of one's own in the format of transformers). Beside the heads stand the two-stage rivals of Cheng
2021 and Zhu 2021. OUT is that of runs/stride.sh: what it holds is not trained again.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import StoredSlide
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc
from koilo.files import write_json
from koilo.mil import HEADS, BagSet
from koilo.mil.cheng import ChengRival, ChengSettings
from koilo.mil.scored import with_detector_scores
from koilo.mil.zhu import ZhuRival
from koilo.progress import log
from koilo.train import fit
from koilo.train.recipes.slide_head import SlideHeadConfig, SlideHeadRecipe, predict_bags
from stride import JUDGED, SPLITS, Plan, Study, refuse_other_study
from stride_features import FEATURES, key_of, known_features, read_features, tells_classes
from stride_page import (
    RANDOM_SCORE,
    open_study,
    page_parser,
    run_script,
    write_page,
)

NOT_OF_FEATURES = {"evidence"}
"""Heads that read probabilities of classes, not features."""
SIZES: dict[str, dict[str, float]] = {"transmil": {"width": 128}}
"""Of heads whose own are a GPU's: TransMIL at its 512 takes four times as long as all others."""
SMOKE_FEATURES = ("two_stage", "mean_teacher", "simclr", "swift")
"""One of each kind."""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--features", help="default: all, with --smoke one of each kind")
    options = parser.parse_args()
    usual = SMOKE_FEATURES if options.smoke else FEATURES
    features = known_features(options.features or ",".join(usual))
    cheng = ChengSettings(steps=30) if options.smoke else ChengSettings()
    study = open_study(options)
    refuse_other_study(study.out, study.store, study.plan)
    read = [rows_of(study, each, cheng) for each in features]
    missing = ", ".join(each for each in FEATURES if each not in features)
    name = "stride_heads"
    write_page(
        options,
        f"{name}.py" + (f" --features {options.features}" if options.features else ""),
        name,
        "STRIDE's slide heads by features on the multi-centre cohort (synthetic, one seed)",
        f"phantom cohort, seed {study.store.facts.get('seed')}",
        sum(each["seconds"] for each in read),
        controls=RANDOM_SCORE,
        tables={
            "Slide heads by features (S-34), two-stage rivals (S-35)": {
                "columns": ["features", "head", *measure_names()],
                "rows": [row for each in read for row in each["rows"]],
            }
        },
        notes=[
            "One seed: no interval over trainings, no verdict. Features are frozen and as "
            "they come; every head has the same steps. The semi-supervised methods begin "
            "where SWIFT does, with as many steps and labelled cells; the self-supervised ones "
            "begin where all begin. One configuration each, not tuned; TransMIL 128 wide (paper "
            "512).",
            f"Not run: {missing or 'nothing'}.",
        ],
    )


def rows_of(study: Study, features: str, cheng: ChengSettings) -> dict[str, Any]:
    """A row a head on one kind of features, and their seconds.

    Kept in OUT, so that a killed table goes on there.
    """
    name, known_by = Path(features).name, key_of(features)
    folder = study.out / "heads" / str(study.seed)
    kept = folder / f"{known_by}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    started = time.time()
    slides = [s for s in study.store.of_split(*SPLITS) if s.label]
    bags = read_features(study, features, slides)
    rows = []
    for head in sorted(set(HEADS) - NOT_OF_FEATURES):
        p = refitted(bags, head, study.plan, folder / f"{known_by}-{head}", study.seed)
        rows.append([name, head, *measures(slides, p)])
        log.info("%s", rows[-1])
    if tells_classes(features):
        for rival, p_rival in rivals(study, bags, slides, cheng).items():
            rows.append([name, rival, *measures(slides, p_rival)])
            log.info("%s", rows[-1])
    told = {"rows": rows, "seconds": round(time.time() - started)}
    write_json(kept, told)
    return told


def refitted(bags: BagSet, head: str, plan: Plan, out: Path, seed: int) -> NDArray[np.float32]:
    """Probabilities (S, C) of all bags from a head that was trained on the training split."""
    classes = plan.net.classes.slides
    loop = replace(plan.long_head, seed=seed)
    config = SlideHeadConfig(
        bags=out,
        head=head,
        head_config=SIZES.get(head, {}),
        inputs="features",
        classes=classes,
        half_positive=True,
        cut_share=0.0,
        top_k=plan.settings.top_k,
        smoothing=0.0,
        loop=loop,
    )
    train = bags.bags("features", classes, "train")
    recipe = SlideHeadRecipe(config, train, [])
    fit(recipe, loop, out, settings=config)
    every = {bag.bag_id: bag for split in set(bags.splits)
             for bag in bags.bags("features", classes, split)}  # fmt: skip
    ordered = [every[bag_id] for bag_id in bags.bag_ids]
    return predict_bags(recipe.model, ordered, top_k=plan.settings.top_k)


def rivals(
    study: Study, bags: BagSet, slides: list[StoredSlide], settings: ChengSettings
) -> dict[str, NDArray[np.float64]]:
    """Cheng's and Zhu's probabilities of all slides, fitted on the training split."""
    classes = study.plan.net.classes.slides
    scored = with_detector_scores(bags, study.store)
    training = [i for i, slide in enumerate(slides) if slide.split == "train"]
    train_bags = [scored[i] for i in training]
    labels = [classes.index(slides[i].label) for i in training]
    cheng = ChengRival(scored[0].features.shape[1], settings)
    zhu = ZhuRival(len(classes))
    cheng.fit(train_bags, labels, study.seed)
    zhu.fit(train_bags, labels, study.seed)
    return {"Cheng 2021": cheng.predict(scored), "Zhu 2021": zhu.predict(scored)}


def measures(slides: list[StoredSlide], p: NDArray[Any]) -> list[float]:
    """AUC and spec@sens95 of each split."""
    values = []
    for split in JUDGED:
        rows = [i for i, slide in enumerate(slides) if slide.split == split]
        positive = np.array([slides[i].label != "NILM" for i in rows])
        score = 1 - np.asarray(p, np.float64)[rows, 0]
        values += [round(float(f(positive, score)), 3) for f in (auc, specificity_at)]
    return values


def measure_names() -> list[str]:
    return [f"{split} {name}" for split in JUDGED for name in ("AUC", "spec@sens95")]


if __name__ == "__main__":
    sys.exit(run_script(main))
