"""The models of a bundle, loaded together and proved to fit each other before any slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from koilo.bundle import Bundle
from koilo.cells import CellClassifier, load_classifier
from koilo.cells.organisms import STAGE as ORGANISMS
from koilo.cells.organisms import OrganismReader, load_organisms
from koilo.detect import Detector, load_detector
from koilo.errors import BundleError
from koilo.evaluate.conformal import DoubtBounds, read_bounds
from koilo.language import Describer, load_descriptions
from koilo.mil import SlideHead, load_head
from koilo.mil.likeness import Likeness, load_likeness

_POINTS = {"slide": "sens95", "field": "sens95_field"}


@dataclass(frozen=True)
class Models:
    """A bundle and its models on one device; what a bundle may lack is None where it does."""

    bundle: Bundle
    detector: Detector
    classifier: CellClassifier
    head: SlideHead
    device: torch.device
    likeness: Likeness | None = None
    """what the training data looked like; None where the bundle does not say"""
    describer: Describer | None = None
    organisms: OrganismReader | None = None

    @property
    def top_k(self) -> int:
        """Most cells kept of a slide."""
        return int(self.bundle.stage("detector")["top_k"])

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be judged: ``slide``, ``field`` or both, by the thresholds that were locked."""
        locked = self.bundle.spec["operating_points"]
        return tuple(kind for kind, point in _POINTS.items() if point in locked)

    def threshold(self, kind: str) -> float:
        """The locked threshold of p_positive for a ``slide`` or a ``field``."""
        return float(self.bundle.operating_point(_POINTS[kind])["threshold"])

    def bounds(self, kind: str) -> DoubtBounds | None:
        """Scores of a ``slide`` or ``field`` whose call is open; None where none were locked."""
        return read_bounds(self.bundle.operating_point(_POINTS[kind]))


def load_models(bundle: Bundle, device: torch.device) -> Models:
    """Load detector, cell classifier and slide head, and run them once on blank input.

    Raises:
        BundleError: a stage is missing or broken, a threshold is not locked, or what one stage
            gives is not what the next one takes.
    """
    views = int(bundle.stage("cells").get("views", 1))
    try:
        models = Models(
            bundle,
            load_detector(bundle, device),
            load_classifier(bundle, device, views=views),
            load_head(bundle, device),
            device,
            load_likeness(bundle),
            load_descriptions(bundle) if "descriptions" in bundle.spec["stages"] else None,
            load_organisms(bundle) if ORGANISMS in bundle.spec["stages"] else None,
        )
        if not models.kinds:
            raise ValueError(f"no threshold is locked: {' or '.join(_POINTS.values())} is needed")
        for kind in models.kinds:
            models.threshold(kind)
            models.bounds(kind)
        if models.top_k < 1:
            raise ValueError(f"the detector's top_k is {models.top_k}; at least 1 cell is kept")
        _try_once(models)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"Bundle {bundle.name} does not fit together: {' '.join(str(error).split())[:300]}. "
            "Detector, cells, head and thresholds must be those of one making. "
            "Take the bundle again from where it came."
        ) from error
    return models


def _try_once(models: Models) -> None:
    detector, classifier = models.detector, models.classifier
    detector.predict(np.full((1, detector.tile_px, detector.tile_px, 3), 255, np.uint8))
    blank = np.full((2, classifier.input_px, classifier.input_px, 3), 255, np.uint8)
    features, probabilities = classifier.predict(blank)
    if probabilities.shape[1] != len(classifier.classes):
        raise ValueError(
            f"the cell model gives {probabilities.shape[1]} probabilities for "
            f"{len(classifier.classes)} classes"
        )
    if models.likeness is not None:
        models.likeness.ood_score(features, blank)
    if models.describer is not None:
        models.describer.describe(models.describer.place(features))
    if models.organisms is not None:
        models.organisms.predict(features)
    p, _ = models.head.predict(features, probabilities)
    if len(p) != len(models.head.classes):
        raise ValueError(f"the head gives {len(p)} for {len(models.head.classes)} classes")
