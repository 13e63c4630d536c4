"""Words for cells: texts of the description vocabulary aligned with a frozen cell model's features.

Names that need torch are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koilo.language.predict import Describer, load_descriptions

_HOMES = {
    "Describer": "koilo.language.predict",
    "load_descriptions": "koilo.language.predict",
}

__all__ = ["Describer", "load_descriptions"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
