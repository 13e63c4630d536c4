import dataclasses

import numpy as np
import pytest
import torch

from koilo.bundle import load_bundle, write_bundle
from koilo.detect import MODELS, Detector, build_detector, load_detector
from koilo.detect.dfine import DFineDetector
from koilo.detect.model import CentreDetector, read_centres
from koilo.detect.targets import TileTruth
from koilo.errors import BundleError, ConfigError

SMALL = {
    "centre": {"n_stages": 2, "width": 8},
    "dfine": {"num_queries": 20, "settings": {"num_denoising": 4}},
}


def small(name):
    torch.manual_seed(0)
    return build_detector(name, SMALL[name])


def two_truths(size=96):
    valid = np.ones((size, size), bool)
    boxes = np.array([[20, 30, 20.5, 20.5], [60, 50, 20.5, 20.5]], np.float32)
    some = TileTruth(boxes, np.array([True, False]), valid)
    none = TileTruth(np.zeros((0, 4), np.float32), np.zeros(0, bool), valid)
    return [some, none]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_finite_gradients_to_all_that_it_learns(name):
    model = small(name).train()
    images = torch.rand(2, 3, 96, 96) * 255
    losses = model.losses(images, two_truths())
    torch.stack(list(losses.values())).sum().backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
    assert len(grads) > 10
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)
    assert any(bool(grad.any()) for grad in grads)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_reads_a_batch_as_it_reads_one_by_one(name):
    detector = Detector(small(name), score_floor=0.0)
    tiles = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)
    together = detector.predict(tiles)
    for tile, (boxes, scores) in zip(tiles, together, strict=True):
        alone_boxes, alone_scores = detector.predict(tile[None])[0]
        assert boxes.shape == (len(scores), 4)
        assert boxes.dtype == scores.dtype == np.float32
        assert len(scores) > 0
        assert (np.diff(scores) <= 0).all()
        assert ((scores >= 0) & (scores <= 1)).all()
        np.testing.assert_allclose(scores, alone_scores, atol=1e-4)
        assert len(boxes) == len(alone_boxes)


def test_folding_batchnorm_changes_no_box():
    model = small("centre")
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 64, 64) * 255)
    tiles = np.random.default_rng(1).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        heat, _ = model.eval()(images)
        folded, _ = Detector(model).model(images)
    torch.testing.assert_close(heat, folded, atol=1e-3, rtol=1e-3)
    assert model.training is False
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_tiles_of_odd_size_are_padded_and_no_box_lies_on_the_padding():
    detector = Detector(small("centre"), score_floor=0.0)
    tile = np.random.default_rng(2).integers(0, 255, (1, 45, 70, 3), dtype=np.uint8)
    boxes, _ = detector.predict(tile)[0]
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    assert len(boxes) > 0
    assert (centres >= 0).all()
    assert (centres < (70, 45)).all()
    assert detector.predict(np.zeros((0, 64, 64, 3), np.uint8)) == []


def test_a_peak_is_read_where_it_lies_with_its_box():
    scores = torch.zeros(16, 16)
    scores[5, 9], scores[5, 10], scores[12, 3] = 0.9, 0.6, 0.4
    boxes = torch.zeros(4, 16, 16)
    boxes[:, 5, 9] = torch.tensor([0.25, -0.25, np.log(2.0), 0.0])
    boxes[0, 5, 10] = -1.0
    found, values = read_centres(scores, boxes, box_px=20.0, limit=10, floor=0.1)
    assert values.tolist() == pytest.approx([0.9, 0.4])
    x, y, w, h = found[0].tolist()
    assert (x + w / 2, y + h / 2) == pytest.approx((19.5, 10.5))
    assert (w, h) == pytest.approx((40.0, 20.0))
    assert len(read_centres(scores, boxes, box_px=20.0, limit=1, floor=0.1)[1]) == 1


def test_the_weaker_of_two_touching_nuclei_is_read_though_it_is_no_maximum():
    scores = torch.zeros(16, 16)
    scores[5, 6:11] = torch.tensor([0.9, 0.7, 0.6, 0.5, 0.4])  # falls from one nucleus to the next
    boxes = torch.zeros(4, 16, 16)
    boxes[0, 5, 6:11] = torch.tensor([0.0, -1.0, -2.0, 1.0, 0.0])
    found, values = read_centres(scores, boxes, box_px=20.0, limit=10, floor=0.1)
    assert values.tolist() == pytest.approx([0.9, 0.4])
    assert (found[:, 0] + found[:, 2] / 2).tolist() == pytest.approx([13.0, 21.0])


def test_the_nucleus_channel_shares_in_the_score_as_set():
    model = small("centre").eval()
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        p = torch.sigmoid(model(images)[0])[0]
        for share, wanted in ((0.0, p[0]), (1.0, p[1]), (0.5, (p[0] + p[1]) / 2)):
            model.nucleus_share = share
            _, scores = model.detect(images, limit=5, floor=0.0)[0]
            assert float(scores[0]) == pytest.approx(float(wanted.max()), abs=1e-6)


def test_dfine_learns_its_backbones_batchnorm_and_refuses_a_tile_too_small():
    model = DFineDetector(num_queries=60)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 20
    with pytest.raises(ConfigError, match="places to start"):
        model(torch.zeros(1, 3, 64, 64))


def test_an_unknown_model_or_setting_is_named_with_what_is_near():
    with pytest.raises(ConfigError, match="centre"):
        build_detector("center", {})
    with pytest.raises(ConfigError, match="widht"):
        build_detector("centre", {"widht": 3})


def write_toy_bundle(folder, model, config):
    stage = {"model": "centre", "config": config, "mpp": 1.0, "tile_px": 64, "score_floor": 0.01}
    spec = {
        "name": "toy",
        "task": "cytology",
        "stages": {
            "detector": {**stage, "top_k": 16},
            "cells": {"model": "x", "classes": ["NILM", "LSIL"]},
            "head": {"model": "x", "classes": ["NILM", "LSIL"]},
        },
        "operating_points": {},
        "not_assessed": [],
        "trained_on": [],
    }
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    nothing = {"weight": np.zeros(1)}
    write_bundle(folder, spec, {"detector": tensors, "cells": nothing, "head": nothing}, "")
    return load_bundle(folder)


def test_a_bundles_detector_finds_what_the_trained_model_finds(tmp_path):
    model = small("centre")
    detector = load_detector(write_toy_bundle(tmp_path / "b", model, SMALL["centre"]), "cpu")
    assert (detector.mpp, detector.tile_px, detector.score_floor) == (1.0, 64, 0.01)
    tiles = np.random.default_rng(3).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    _, scores = detector.predict(tiles)[0]
    _, wanted = Detector(model, score_floor=0.01).predict(tiles)[0]
    assert len(scores) > 0
    assert scores[0] == pytest.approx(wanted[0], rel=0.02)  # weights travel in half precision


def test_weights_of_another_model_are_refused(tmp_path):
    bundle = write_toy_bundle(tmp_path / "b", CentreDetector(n_stages=2, width=8), {"n_stages": 3})
    with pytest.raises(BundleError, match="do not fit"):
        load_detector(bundle)
    spec = {**bundle.spec, "stages": {}}
    with pytest.raises(BundleError, match="no detector stage"):
        load_detector(dataclasses.replace(bundle, spec=spec))
