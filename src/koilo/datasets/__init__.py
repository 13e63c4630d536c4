"""Public and generic data sets, converted to one manifest, and splits that do not leak."""

from koilo.datasets.cells_csv import LabelledCell, read_cells, refuse_outside, write_cells
from koilo.datasets.splits import assign_splits, refuse_leaks

__all__ = [
    "LabelledCell",
    "assign_splits",
    "read_cells",
    "refuse_leaks",
    "refuse_outside",
    "write_cells",
]
