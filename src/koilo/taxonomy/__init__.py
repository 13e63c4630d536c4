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
from koilo.taxonomy.descriptions import (
    Description,
    collapse,
    may_be_said,
    outside_queries,
    read_vocabulary,
)

__all__ = [
    "CYTOLOGY",
    "NEGATIVE",
    "Description",
    "check_classes",
    "class_map",
    "collapse",
    "fold_matrix",
    "fold_members",
    "fold_name",
    "load_table",
    "may_be_said",
    "meaning",
    "most_severe",
    "outside_queries",
    "read_vocabulary",
    "severity",
]
