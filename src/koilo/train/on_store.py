"""``koilo train swift``: from a crop store to a bundle that `koilo screen` takes.

Four stages, each in a folder of its own and resumed where it stopped: labelled cells, a head on
their frozen features, SWIFT from there, and, where asked for, ColorAdv. Then every slide of the
store is scored, the threshold is locked on validation, and the bundle is written with the detector
that cut the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from koilo.bundle import Bundle, load_bundle
from koilo.datasets.crop_store import SPLITS, CropStore, open_crop_store
from koilo.encoders.starting import load_start, start_files
from koilo.errors import TrainingError
from koilo.evaluate.operating_point import lock_operating_point
from koilo.files import write_json
from koilo.progress import log
from koilo.train.audit import draw_audit_sheet
from koilo.train.bundling import round_as_stored, write_swift_bundle
from koilo.train.joint import Classes, JointSampler, fold_slides
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import (
    NetConfig,
    Scores,
    build_model,
    colour_stage,
    fit_head,
    restart_at_better,
    score_store,
    train_swift_stage,
    validation_slides,
    write_scores,
)
from koilo.train.swift_model import SwiftModel, refuse_empty_bags

NOISE = 1e-6
"""How far p may move with the machine and with what else is in a batch."""


def _paper_loop(steps: int) -> LoopConfig:
    """Adam with an L2 term of 1e-3 at 1e-3, falling linearly, in mixed precision: the paper's."""
    return LoopConfig(
        steps=steps,
        lr=1e-3,
        optimizer="adam",
        weight_decay=1e-3,
        schedule="linear",
        clip=1.0,
        precision="bf16",
    )


@dataclass(frozen=True)
class SwiftConfig:
    """Train cells and slides end to end on a crop store, and write a bundle."""

    store: Path
    """crop store, as `koilo data bags` leaves it"""
    out: Path = field(default=Path("swift"), metadata={"result": False})
    """folder of the run: a folder a stage, scores.csv, pseudo_labels.png, bundle/"""
    name: str = "swift"
    """name of the bundle"""
    detector: str = "cytology"
    """bundle whose detector goes into the new one: the one that cut the store"""
    net: NetConfig = field(default_factory=NetConfig)
    """the networks"""
    start: Path | None = None
    """starting weights of the trunk: safetensors, a bundle (folder or name), or a folder in the
    format of transformers"""
    two_stages: bool = True
    """stages 1 and 2 come first; false = SWIFT begins at random weights, as Algorithm 1 has it"""
    cells: LoopConfig = field(default_factory=lambda: _paper_loop(20_000))
    """stage 1: labelled cells"""
    head: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2_000, lr=1e-3, ema=0.99))
    """stage 2: the head on frozen features"""
    loop: LoopConfig = field(default_factory=lambda: _paper_loop(320_000))
    """stage 3: SWIFT (paper: about 320,000 iterations)"""
    colour: LoopConfig | None = None
    """stage 4: ColorAdv; none = left out. Name its rate and optimizer too: a tenth of stage 3's.
    Its averages go on from what was judged there, at settings.teacher_decay from the first step"""
    settings: SwiftSettings = field(default_factory=lambda: SwiftSettings(chunk=64))
    """what a step takes in and how cells are labelled; in chunks of 64 the paper's sizes are meant
    for a GPU of 16 GB"""


def train_swift(config: SwiftConfig) -> None:
    """Train cells and slides end to end on a crop store, and write a bundle.

    Raises:
        ManifestError: the store is not whole.
        BundleError: the detector's bundle is missing or unfit.
        ConfigError: encoder, head or one of their settings is unknown.
        TrainingError: the store cannot be trained on, the start does not fit, or training cannot
            go on.
        OutputError: ``config.out`` cannot be written.
    """
    store = fold_slides(open_crop_store(config.store), config.net.classes)
    taught = config.two_stages or "cell" in config.settings.terms
    refuse_unfit(store, config.net.classes, config.settings, taught=taught)
    refuse_other_cut(store, load_bundle(config.detector), config.settings.top_k)
    model = build_model(config.net, config.loop.seed)
    if config.start is not None:
        load_start(model.student.trunk, config.start)
    run_stages(config, store, model)
    round_as_stored(model)
    scores = score_store(model, store, config.net.classes, config.settings.top_k, SPLITS)
    write_scores(config.out / "scores.csv", scores)
    draw_audit_sheet(
        config.out / "pseudo_labels.png", model, store, config.net.classes, config.settings
    )
    write_swift_bundle(config, model, store, scores, locked_point(scores, store))
    log.info("The bundle is in %s.", config.out / "bundle")


