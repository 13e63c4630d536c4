"""Which cells the trained models rank first, what they call them, and how their features lie.

    python runs/stride_cells.py COHORT OUT [--seed 1] [--slides 300] [--smoke] [--threads 2]

OUT is that of runs/stride.sh; no method is trained: one whose models it lacks is "not run". (The
gate of the selector "bottleneck" is, on frozen features.) Read are the kept cells of a sample of
the internal test, equally many slides a class, against the drawn truth. Precision@Top-32 by class
and top-K recall for several selectors; F1 of cell classes; slide labels against the leading cell;
t-SNE of slides and of cells.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from koilo.datasets.crop_store import CropStore
from koilo.evaluate.scores import f1_by_class
from koilo.train.joint import Classes
from stride_cell_tables import (
    all_features,
    called_cells,
    cell_tables,
    sampled_cells,
    true_cells,
)
from stride_grades import count_calls
from stride_maps import spread_points
from stride_page import open_study, page_parser, page_path, run_script, write_page
from stride_pictures import draw_f1_by_size, draw_maps
from stride_readings import (
    KEPT,
    MIMIC,
    Reading,
    Sample,
    draw_sample,
    has_run,
    no_model,
    read_slides,
)

READ = ("two_stage", "stain_aug", "swift")
SMOKE_SLIDES = 36


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--slides", type=int, default=300, help="slides of the test to read")
    options = parser.parse_args()
    options.page = page_path(options.page, "stride_cells", options.out, smoke=options.smoke)
    started = time.time()
    study = open_study(options)
    store, plan = study.store, study.plan
    n = SMOKE_SLIDES if options.smoke else options.slides
    sample = draw_sample(store, plan.net.classes, n)
    readings = {name: read_slides(study, name, sample) for name in READ if has_run(study, name)}
    if not readings:
        raise no_model(study, READ)
    tables = cell_tables(readings, sample, plan.net.classes)
    pictures = draw_pictures(readings, sample, store, plan.net.classes, options.page)
    sizes = Counter(sample.labels)
    write_page(
        options,
        "stride_cells.py",
        options.page.stem,
        "STRIDE's tables of cells on the multi-centre cohort (synthetic, one seed)",
        f"phantom cohort, seed {store.facts.get('seed')}: {len(sample.slides)} test slides "
        f"({', '.join(f'{count} {name}' for name, count in sizes.items())})",
        time.time() - started,
        controls=controls(sample, plan.net.classes),
        tables=tables,
        notes=[
            "One seed, no interval over trainings, no verdict. Slides were sampled equally by "
            "class, so that F1 is not that of a population.",
            f"Ranked are all {KEPT} kept cells of a slide. Attention and the maps explain the "
            "most probable lesion class. A slide of six lesion cells cannot exceed 6/32: the row "
            "'perfect' is what the kept cells allow, 'chance' a ranking at random.",
            "The leading cell class is the most frequent lesion among the 32 cells of highest "
            "lesion probability, NILM where none is called a lesion.",
            "t-SNE keeps neighbours; its distances and sizes mean nothing. The share of the ten "
            "nearest in the features themselves that have a point's class stands in the table.",
            f"Not run: {', '.join(name for name in READ if name not in readings) or 'nothing'}.",
        ],
        pictures=pictures,
    )


def controls(sample: Sample, classes: Classes) -> dict[str, float]:
    homes = Counter(classes.cell_of_slide[classes.slides.index(name)] for name in sample.labels)
    most = max(homes.values()) / len(sample.slides)
    return {"one leading cell class for all slides: right in": round(most, 3)}


def draw_pictures(
    readings: Mapping[str, Reading],
    sample: Sample,
    store: CropStore,
    classes: Classes,
    page: Path,
) -> dict[str, str]:
    """Draw beside the page; file -> what it shows."""
    kinds, rows = sampled_cells(sample)
    captions = {}

    def beside(what: str, caption: str) -> Path:
        path = page.with_name(f"{page.stem}_{what}.png")
        captions[path.name] = caption
        return path

    draw_maps(
        beside("slides", "t-SNE of what the head's last layer reads of a slide (S-49)"),
        {name: (spread_points(each.vectors, 0), sample.labels) for name, each in readings.items()},
        classes.slides,
    )
    draw_maps(
        beside("subtypes", "t-SNE of cell features by subtype (S-49)"),
        {name: (spread_points(all_features(each)[rows], 0), kinds)
         for name, each in readings.items()},
        (*classes.cells, MIMIC),
    )  # fmt: skip
    given = store.cells.given[store.labelled("train")].tolist()
    truth, n = true_cells(sample, classes), len(classes.cells)
    draw_f1_by_size(
        beside("f1_by_size", "F1 of cell classes against their labelled cells (S-23)"),
        {name: given.count(name) for name in classes.cells},
        {name: f1_by_class(count_calls(truth, called_cells(each), n)).tolist()
         for name, each in readings.items()},
        "labelled cells of the class to learn from",
    )  # fmt: skip
    return captions


if __name__ == "__main__":
    sys.exit(run_script(main))
