"""The verb features: a frozen encoder by path over a crop store, to bags that a head trains on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import ConvNextConfig, ConvNextModel

from koilo.datasets.crop_store import CropStoreWriter, StoredCells, StoredSlide
from koilo.encoders.zoo import build_encoder
from koilo.errors import ConfigError, ManifestError
from koilo.mil import read_bags
from koilo.mil.encode import FeaturesConfig, _bag_set, features

SPLITS = ("train", "train", "validation", "unseen", "unseen_twin", "train")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six slides of three cells, the last without any; slide 4 shows slide 3 again."""
    writer = CropStoreWriter(tmp_path / "store", n_crops=15, crop_px=32, mpp=0.5)
    writer.crops[:] = np.random.default_rng(0).integers(0, 255, writer.crops.shape)
    names = [f"s{i}" for i in range(6)]
    cells = StoredCells(
        slide_id=np.repeat(names[:5], 3),
        rank=np.tile([0, 1, 2], 5),
        detector_score=np.tile([0.9, 0.5, 0.1], 5).astype(np.float32),
        given=np.array([""] * 15),
        truth=np.array([""] * 15),
    )
    slides = [
        StoredSlide(name, "C01", split, "LSIL" if i % 2 else "NILM", "s3" if i == 4 else "")
        for i, (name, split) in enumerate(zip(names, SPLITS, strict=True))
    ]
    writer.finish(slides, cells, {})
    return tmp_path / "store"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's own encoder as transformers saves it."""
    torch.manual_seed(0)
    config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])
    ConvNextModel(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_an_encoders_folder_gives_bags_of_standardised_features(
    tmp_path: Path, store: Path, folder: Path
) -> None:
    config = FeaturesConfig(store, str(folder), out=tmp_path / "bags.npz", top_k=2, device="cpu")
    features(config)
    bags = read_bags(tmp_path / "bags.npz")
    assert bags.bag_ids == ("s0", "s1", "s2", "s3", "s4")
    assert bags.splits == SPLITS[:5]
    assert bags.groups[3:] == ("s3", "s3 twin")
    assert bags.features.shape == (10, 20)
    assert bags.probabilities.shape == (10, 0)
    training = np.concatenate(bags.rows[:2])
    np.testing.assert_allclose(bags.features[training].mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(bags.features[training].std(axis=0), 1, atol=1e-2)


def test_features_are_the_encoders_last_map_of_each_crop(
    tmp_path: Path, store: Path, folder: Path
) -> None:
    """Compared by their order along each feature, which no scaling changes."""
    out = tmp_path / "bags.npz"
    features(FeaturesConfig(store, str(folder), out=out, batch=4, device="cpu"))
    crops = np.load(store / "crops.npy").astype(np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = torch.from_numpy(((crops - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        encoder = ConvNextModel.from_pretrained(folder).eval()
        expected = encoder(images).last_hidden_state.mean((2, 3)).numpy()
    expected = (expected - expected[:6].mean(axis=0)) / expected[:6].std(axis=0)
    np.testing.assert_allclose(read_bags(out).features, expected, atol=0.02)


def test_a_trunk_of_koilos_own_comes_with_its_weights(tmp_path: Path, store: Path) -> None:
    trunk = build_encoder("plain")
    save_file(trunk.state_dict(), tmp_path / "trunk.safetensors")
    config = FeaturesConfig(store, "plain", tmp_path / "trunk.safetensors", tmp_path / "b.npz")
    features(replace(config, device="cpu"))
    assert read_bags(tmp_path / "b.npz").features.shape == (15, trunk.channels[-1])


def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"top_k is 0.*'plane' is neither.*needs --start"):
        FeaturesConfig(tmp_path, "plane", top_k=0)
    with pytest.raises(ConfigError, match="brings its own weights"):
        FeaturesConfig(tmp_path, str(folder), tmp_path / "trunk.safetensors")


def test_a_store_without_training_slides_is_refused(tmp_path: Path, folder: Path) -> None:
    writer = CropStoreWriter(tmp_path / "s", n_crops=1, crop_px=32, mpp=0.5)
    empty = np.array([""])
    cells = StoredCells(np.array(["a"]), np.array([0]), np.ones(1, np.float32), empty, empty)
    writer.finish([StoredSlide("a", "C01", "test", "NILM")], cells, {})
    with pytest.raises(ManifestError, match="no slide of split train"):
        features(FeaturesConfig(tmp_path / "s", str(folder), out=tmp_path / "b.npz"))


def test_a_channel_that_is_dead_in_training_is_zero_where_it_wakes() -> None:
    """Over its deviation of 0 it would be infinite in the file's half precision."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    x[:4, 1], x[4:, 1] = 0.0, 0.3
    slides = [StoredSlide("a", "C01", "train", "NILM"), StoredSlide("b", "C02", "test", "NILM")]
    bags = _bag_set(slides, x, [np.arange(4), np.arange(4, 8)])
    assert (bags.features[:, 1] == 0).all()
    assert np.isfinite(bags.features.astype(np.float16)).all()


def test_crops_are_normalised_as_the_folder_says(tmp_path: Path, store: Path, folder: Path) -> None:
    stored = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))
    features(FeaturesConfig(store, str(folder), out=tmp_path / "bags.npz", device="cpu"))
    crops = np.load(store / "crops.npy").astype(np.float32) / 255
    images = torch.from_numpy(((crops - 0.5) / np.array([0.25, 0.5, 0.5])).transpose(0, 3, 1, 2))
    with torch.no_grad():
        encoder = ConvNextModel.from_pretrained(folder).eval()
        expected = encoder(images.float()).last_hidden_state.mean((2, 3)).numpy()
    expected = (expected - expected[:6].mean(axis=0)) / expected[:6].std(axis=0)
    np.testing.assert_allclose(read_bags(tmp_path / "bags.npz").features, expected, atol=0.02)
