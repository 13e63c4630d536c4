"""Bethesda classes, folds of classes and description vocabulary: tables as YAML, one loader."""

from koilo.taxonomy.classes import (
    CYTOLOGY,
    NEGATIVE,
    check_classes,
    class_map,
    fold_matrix,
    fold_members,
    fold_name,
    load_table,
    meaning,
    most_severe,
    severity,
)

__all__ = [
    "CYTOLOGY",
    "NEGATIVE",
    "check_classes",
    "class_map",
    "fold_matrix",
    "fold_members",
    "fold_name",
    "load_table",
    "meaning",
    "most_severe",
    "severity",
]
