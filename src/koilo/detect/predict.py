"""The detector as the pipeline uses it: uint8 tiles in, boxes and scores out."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.bundle import Bundle
from koilo.config import nearest
from koilo.detect.merge import merge_boxes
from koilo.encoders.folding import fold_batchnorm
from koilo.errors import BundleError, ConfigError

MODELS = {
    "centre": "koilo.detect.model:CentreDetector",
    "dfine": "koilo.detect.dfine:DFineDetector",
}
"""Name -> class. Each takes its settings as keywords and has ``losses(images, truths)`` and
``detect(images, limit, floor)``; images are float RGB (B, 3, H, W) of 0-255."""

TILE_LIMIT = 2000
"""Most boxes taken from one tile before merging: several a nucleus, in sheets that fill it."""

_MULTIPLE = 32

Found = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class Detector:
    """A trained detector in inference form: BatchNorm folded, channels last, no gradients.

    Args:
        model: one of `MODELS`; it is copied.
        mpp: pixel size of the tiles it reads.
        tile_px: side of the tiles it reads.
        score_floor: boxes at or under this score are left out.
        device: where it computes.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mpp: float = 1.0,
        tile_px: int = 512,
        score_floor: float = 0.001,
        device: torch.device | str = "cpu",
    ) -> None:
        self.mpp, self.tile_px, self.score_floor = mpp, tile_px, score_floor
        self.device = torch.device(device)
        folded = fold_batchnorm(copy.deepcopy(model).eval())
        self.model = folded.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(self, tiles: NDArray[np.uint8]) -> Found:
        """Find positive cells in tiles of one size.

        Args:
            tiles: (B, H, W, 3) uint8 RGB at ``mpp``; any size (mirrored at right and below to a
                multiple of 32, as borders were in training).

        Returns:
            a tile each, best first: boxes (n, 4) float32 x, y, w, h in tile pixels, one box a
            cell, and scores (n,) float32 in 0-1.
        """
        if not len(tiles):
            return []
        height, width = tiles.shape[1:3]
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        if below or right:
            tiles = np.pad(tiles, ((0, 0), (0, below), (0, right), (0, 0)), mode="symmetric")
        images = torch.from_numpy(np.ascontiguousarray(tiles)).to(self.device)
        images = images.permute(0, 3, 1, 2).float()  # (B, 3, H, W), channels last in memory
        with torch.inference_mode():
            found = self.model.detect(images, limit=TILE_LIMIT, floor=self.score_floor)
        return [_finish(boxes, scores, width, height) for boxes, scores in found]


def build_detector(name: str, config: Mapping[str, Any]) -> nn.Module:
    """The model ``name`` of `MODELS`, with random weights.

    Raises:
        ConfigError: the name or a setting in ``config`` is unknown.
    """
    if name not in MODELS:
        raise ConfigError(f"There is no detector {name!r}. {nearest(name, list(MODELS))}")
    module, _, attribute = MODELS[name].partition(":")
    try:
        model: nn.Module = getattr(importlib.import_module(module), attribute)(**config)
    except TypeError as error:
        raise ConfigError(
            f"Detector {name!r} does not take these settings: {error}. "
            f"Given: {', '.join(config) or 'none'}. Remove the one that is unknown."
        ) from error
    return model


def load_detector(bundle: Bundle, device: torch.device | str = "cpu") -> Detector:
    """The bundle's detector, ready to predict.

    Raises:
        BundleError: the bundle has no detector, or its weights do not fit the model it names.
    """
    spec = bundle.stage("detector")
    model = build_detector(spec["model"], spec.get("config", {}))
    tensors = {name: torch.from_numpy(value) for name, value in bundle.tensors("detector").items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise BundleError(
            f"The detector weights of bundle {bundle.name} do not fit the model "
            f"{spec['model']!r} it names ({str(error).splitlines()[-1].strip()}). "
            "Weights and bundle.json must come from one training. Fetch the bundle again."
        ) from error
    return Detector(
        model,
        mpp=float(spec["mpp"]),
        tile_px=int(spec["tile_px"]),
        score_floor=float(spec["score_floor"]),
        device=device,
    )


def _finish(
    boxes: Tensor, scores: Tensor, width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """To arrays, without boxes centred on the padding, one box a cell."""
    rows = boxes.float().cpu().numpy()
    values = scores.float().cpu().numpy()
    centres = rows[:, :2] + rows[:, 2:] / 2
    inside = (centres >= 0).all(axis=1) & (centres < (width, height)).all(axis=1)
    rows, values = rows[inside], values[inside]
    kept = merge_boxes(rows, values)
    return rows[kept], values[kept]
