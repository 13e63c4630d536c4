"""The linear probe against scikit-learn, and what it does with odd features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from koilo.train.probe import fit_linear_probe


def blobs(n: int = 90, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    centres = 2 * torch.randn(3, width, generator=generator)
    return 5 + centres[labels] + torch.randn(n, width, generator=generator), labels


def test_it_finds_the_optimum_that_scikit_learn_finds() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = blobs()
    probe = fit_linear_probe(features, labels, 3, l2=0.01, steps=500)
    x = ((features - features.mean(0)) / features.std(0, correction=0)).double().numpy()
    reference = linear_model.LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-9, max_iter=2000)
    expected = reference.fit(x, labels.numpy()).predict_proba(x)
    ours = probe(features).softmax(1).detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_classes_weigh_the_same_however_many_cells_they_have() -> None:
    features, labels = blobs(300)
    keep = (labels == 0) | (torch.arange(300) < 45)
    few = fit_linear_probe(features[keep], labels[keep], 3)
    called = few(features).argmax(1)
    for name in range(3):
        assert (called[labels == name] == name).float().mean() > 0.8


def test_a_class_that_does_not_occur_is_never_called() -> None:
    features, labels = blobs()
    assert fit_linear_probe(features, labels, 5)(features).argmax(1).max() <= 2


def test_a_constant_feature_takes_no_part() -> None:
    features, labels = blobs()
    features[:, 1] = 7.0
    probe = fit_linear_probe(features, labels, 3)
    assert not probe.weight[:, 1].any()
    assert torch.isfinite(probe.bias).all()


def test_it_fits_inside_a_block_without_gradients() -> None:
    features, labels = blobs()
    with torch.no_grad():
        probe = fit_linear_probe(features, labels, 3)
    assert (probe(features).argmax(1) == labels).float().mean() > 0.9
