"""Three pictures of colour: ColorAdv's shifts, the stains of the centres, unseen cells and twins.

    python runs/colour_figures.py COHORT OUT [--seed 1] [--method swift] [--smoke]

OUT is that of runs/stride.sh; its model of --method gives the gradient that the shifts follow.
Leaves docs/results/stride_colours.json, which says what each picture shows; with ``--smoke``, for
an OUT made with it, in OUT.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from koilo.datasets.crop_store import CropStore
from koilo.taxonomy import NEGATIVE
from koilo.train import batch_rng
from koilo.train.colour import shift_colours, steepest_shift
from koilo.train.joint import JointSampler
from koilo.train.swift_model import SwiftModel
from stride import METHODS, Study
from stride_page import open_study, page_parser, page_path, run_script, write_page
from stride_readings import has_run, no_model

RADIUS, CELLS, SLIDES = 0.1, 10, 3
ROWS = ("as they are", "shifted in RGB", "shifted in HSV")
TWIN_CELLS = 17
PICTURES = {
    "shifts.jpg": "A slide's cells as they are and after ColorAdv's shift of .1, in RGB and in HSV",
    "stains.png": "Mean optical density of red and blue of each slide's best cells, by centre",
    "twins.jpg": "The best cells of one positive slide of each unseen centre, U1 to U5, and below "
    "each row its colour twin",
}


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--method", default="swift", choices=METHODS)
    options = parser.parse_args()
    started = time.time()
    study = open_study(options)
    store = study.store
    if not has_run(study, options.method):
        raise no_model(study, [options.method])
    model = study.model(options.method)
    page = page_path(options.page, "stride_colours", options.out, smoke=options.smoke)
    page.parent.mkdir(parents=True, exist_ok=True)
    drawn = {name: page.with_name(f"{page.stem}_{name}") for name in PICTURES}
    draw_shifts(study, model, drawn["shifts.jpg"])
    draw_stains(store, drawn["stains.png"])
    draw_twins(store, drawn["twins.jpg"])
    write_page(
        options,
        f"colour_figures.py --method {options.method}",
        page.stem,
        "Colours of the multi-centre cohort and ColorAdv's shifts (synthetic)",
        f"phantom cohort, seed {store.facts.get('seed')}; shifts follow the gradient of "
        f"{options.method}'s model",
        time.time() - started,
        notes=["Pictures only: nothing is measured here."],
        pictures={drawn[name].name: caption for name, caption in PICTURES.items()},
    )


def draw_shifts(study: Study, model: SwiftModel, path: Path) -> None:
    """The cells of a few slides, and the same after the shift that raises their loss most."""
    classes = study.plan.net.classes
    sampler = JointSampler(study.store, classes, n_cells=0, n_slides=SLIDES, top_k=CELLS)
    batch = sampler.draw(batch_rng(0, 0, 0))
    bags = batch.bags.float() / 255
    model.eval()
    parts = [bags]
    for hsv in (False, True):
        space = torch.full((SLIDES,), hsv)
        zero = torch.zeros(SLIDES, 3, requires_grad=True)
        z = model.student.features(shift_colours(bags, zero, space)[batch.valid] * 255)
        z_bags = z.new_zeros(*batch.valid.shape, z.shape[1])
        z_bags[batch.valid] = z
        logits, _ = model.head(z_bags, batch.valid)
        loss = functional.cross_entropy(logits, batch.slide_labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, zero)
        parts.append(shift_colours(bags, steepest_shift(gradient, RADIUS), space))
    sheet(parts, [classes.slides[i] for i in batch.slide_labels], path)


def sheet(parts: list[Tensor], labels: list[str], path: Path) -> None:
    """One block a slide, one line a way of showing it."""
    side, left, line = parts[0].shape[-1], 130, 20
    step = side + 4
    height = SLIDES * (len(parts) * step + line)
    page = Image.new("RGB", (left + CELLS * step, height), "white")
    draw = ImageDraw.Draw(page)
    for slide, label in enumerate(labels):
        top = slide * (len(parts) * step + line)
        draw.text((4, top + 4), f"{label} slide", fill="black")
        for row, (name, part) in enumerate(zip(ROWS, parts, strict=True)):
            y = top + line + row * step
            draw.text((4, y + side // 2 - 6), name, fill="black")
            for place in range(CELLS):
                crop = (part[slide, place].permute(1, 2, 0) * 255).round().byte().numpy()
                page.paste(Image.fromarray(crop), (left + place * step, y))
    page.save(path)


def draw_stains(store: CropStore, path: Path) -> None:
    """Mean optical density of red against blue, one point a slide, one colour a centre."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    training = {slide.centre for slide in store.of_split("train")}
    figure, axes = pyplot.subplots(figsize=(6.4, 4.6))
    slides = [s for s in store.slides if not s.split.endswith("_twin")]
    for centre in sorted({slide.centre for slide in slides}):
        own = [slide.slide_id for slide in slides if slide.centre == centre][:40]
        points = np.array([density(store, name) for name in own])
        marker = "o" if centre in training else "^"
        axes.scatter(points[:, 0], points[:, 2], s=14, marker=marker, label=centre)
    axes.set_xlabel("mean optical density, red")
    axes.set_ylabel("mean optical density, blue")
    axes.legend(frameon=False, fontsize=7, ncol=2, title="centre (triangle: never trained on)")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def draw_twins(store: CropStore, path: Path) -> None:
    """One positive slide of each unseen centre, and below it the same cells in known colours."""
    twins = {slide.twin_of: slide for slide in store.of_split("unseen_twin")}
    unseen = {s.centre: s for s in reversed(store.of_split("unseen")) if s.label != NEGATIVE}
    rows = [slide for _, own in sorted(unseen.items()) for slide in (own, twins[own.slide_id])]
    crops = [store.crops[store.bag(slide.slide_id, TWIN_CELLS)] for slide in rows]
    sheet_of_rows = [np.concatenate(list(bag), axis=1) for bag in crops]
    width = min(row.shape[1] for row in sheet_of_rows)
    Image.fromarray(np.concatenate([row[:, :width] for row in sheet_of_rows])).save(path)


def density(store: CropStore, slide_id: str) -> NDArray[np.float64]:
    """Mean optical density (3,) of R, G, B over a slide's ten best cells."""
    crops = np.asarray(store.crops[store.bag(slide_id, CELLS)], np.float64)
    return np.asarray(-np.log10(np.maximum(crops, 1) / 255).mean((0, 1, 2)))


if __name__ == "__main__":
    sys.exit(run_script(main))
