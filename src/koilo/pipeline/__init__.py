"""One slide in, one reading out: the spine that joins slides, detector, cells and slide head."""

from koilo.pipeline.find import FoundCells, find_cells
from koilo.pipeline.models import Models, load_models
from koilo.pipeline.read import Reading, ReadSettings, read_one
from koilo.pipeline.verdict import judge_slide

__all__ = [
    "FoundCells",
    "Models",
    "ReadSettings",
    "Reading",
    "find_cells",
    "judge_slide",
    "load_models",
    "read_one",
]
