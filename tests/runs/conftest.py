"""What the tests of several scripts read."""

from __future__ import annotations

import pytest

from koilo.datasets.crop_store import SPLITS, CropStore
from tests.train.toy_store import make_toy_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """Fifty slides, ten a split."""
    return make_toy_store(tmp_path_factory.mktemp("cohort"), n_slides=50, splits=SPLITS)
