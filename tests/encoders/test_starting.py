"""Starting weights come from local files and folders, fit or are refused; none are fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from koilo.bundle import load_bundle
from koilo.encoders.starting import (
    encoder_of_folder,
    load_start,
    start_files,
    statistics_of_folder,
)
from koilo.encoders.zoo import build_encoder
from koilo.errors import TrainingError
from koilo.train.checkpoint import write_weights

_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8,
        "image_size": 32}  # fmt: skip


def published(kind: str) -> PreTrainedModel:
    """A model as others would save it: with a classifier, a pooler or a mask token."""
    torch.manual_seed(0)
    if kind == "convnext":
        config = ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 2, 1], num_labels=3)
        return ConvNextForImageClassification(config)
    if kind == "resnet":
        config = ResNetConfig(
            embedding_size=4, hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], layer_type="basic"
        )
        return ResNetModel(config)
    if kind == "dinov2":
        return Dinov2Model(Dinov2Config(**_VIT))
    return ViTModel(ViTConfig(intermediate_size=64, **_VIT))


@pytest.mark.parametrize("kind", ["convnext", "resnet", "vit", "dinov2"])
def test_a_folder_of_transformers_gives_its_own_last_map(kind: str, tmp_path: Path) -> None:
    model = published(kind).eval()
    model.save_pretrained(tmp_path)
    name, arguments = encoder_of_folder(tmp_path)
    trunk = build_encoder(name, **arguments).eval()
    load_start(trunk, tmp_path)
    images = torch.rand(2, 3, 32, 32) * 255
    with torch.no_grad():
        x = (images - trunk.mean) / trunk.std
        base = model.convnext if kind == "convnext" else model
        expected = base(x, output_hidden_states=True)
        ours = trunk(images)[-1]
    if kind in ("vit", "dinov2"):
        ours, expected_map = ours.flatten(2).transpose(1, 2), expected.last_hidden_state[:, 1:]
    else:
        expected_map = expected.last_hidden_state
    torch.testing.assert_close(ours, expected_map)


def test_a_plain_file_of_the_same_trunk_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one, other = (build_encoder("plain", widths=(4, 8), blocks=(1, 1)) for _ in range(2))
    write_weights(tmp_path / "trunk.safetensors", one, {})
    load_start(other, tmp_path / "trunk.safetensors")
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_the_trunk_of_a_bundles_cell_model_is_taken_and_its_files_are_recorded() -> None:
    folder = load_bundle("cytology").folder
    trunk = build_encoder("nanodet_frozen_norm")
    load_start(trunk, folder)
    stored = load_bundle("cytology").tensors("cells")
    kernel = trunk.state_dict()["stem.0.weight"]
    torch.testing.assert_close(kernel, torch.from_numpy(stored["trunk.stem.0.weight"]).float())
    assert start_files(folder) == (folder / "cells.safetensors",)


def test_a_built_in_bundle_may_be_named() -> None:
    assert start_files(Path("cytology")) == start_files(load_bundle("cytology").folder)


def test_a_bundle_whose_cell_model_has_another_trunk_is_refused() -> None:
    with pytest.raises(TrainingError, match="do not fit the trunk ConvNextTrunk"):
        load_start(build_encoder("convnext_twin"), load_bundle("cytology").folder)


def test_frozen_statistics_stay_as_they_are_in_training() -> None:
    trunk = build_encoder("nanodet_frozen_norm").train()
    before = {n: v.clone() for n, v in trunk.state_dict().items() if "running" in n}
    trunk(torch.rand(2, 3, 32, 32) * 255)[-1].sum().backward()
    after = trunk.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.grad is not None for p in trunk.parameters())


def test_another_size_is_refused_with_the_settings_that_fit(tmp_path: Path) -> None:
    published("convnext").save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match=r"encoder: convnext_tiny with .*\[4, 6, 8, 10\]"):
        load_start(build_encoder("convnext_atto"), tmp_path)


def test_another_graph_is_refused(tmp_path: Path) -> None:
    published("vit").save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="holds a vit, the trunk is a resnet"):
        load_start(build_encoder("resnet_twin"), tmp_path)
    with pytest.raises(TrainingError, match="none of transformers"):
        load_start(build_encoder("plain"), tmp_path)


@pytest.mark.parametrize("written", [None, {"model_type": "bert"}, {"model_type": "vit"}, []])
def test_a_folder_without_a_known_config_is_refused(written, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(TrainingError, match=r"no config\.json of a graph that koilo builds"):
        encoder_of_folder(tmp_path)


def test_a_folder_without_all_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    published("vit").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    dropped = next(name for name in tensors if name.endswith("layernorm.weight"))
    save_file({k: v for k, v in tensors.items() if k != dropped}, path, {"format": "pt"})
    name, arguments = encoder_of_folder(tmp_path)
    with pytest.raises(TrainingError, match="the folder lacks"):
        load_start(build_encoder(name, **arguments), tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "trunk.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match="do not fit the trunk PlainTrunk"):
        load_start(build_encoder("plain"), tmp_path / "trunk.safetensors")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="do not fit the trunk"):
        load_start(nn.Module(), tmp_path / "absent.safetensors")


def test_the_files_of_a_start_are_those_whose_hashes_are_recorded(tmp_path: Path) -> None:
    assert start_files(tmp_path / "a.safetensors") == (tmp_path / "a.safetensors",)
    assert [path.name for path in start_files(tmp_path)] == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ViTConfig(hidden_act="relu", **_VIT), "hidden_act is 'relu'"),
        (ResNetConfig(downsample_in_first_stage=True), "downsample_in_first_stage is True"),
        (ResNetConfig(downsample_in_bottleneck=True), "downsample_in_bottleneck is True"),
    ],
)
def test_a_graph_whose_tensors_fit_and_whose_arithmetic_differs_is_refused(
    config: ViTConfig | ResNetConfig, said: str, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match=said):
        encoder_of_folder(tmp_path)


def test_a_trunk_with_other_attention_heads_is_refused(tmp_path: Path) -> None:
    published("vit").save_pretrained(tmp_path)
    sizes = {"width": 16, "depth": 2, "patch_px": 8, "position_px": 32}
    with pytest.raises(TrainingError, match=r"has 2 heads, the trunk 4.*\"heads\": 2"):
        load_start(build_encoder("vit_small", heads=4, **sizes), tmp_path)


def test_a_folders_own_normalisation_is_read_and_a_wrong_one_refused(tmp_path: Path) -> None:
    assert statistics_of_folder(tmp_path) is None
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}))
    mean, std = statistics_of_folder(tmp_path)
    assert (mean, std) == (pytest.approx([127.5] * 3), pytest.approx([51.0] * 3))
    path.write_text(json.dumps({"do_normalize": False}))
    assert statistics_of_folder(tmp_path) == ([0.0] * 3, pytest.approx([255.0] * 3))
    for wrong in ("[]", "{}", '{"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}'):
        path.write_text(wrong)
        with pytest.raises(TrainingError, match="does not say how images are normalised"):
            statistics_of_folder(tmp_path)
