"""Published weights come in by our own code, and BatchNorm comes back without a trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from koilo.encoders.nanodet import STAGES, NanoDetTrunk
from koilo.encoders.pretrained import calibrate_batchnorm, conv_units, read_tfjs_trunk
from koilo.errors import BundleError


@pytest.fixture
def tfjs(tmp_path: Path) -> tuple[Path, Path, list[tuple[np.ndarray, np.ndarray]]]:
    """A made-up graph file in the package's layout, with its kernels (HWIO) and biases."""
    random = np.random.default_rng(0)
    kernels, entries, data = [], [], b""
    for k, unit in enumerate(conv_units(NanoDetTrunk(4))):
        out_channels, in_channels = unit[0].weight.shape[:2]
        kernel = (
            random.normal(size=(3, 3, in_channels, out_channels)) / (3 * in_channels**0.5)
        ).astype(np.float16)
        bias = random.normal(size=out_channels).astype(np.float16)
        kernels.append((kernel.astype(np.float32), bias.astype(np.float32)))
        for name, value in (
            ("PartitionedCall/split" + (f"_{k}" if k else ""), kernel),
            (f"unknown_{2 * k}", bias),
        ):
            quantization = {"dtype": "float16"}
            entries.append(
                {
                    "name": name,
                    "shape": value.shape,
                    "dtype": "float32",
                    "quantization": quantization,
                }
            )
            data += value.tobytes()
    (tmp_path / "net.json").write_text(json.dumps({"weightsManifest": [{"weights": entries}]}))
    (tmp_path / "net.bin").write_bytes(data)
    return tmp_path / "net.json", tmp_path / "net.bin", kernels


def literal_maps(images_bgr, kernels):
    """The published graph, written out: BGR in, biases, no BatchNorm."""
    number = iter(range(len(kernels)))

    def unit(x, stride=1):
        kernel, bias = kernels[next(number)]
        weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        x = functional.conv2d(x, weight, torch.from_numpy(bias), stride, 1)
        return functional.leaky_relu(x, 0.1)

    mean = torch.tensor([103.53, 116.28, 123.675]).view(1, 3, 1, 1)
    std = torch.tensor([57.375, 57.12, 58.395]).view(1, 3, 1, 1)
    x = functional.max_pool2d(unit((images_bgr - mean) / std, 2), 3, 2, 1)
    maps = []
    for _, n_blocks, stride in STAGES:
        x = y = unit(x, stride)
        for _ in range(n_blocks):
            a = unit(y)
            y = torch.cat([unit(a), a], 1)
        x = torch.cat([unit(y), x], 1)
        maps.append(x)
    return maps


def test_the_trunk_computes_the_published_graph(tfjs) -> None:
    json_path, bin_path, kernels = tfjs
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    trunk = read_tfjs_trunk(json_path, bin_path)
    with torch.no_grad():
        ours, literal = trunk(images), literal_maps(images.flip(1), kernels)
    for our, their in zip(ours, literal, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-3, atol=1e-3)


def test_calibration_changes_statistics_but_not_the_output(tfjs) -> None:
    trunk = read_tfjs_trunk(*tfjs[:2])
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        before = trunk(images)
        calibrate_batchnorm(trunk, [images, images.flip(2)])
        torch.testing.assert_close(trunk(images)[-1], before[-1], rtol=1e-3, atol=1e-3)
        assert trunk.stem[1].running_mean.abs().max() > 0.05
        trunk.train()
        in_training = trunk(images)[0]
        gap = (in_training - before[0]).square().mean() / before[0].square().mean()
    assert gap < 0.1  # batch statistics are those it was calibrated on


def test_another_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text('{"weightsManifest": [{"weights": []}]}')
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(BundleError, match="convolution 0"):
        read_tfjs_trunk(tmp_path / "net.json", tmp_path / "net.bin")
