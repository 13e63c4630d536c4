"""Positive-cell detector at 10x: models, targets, predict, merge across tiles, top-K."""

from koilo.detect.augment import Scene, TileAugmentation
from koilo.detect.merge import merge_boxes
from koilo.detect.predict import MODELS, Detector, build_detector, load_detector
from koilo.detect.topk import TopK

__all__ = [
    "MODELS",
    "Detector",
    "Scene",
    "TileAugmentation",
    "TopK",
    "build_detector",
    "load_detector",
    "merge_boxes",
]
