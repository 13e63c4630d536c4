"""Single cells at 20x: crops, classifier, the verb classify.

Names that need torch are imported when they are asked for, so that `koilo.cells.crops` and
`koilo.cells.augment` stay light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koilo.cells.crops import read_crops
    from koilo.cells.predict import CellClassifier, load_classifier
    from koilo.cells.verb import ClassifyConfig, classify

_HOMES = {
    "CellClassifier": "koilo.cells.predict",
    "ClassifyConfig": "koilo.cells.verb",
    "classify": "koilo.cells.verb",
    "load_classifier": "koilo.cells.predict",
    "read_crops": "koilo.cells.crops",
}

__all__ = ["CellClassifier", "ClassifyConfig", "classify", "load_classifier", "read_crops"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
