"""Slide heads: from a bag of cells to the classes of a slide."""

from koilo.mil.bags import INPUTS, Bag, BagSet, collate, head_inputs, read_bags, write_bags
from koilo.mil.heads import HEADS, build_head
from koilo.mil.predict import SlideHead, load_head

__all__ = [
    "HEADS",
    "INPUTS",
    "Bag",
    "BagSet",
    "SlideHead",
    "build_head",
    "collate",
    "head_inputs",
    "load_head",
    "read_bags",
    "write_bags",
]
