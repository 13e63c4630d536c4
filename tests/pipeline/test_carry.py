"""What a reading says of its own reasons, from end to end on toy slides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.bundle import Bundle, load_bundle, write_bundle
from koilo.errors import BundleError
from koilo.evaluate.conformal import DoubtBounds
from koilo.manifest import SlideEntry
from koilo.mil.likeness import PART, crop_colours, fit_likeness
from koilo.pipeline import Models, ReadSettings, load_models, read_one
from tests.pipeline import toys

CPU = torch.device("cpu")
BOUNDS = DoubtBounds(0.3, 0.6, 0.95, 0.9, 40, 40, "toys")


def read(path: Path, models: Models, **facts):
    return read_one(SlideEntry("a", path, **facts), models, ReadSettings(threads=1))


def with_doubt(bundle: Bundle, folder: Path, doubt: dict, **tensors) -> Bundle:
    points = {
        name: {**point, "doubt": doubt} for name, point in bundle.spec["operating_points"].items()
    }
    spec = {k: v for k, v in bundle.spec.items() if k not in ("format", "sha256")}
    own = {part: bundle.tensors(part) for part in bundle.parts}
    return write_bundle(folder, {**spec, "operating_points": points}, {**own, **tensors}, "# toy")


@pytest.fixture(scope="module")
def doubting(bundle, slides, models, tmp_path_factory) -> Models:
    """The toy bundle with bounds and the likeness of six small normal slides."""
    folder = tmp_path_factory.mktemp("doubting")
    features, colours = [], []
    for seed in range(6):
        image = toys.draw_cells((900, 700), 30, seed % 2, seed=seed)
        reading = read(toys.write_slide(folder / f"{seed}.tiff", image), models)
        features.append(models.classifier.predict(reading.crops)[0])
        colours.append(crop_colours(reading.crops))
    known = fit_likeness(features, np.stack(colours), [f"c{i % 3}" for i in range(6)], 2)
    made = with_doubt(bundle, folder / "toy", BOUNDS.to_dict(), **{PART: known.tensors()})
    return load_models(made, CPU)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, Path]:
    """A slide with three lesions, one without."""
    folder = tmp_path_factory.mktemp("small")
    return {
        name: toys.write_slide(folder / f"{name}.tiff", toys.draw_cells((900, 700), 30, n, seed=5))
        for name, n in (("lesion", 3), ("normal", 0))
    }


@pytest.fixture(scope="module")
def plain(small, models):
    return {name: read(path, models).result for name, path in small.items()}


@pytest.fixture(scope="module")
def doubted(small, doubting):
    return {name: read(path, doubting).result for name, path in small.items()}


def test_a_bundle_without_bounds_gives_contributions_and_removal_but_no_doubt(plain):
    result = plain["lesion"]
    assert (result.needs_human, result.ood_score, result.possible_calls) == (None, None, ())
    assert result.removal is not None
    assert all(cell.contribution is not None for cell in result.cells)


def test_cells_that_the_head_does_not_read_have_no_contribution(slides, models):
    cells = read(slides["normal"], models).result.cells
    assert None not in {cell.contribution for cell in cells[:64]}
    assert {cell.contribution for cell in cells[64:]} == {None}  # the toy head reads 64


def test_a_call_hangs_on_the_lesion_cells_and_on_no_other(plain):
    result = plain["lesion"]
    assert result.removal.turned
    removed = [result.cells[row] for row in result.removal.cells]
    assert [cell.label for cell in removed] == ["HSIL"] * 3
    assert result.removal.p_positive < result.threshold


def test_a_slide_below_its_threshold_has_no_removal_test(plain):
    result = plain["normal"]
    assert (result.positive, result.removal, result.disagreement) == (False, None, None)


def test_a_certain_slide_like_the_reference_needs_no_human(doubted):
    result = doubted["normal"]
    assert result.possible_calls == ("negative",)
    assert 0 <= result.ood_score < 0.95
    assert (result.needs_human, result.needs_human_why) == (False, ())


def test_a_slide_of_another_colour_is_not_like_the_training_data_and_keeps_its_call(
    doubting, doubted, tmp_path
):
    image = toys.draw_cells((900, 700), 30, 3, seed=5).astype(float)
    image[..., 2] *= 0.6
    yellow = read(toys.write_slide(tmp_path / "b.tiff", image.astype(np.uint8)), doubting).result
    assert yellow.ood_score == 1.0
    assert yellow.needs_human
    assert "the slide is not like the training data" in yellow.needs_human_why
    assert doubted["lesion"].positive
    assert yellow.positive
    assert yellow.label == "HSIL+SCC"


def test_doubt_changes_no_number_of_the_reading(plain, doubted):
    for name in ("lesion", "normal"):
        bare = replace(
            doubted[name], seconds={}, needs_human=None, needs_human_why=(), possible_calls=(),
            ood_score=None,
        )  # fmt: skip
        assert bare == replace(plain[name], seconds={})


def test_a_slide_without_a_cell_needs_a_human(slides, doubting):
    result = read(slides["blank"], doubting).result
    assert (result.needs_human, result.positive, result.ood_score) == (True, None, None)
    assert result.needs_human_why == ("no cell was there to judge",)


def test_a_bundle_with_malformed_bounds_is_refused_before_any_slide(bundle, tmp_path):
    made = with_doubt(bundle, tmp_path / "b", {"low": 0.3})
    with pytest.raises(BundleError, match=r"does not fit together.*high"):
        load_models(made, CPU)


def test_the_default_bundle_carries_bounds_that_fit_its_thresholds():
    models = load_models(load_bundle("cytology"), CPU)
    assert models.likeness is not None
    for kind in models.kinds:
        bounds = models.bounds(kind)
        assert bounds is not None
        assert bounds.low <= models.threshold(kind)
