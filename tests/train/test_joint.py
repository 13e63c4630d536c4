"""Joint batches: half the slides positive, cells even over classes, nothing of other splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError, TrainingError
from koilo.train.joint import UNKNOWN, Classes, JointSampler, class_numbers, fold_slides
from tests.train.toy_store import CELLS_A_SLIDE, SIDE, make_toy_store

CLASSES = Classes()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("store"))


def test_slide_classes_fold_into_cell_classes_and_a_missing_fold_is_refused() -> None:
    assert CLASSES.cell_of_slide == (0, 1, 2, 3, 3, 4)
    with pytest.raises(TrainingError, match="AGC has no place"):
        _ = replace(CLASSES, cells=("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC")).cell_of_slide


def test_names_and_finer_folds_find_their_class() -> None:
    names = np.array(["SCC", "HSIL+SCC", "ASC-H+HSIL+SCC", "NILM", "", "LSIL+HSIL"])
    assert class_numbers(names, CLASSES.cells).tolist() == [3, 3, 3, 0, UNKNOWN, UNKNOWN]


def test_a_batch_is_padded_half_positive_and_of_the_training_split(store: CropStore) -> None:
    sampler = JointSampler(store, CLASSES, n_cells=4, n_slides=4, top_k=8)
    training = store.crops[: len(store.crops) // 2]
    for seed in range(5):
        batch = sampler.draw(np.random.default_rng(seed))
        assert batch.cells.shape == (4, 3, SIDE, SIDE)
        assert batch.bags.shape == (4, 8, 3, SIDE, SIDE)
        assert (batch.slide_labels > 0).tolist() == [True, True, False, False]
        assert batch.valid.sum(1).tolist() == [CELLS_A_SLIDE] * 4
        assert batch.bags[:, CELLS_A_SLIDE:].max() == 0
        assert (batch.truth[:, CELLS_A_SLIDE:] == UNKNOWN).all()
        for bag in batch.bags:
            first = bag[0].permute(1, 2, 0).numpy()
            assert any(np.array_equal(first, crop) for crop in training)


def test_an_odd_number_of_slides_has_either_call_in_the_odd_place(store: CropStore) -> None:
    sampler = JointSampler(store, CLASSES, n_cells=0, n_slides=1, top_k=2)
    calls = {
        int(sampler.draw(np.random.default_rng(seed)).slide_labels[0] > 0) for seed in range(12)
    }
    assert calls == {0, 1}


def test_cells_are_even_over_classes_and_carry_their_given_labels(store: CropStore) -> None:
    sampler = JointSampler(store, CLASSES, n_cells=400, n_slides=0, top_k=6)
    batch = sampler.draw(np.random.default_rng(0))
    shares = torch.bincount(batch.cell_labels, minlength=5) / 400
    assert (shares - 0.2).abs().max() < 0.07  # five classes, the NILM cells twelve times as many
    dark = batch.cells[:, :, 14:18, 14:18].float().mean((1, 2, 3)) < 120
    assert torch.equal(dark, batch.cell_labels > 0)


def test_other_labels_can_be_learnt_from(store: CropStore) -> None:
    def pool(labels: str) -> dict[int, int]:
        sampler = JointSampler(store, CLASSES, n_cells=1, n_slides=0, top_k=6, labels=labels)
        return {name: len(rows) for name, rows in sampler._by_class.items()}

    given, nilm, everything = pool("given"), pool("nilm"), pool("all")
    assert sum(given.values()) == 20
    assert nilm[0] == 30 + 5  # all cells of the five NILM slides, the labelled NILM of the others
    assert {name: n for name, n in nilm.items() if name} == {
        name: n for name, n in given.items() if name
    }
    assert sum(everything.values()) == 60
    assert everything[3] == 4


def relabelled(store: CropStore, **change: str) -> CropStore:
    slides = tuple(
        replace(slide, label=change.get(slide.label, slide.label)) for slide in store.slides
    )
    return replace(store, slides=slides)


def test_what_cannot_be_trained_on_is_refused_in_one_line(store: CropStore) -> None:
    def sampler(of: CropStore, *, n_cells: int = 0, n_slides: int = 2) -> JointSampler:
        return JointSampler(of, CLASSES, n_cells=n_cells, n_slides=n_slides, top_k=4)

    with pytest.raises(TrainingError, match="labels HSIL are no class"):
        sampler(relabelled(store, **{"HSIL+SCC": "HSIL"}))
    all_nilm = {name: "NILM" for name in CLASSES.slides}
    with pytest.raises(TrainingError, match="no positive slide"):
        sampler(relabelled(store, **all_nilm))
    empty = replace(store, cells=replace(store.cells, rank=np.full(len(store.cells), -1)))
    with pytest.raises(TrainingError, match="slides without a cell: s00"):
        sampler(empty)
    unlabelled = replace(
        store, cells=replace(store.cells, given=np.full(len(store.cells), "", dtype="U4"))
    )
    with pytest.raises(TrainingError, match="no labelled cell"):
        sampler(unlabelled, n_cells=2, n_slides=0)


def test_slides_are_labelled_by_their_fold_and_those_of_several_classes_by_the_worst(
    store: CropStore,
) -> None:
    change = {"HSIL+SCC": "SCC", "ASC-H": "ASC-H+LSIL", "LSIL": "HSIL"}
    folded = fold_slides(relabelled(store, **change), CLASSES)
    labels = {slide.slide_id: slide.label for slide in folded.slides}
    assert [labels[f"s{n:02d}"] for n in (1, 3, 5, 7, 9)] == [
        "ASC-US", "HSIL+SCC", "ASC-H", "HSIL+SCC", "AGC",
    ]  # fmt: skip
    fewer = Classes(slides=CLASSES.slides[:-1], cells=CLASSES.cells[:-1])
    with pytest.raises(TrainingError, match="labelled AGC"):
        fold_slides(store, fewer)


def test_labelled_cells_without_a_class_are_refused_not_left_out(store: CropStore) -> None:
    fewer = Classes(slides=CLASSES.slides[:-1], cells=CLASSES.cells[:-1])
    with pytest.raises(TrainingError, match=r"Cells of .* are labelled AGC"):
        JointSampler(store, fewer, n_cells=2, n_slides=0, top_k=4)


@pytest.mark.parametrize(
    "slides", [("ASC-US", "NILM"), ("NILM", "HSIL", "HSIL+SCC"), ("NILM", "CIN3")]
)
def test_class_lists_that_cannot_be_meant_are_refused(slides: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="Classes of slides: "):
        Classes(slides=slides)
