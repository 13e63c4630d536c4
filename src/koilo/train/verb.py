"""The verb ``koilo train``: its recipes by name, each a function of one dataclass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecipeEntry:
    """``target`` is ``module:function``, ``config`` the ``module:Dataclass`` that it takes."""

    target: str
    config: str
    line: str


RECIPES = {
    "alignment": RecipeEntry(
        "koilo.train.recipes.alignment:train_alignment",
        "koilo.train.recipes.alignment:AlignmentConfig",
        "Align descriptions with a frozen cell classifier's features, on phantom crops.",
    ),
    "detector": RecipeEntry(
        "koilo.train.on_manifest:train_detector",
        "koilo.train.on_manifest:DetectorConfig",
        "Train a positive-cell detector on the labelled cells of a manifest.",
    ),
    "organisms": RecipeEntry(
        "koilo.train.recipes.organisms:train_organisms",
        "koilo.train.recipes.organisms:OrganismsConfig",
        "Train a second head on a frozen cell classifier: organisms, on phantom crops.",
    ),
    "self_supervised": RecipeEntry(
        "koilo.train.recipes.self_supervised:train_self_supervised",
        "koilo.train.recipes.self_supervised:SelfSupervisedConfig",
        "Train a trunk on the cells of a crop store without labels, then probe it.",
    ),
    "semi": RecipeEntry(
        "koilo.train.generations:train_semi",
        "koilo.train.recipes.semi:SemiConfig",
        "Train a cell classifier on labelled and unlabelled cells of a crop store.",
    ),
    "slide_head": RecipeEntry(
        "koilo.train.recipes.slide_head:train_slide_head",
        "koilo.train.recipes.slide_head:SlideHeadConfig",
        "Train a slide head on bags of cells whose features or probabilities are fixed.",
    ),
    "supervised": RecipeEntry(
        "koilo.train.on_manifest:train_supervised",
        "koilo.train.on_manifest:SupervisedConfig",
        "Train a cell classifier on the labelled cells of a manifest.",
    ),
    "swift": RecipeEntry(
        "koilo.train.on_store:train_swift",
        "koilo.train.on_store:SwiftConfig",
        "Train cells and slides end to end on a crop store, and write a bundle.",
    ),
}
