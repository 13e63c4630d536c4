"""Parametric slides whose every cell, mask, measure, description and label is known."""

from koilo.phantom.bank import Bank, draw_bank
from koilo.phantom.centre import Centre, draw_centre
from koilo.phantom.crops import Clutter, draw_cells, draw_field, training_bank
from koilo.phantom.truth import CellTruth

__all__ = [
    "Bank",
    "CellTruth",
    "Centre",
    "Clutter",
    "draw_bank",
    "draw_cells",
    "draw_centre",
    "draw_field",
    "training_bank",
]
