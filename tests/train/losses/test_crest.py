"""CReST's rates, choices, temperatures and alignment, case by case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from koilo.train.losses.crest import (
    AlignedAnswers,
    choose_pseudo_labels,
    sampling_rates,
    temperature,
)


def test_the_rarest_class_is_taken_whole_and_the_commonest_as_its_mirror_image() -> None:
    counts = np.array([4000, 60, 250, 90])  # ranked: 4000, 250, 90, 60
    rates = sampling_rates(counts, 1 / 3)
    expected = [(60 / 4000) ** (1 / 3), 1.0, (90 / 4000) ** (1 / 3), (250 / 4000) ** (1 / 3)]
    assert rates.tolist() == pytest.approx(expected)


def test_a_power_of_zero_takes_all_and_equal_classes_are_taken_whole() -> None:
    assert sampling_rates(np.array([50, 3, 7]), 0.0).tolist() == [1.0, 1.0, 1.0]
    assert sampling_rates(np.array([8, 8]), 1.0).tolist() == [1.0, 1.0]


def test_a_class_without_labels_stops_the_commonest_one() -> None:
    assert sampling_rates(np.array([10, 0]), 1.0).tolist() == [0.0, 1.0]


def test_the_surest_cells_of_each_class_are_chosen() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    places, labels = choose_pseudo_labels(p.astype(np.float32), np.array([0.5, 1.0]))
    assert places.tolist() == [0, 2, 4, 5]
    assert labels.tolist() == [0, 0, 1, 1]


def test_a_class_that_is_never_called_gives_nothing() -> None:
    p = np.array([[0.9, 0.1]], np.float32)
    places, _ = choose_pseudo_labels(p, np.array([0.0, 1.0]))
    assert len(places) == 0


def test_the_temperature_falls_evenly_from_one() -> None:
    assert [temperature(g, 6, 0.5) for g in range(6)] == pytest.approx(
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    )
    assert temperature(0, 1, 0.5) == 1.0


def test_alignment_is_the_literal_one() -> None:
    shares = torch.tensor([0.7, 0.2, 0.1])
    aligned = AlignedAnswers(shares, 0.5, memory=2)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, 3, generator=generator).softmax(1) for _ in range(4)]
    assert torch.equal(aligned(batches[0]), batches[0])
    for p in batches[:3]:
        aligned.note(p)
    recent = [(batches[1][:, c].mean() + batches[2][:, c].mean()).item() / 2 for c in range(3)]
    roots = [share**0.5 for share in shares.tolist()]
    target = [root / sum(roots) for root in roots]
    for row, result in zip(batches[3].tolist(), aligned(batches[3]).tolist(), strict=True):
        pulled = [p * t / r for p, t, r in zip(row, target, recent, strict=True)]
        assert result == pytest.approx([value / sum(pulled) for value in pulled], rel=1e-5)


def test_an_answer_that_is_all_of_a_class_without_labels_is_never_sure() -> None:
    aligned = AlignedAnswers(torch.tensor([0.5, 0.5, 0.0]), 1.0)
    aligned.note(torch.tensor([[0.4, 0.4, 0.2]]))
    assert aligned(torch.tensor([[0.0, 0.0, 1.0]])).tolist() == [[0.0, 0.0, 0.0]]