def refuse_unfit(
    store: CropStore, classes: Classes, settings: SwiftSettings, *, taught: bool = True
) -> None:
    """Refuse at once a store that a later stage could not be trained, judged or locked on.

    ``taught`` says whether labelled cells are asked for by any stage.

    Raises:
        TrainingError: saying what is missing.
    """
    JointSampler(
        store,
        classes,
        n_cells=settings.n_cells if taught else 0,
        n_slides=settings.n_slides,
        top_k=settings.top_k,
        labels=settings.labels,
    )
    validation_slides(store)
    refuse_empty_bags(store, store.of_split(*SPLITS))


def refuse_other_cut(store: CropStore, source: Bundle, top_k: int) -> None:
    """Refuse a store whose bags are not what `koilo screen` will make of a slide.

    The threshold is locked on the store's bags. Stores that do not say how they were cut pass.

    Raises:
        TrainingError: another detector cut it, or into fewer cells a slide than ``top_k``.
    """
    problems = []
    cut_by = store.facts.get("detector_sha256")
    if cut_by not in (None, source.spec["sha256"]["detector.safetensors"]):
        problems.append(f"its cells were not found by the detector of bundle {source.name}")
    if (kept := store.facts.get("top_k")) is not None and kept < top_k:
        problems.append(f"it keeps {kept} cells of a slide where settings.top_k is {top_k}")
    if problems:
        raise TrainingError(
            f"{store.folder}: {' and '.join(problems)}: slides would be screened by other cells "
            "than the threshold was locked on. Name the bundle that cut the store as --detector "
            "and at most its cells as --settings.top-k, or cut it again."
        )


def run_stages(config: SwiftConfig, store: CropStore, model: SwiftModel) -> None:
    """All stages in their order; ``model`` holds the result."""
    net, settings, out = config.net, config.settings, config.out
    begun = _two_stages(config, store, model) if config.two_stages else _start_files(config)
    plain = settings if config.colour is None else replace(settings, colour="none")
    result = train_swift_stage(model, store, net, plain, config.loop, out / "3-swift", begun)
    if config.colour is not None:
        moved = settings.colour if settings.colour != "none" else "adversarial"
        coloured = colour_stage(settings, moved)
        restart_at_better(model, result.metrics)
        result = train_swift_stage(
            model, store, net, coloured, config.colour, out / "4-colour", [result.weights]
        )
    write_json(out / "validation.json", result.metrics)


def _two_stages(config: SwiftConfig, store: CropStore, model: SwiftModel) -> list[Path]:
    """Teach cells, then a head on their frozen features; gives the files of what was learnt."""
    alone = replace(config.settings, terms=("cell",), colour="none")
    start = _start_files(config)
    cells = train_swift_stage(
        model, store, config.net, alone, config.cells, config.out / "1-cells", start
    )
    head = fit_head(
        model,
        store,
        config.net,
        top_k=config.settings.top_k,
        loop=config.head,
        out=config.out / "2-head",
        start=[cells.weights],
    )
    return [cells.weights, head.weights]


def _start_files(config: SwiftConfig) -> list[Path]:
    return [] if config.start is None else list(start_files(config.start))


def locked_point(scores: Scores, store: CropStore) -> dict[str, object]:
    """The operating point ``sens95``, locked on the validation slides, as a bundle holds it."""
    rows = [number for number, slide in enumerate(scores.slides) if slide.split == "validation"]
    point = lock_operating_point(
        [scores.slides[row].label != "NILM" for row in rows],
        scores.p_positive[rows],
        f"{len(rows)} validation slides of crop store {store.folder.name}",
        margin=NOISE,
    )
    return point.to_dict()
