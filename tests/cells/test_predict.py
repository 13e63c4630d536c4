"""The classifier gives the net's own numbers, folded into classes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from koilo.cells.predict import CellClassifier, build_cell_net, load_classifier, output_folding
from koilo.errors import BundleError
from tests.cells.conftest import OUTPUTS, toy_net

CPU = torch.device("cpu")


def crops(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)


def classifier(**changes) -> CellClassifier:
    plain = {
        "outputs": OUTPUTS,
        "classes": ["NILM", "LSIL", "HSIL"],
        "folds": {"background": "NILM"},
        "mpp": 0.5,
        "input_px": 32,
        "device": CPU,
    }
    return CellClassifier(toy_net(), **{**plain, **changes})


def test_probabilities_are_the_nets_with_background_counted_as_nilm() -> None:
    seen = crops(5)
    with torch.no_grad():
        images = torch.from_numpy(seen).permute(0, 3, 1, 2).float()
        literal = toy_net()(images).softmax(1).numpy()
    features, p = classifier().predict(seen)
    assert features.shape == (5, 2 * 64)
    assert features.dtype == p.dtype == np.float32
    np.testing.assert_allclose(p[:, 0], literal[:, 0] + literal[:, 3], atol=1e-4)
    np.testing.assert_allclose(p[:, 1:], literal[:, 1:3], atol=1e-4)


def test_many_crops_in_batches_give_what_each_gives_alone() -> None:
    seen = crops(70)
    model = classifier()
    features, p = model.predict(seen)
    for index in (0, 63, 64, 69):
        alone = model.predict(seen[index : index + 1])
        np.testing.assert_allclose(alone[0][0], features[index], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(alone[1][0], p[index], atol=1e-4)


def test_no_crop_gives_empty_arrays_of_the_right_width() -> None:
    features, p = classifier().predict(crops(0))
    assert features.shape == (0, 128)
    assert p.shape == (0, 3)


def test_eight_views_do_not_care_how_a_cell_lies() -> None:
    seen = crops(2)
    model = classifier(views=8)
    p = model.predict(seen)[1]
    for turned in (np.rot90(seen, axes=(1, 2)), seen[:, ::-1], seen.transpose(0, 2, 1, 3)):
        np.testing.assert_allclose(model.predict(np.ascontiguousarray(turned))[1], p, atol=1e-4)
    assert np.abs(classifier().predict(seen)[1] - p).max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 31, 32, 3), (1, 32, 32), (1, 32, 32, 4)])
def test_crops_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        classifier().predict(np.zeros(shape, np.uint8))


def test_a_bundle_gives_its_own_classifier(toy_bundle) -> None:
    model = load_classifier(toy_bundle, CPU)
    assert (model.mpp, model.input_px) == (0.5, 32)
    assert model.classes == ("NILM", "LSIL", "HSIL")
    seen = crops(4)
    # Weights ship in half precision.
    np.testing.assert_allclose(model.predict(seen)[1], classifier().predict(seen)[1], atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ["NILM", "LSIL"], "folds": {}}, "does not fit"),
        ({"folds": {}}, "background has no place"),
        ({"config": {"encoder": "plain"}}, "does not fit"),
        ({"config": {"encoder": "nanodet", "wings": 2}}, "wings"),
        ({"model": "poold"}, "Did you mean 'pooled'"),
    ],
)
def test_a_cell_stage_that_does_not_fit_is_refused(toy_bundle, change, message) -> None:
    stages = dict(toy_bundle.spec["stages"])
    stages["cells"] = {**stages["cells"], **change}
    bad = dataclasses.replace(toy_bundle, spec={**toy_bundle.spec, "stages": stages})
    with pytest.raises(BundleError, match=message):
        load_classifier(bad, CPU)


def test_a_class_without_an_output_is_refused() -> None:
    with pytest.raises(ValueError, match="no output gives class HSIL"):
        output_folding(["NILM"], ["NILM", "HSIL"], {})


def test_what_is_frozen_stays_as_it_was_in_training() -> None:
    net = build_cell_net("pooled", n_outputs=2, encoder="nanodet", frozen=1)
    net.train()
    before = {name: value.clone() for name, value in net.trunk.stem.state_dict().items()}
    moved = net.trunk.stages[0].entry[1].running_mean.clone()
    net(torch.rand(4, 3, 32, 32) * 255).sum().backward()
    for name, value in net.trunk.stem.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(net.trunk.stages[0].entry[1].running_mean, moved)
    assert all(parameter.grad is None for parameter in net.trunk.stem.parameters())
    assert net.head.weight.grad is not None
