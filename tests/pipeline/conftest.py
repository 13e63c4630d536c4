"""Toy models and slides for the tests of the pipeline."""

from __future__ import annotations

import pytest
import torch

from koilo.pipeline import load_models
from tests.pipeline import toys


@pytest.fixture(scope="session", autouse=True)
def _toy_models_are_known():
    toys.register()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return toys.write_toy_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="session")
def models(bundle):
    return load_models(bundle, torch.device("cpu"))


@pytest.fixture(scope="session")
def slides(tmp_path_factory):
    """Paths by name: a slide with lesions, one without, one blank."""
    folder = tmp_path_factory.mktemp("slides")
    size = (2000, 1600)
    return {
        "lesion": toys.write_slide(folder / "lesion.tiff", toys.draw_cells(size, 120, 6)),
        "normal": toys.write_slide(folder / "normal.tiff", toys.draw_cells(size, 120, 0, seed=1)),
        "blank": toys.write_slide(folder / "blank.tiff", toys.draw_cells(size, 0, 0)),
    }
