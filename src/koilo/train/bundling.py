"""From what was trained on a crop store to a bundle: detector, cells, head, threshold, card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from koilo import __version__
from koilo.bundle import Bundle, as_stored, load_bundle, write_bundle
from koilo.datasets.crop_store import CropStore
from koilo.taxonomy import CYTOLOGY, fold_members
from koilo.train.record import git_commit
from koilo.train.stages import Scores
from koilo.train.swift_model import SwiftModel

if TYPE_CHECKING:
    from koilo.train.on_store import SwiftConfig


def write_swift_bundle(
    config: SwiftConfig,
    model: SwiftModel,
    store: CropStore,
    scores: Scores,
    point: Mapping[str, Any],
) -> Bundle:
    """Write ``config.out / "bundle"``; it judges whole slides, its threshold is of slides alone.

    Raises:
        BundleError: the detector's bundle is missing, or the parts do not fit.
        OutputError: the folder cannot be written.
    """
    source = load_bundle(config.detector)
    student, head = model.parts(averaged=scores.averaged)
    detector = dict(source.stage("detector")) | {"top_k": config.settings.top_k}
    spec = {
        "name": config.name,
        "task": "cytology",
        "koilo_version": __version__,
        "stages": {
            "detector": detector,
            "cells": {
                "model": "mean",
                "config": {
                    "encoder": config.net.encoder,
                    "encoder_config": dict(config.net.encoder_config),
                },
                "mpp": store.mpp,
                "input_px": store.crop_px,
                "classes": list(config.net.classes.cells),
            },
            "head": {
                "model": config.net.head,
                "config": {
                    "d_in": student.n_features,
                    "inputs": "features",
                    **config.net.head_config,
                },
                "classes": list(config.net.classes.slides),
                "top_k": config.settings.top_k,
            },
        },
        "operating_points": {"sens95": dict(point)},
        "not_assessed": not_assessed(config.net.classes.cells),
        "trained_on": [trained_on(store)],
        "provenance": {
            "commit": git_commit(),
            "recipe": "swift",
            "store": dict(store.facts),
            "detector": f"{source.name} {source.sha256[:16]}",
        },
    }
    tensors = {
        "detector": source.tensors("detector"),
        "cells": _tensors(student),
        "head": _tensors(head),
    }
    return write_bundle(
        config.out / "bundle", spec, tensors, _card(config.name, store, point, spec)
    )


def round_as_stored(net: nn.Module) -> None:
    """Round the weights to what a bundle holds of them, in place.

    A threshold is locked on scores of these: the slide that sets it has to screen as positive.
    """
    net.load_state_dict(
        {name: torch.from_numpy(value) for name, value in as_stored(_tensors(net)).items()}
    )


def not_assessed(cell_classes: tuple[str, ...]) -> list[str]:
    """What a reader must know that nobody looked for: classes that are missing, and the rest."""
    known = {member for name in cell_classes for member in fold_members(name)}
    missing = [f"{name}: no such class was trained" for name in CYTOLOGY if name not in known]
    return [
        *missing,
        "endometrial cells",
        "organisms and infections",
        "reactive, inflammatory and atrophic change as findings of their own",
    ]


def trained_on(store: CropStore) -> str:
    """The training split of a store in one line."""
    slides = store.of_split("train")
    counts = Counter(slide.label for slide in slides)
    labels = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
    kind = "synthetic slides" if store.facts.get("synthetic") else "slides"
    return (
        f"{len(slides)} {kind} of {len({slide.centre for slide in slides})} centres ({labels}), "
        f"{len(store.labelled('train'))} labelled cells"
    )


def _tensors(net: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(value.cpu().numpy()) for name, value in net.state_dict().items()}


def _card(name: str, store: CropStore, point: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    shown = "\n".join(f"- {key}: {value}" for key, value in point.items())
    gaps = "\n".join(f"- {line}" for line in spec["not_assessed"])
    return f"""# {name}: trained here by `koilo train swift`

**Research use only: not for diagnosis.** It judges whole slides and has no threshold for fields.

## Trained on

- {trained_on(store)}
- crops of {store.crop_px} px at {store.mpp:g} µm/px

## Locked threshold `sens95`

{shown}

It was locked on the validation slides that also chose between the model and its average. Another
laboratory has to lock its own (`koilo calibrate`).

## Not assessed

{gaps}
"""
