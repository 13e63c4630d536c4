"""Slides drawn of discs, and models that need no training to read them: dark discs are cells."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.bundle import Bundle, write_bundle
from koilo.mil import build_head
from koilo.slides import write_pyramid

GLASS = (244, 243, 245)
CELLS = ["NILM", "LSIL", "HSIL"]
SLIDES = ["NILM", "LSIL", "HSIL+SCC"]
MPP = 0.5


class DarkDetector(nn.Module):
    """Peaks of darkness in green: nuclei, whatever their class."""

    def __init__(self) -> None:
        super().__init__()
        self.box_px = nn.Parameter(torch.tensor(20.0))

    def detect(self, images: Tensor, *, limit: int, floor: float) -> list[tuple[Tensor, Tensor]]:
        """See `koilo.detect.MODELS`."""
        green = images[:, 1:2]
        for size in (9, 3):  # wide enough that no disc leaves a plateau of equal peaks
            green = functional.avg_pool2d(green, size, 1, size // 2, count_include_pad=False)
        scores = torch.sigmoid((110 - green) / 8)[:, 0]  # (B, H, W)
        found = []
        for one in scores:
            peak = functional.max_pool2d(one[None], 9, 1, 4)[0] == one
            y, x = torch.nonzero(peak & (one > max(floor, 0.05)), as_tuple=True)
            values, order = torch.topk(one[y, x], min(limit, len(x)))
            side = self.box_px.expand(len(order))
            left, top = x[order] + 0.5 - side / 2, y[order] + 0.5 - side / 2
            found.append((torch.stack([left, top, side, side], 1), values))
        return found


class ColourNet(nn.Module):
    """Features: mean colour of the crop's middle; classes by how red it is."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, n_outputs)

    def features(self, images: Tensor) -> Tensor:
        """Float RGB (B, 3, P, P) of 0-255 to (B, 3)."""
        side = images.shape[-1]
        middle = images[..., side // 2 - 3 : side // 2 + 3, side // 2 - 3 : side // 2 + 3]
        return middle.mean((2, 3)) / 255


def register() -> None:
    """Make the toy models known by name, in this process."""
    from koilo.cells import model
    from koilo.detect import MODELS

    MODELS["toy-dark"] = "tests.pipeline.toys:DarkDetector"
    model.MODELS["toy-colour"] = "tests.pipeline.toys:ColourNet"


def write_toy_bundle(folder: Path, *, head: str = "max", top_k: int = 1024) -> Bundle:
    """A bundle that finds dark discs and calls red ones HSIL."""
    torch.manual_seed(0)
    cells = ColourNet(len(CELLS))
    with torch.no_grad():
        cells.head.weight.copy_(torch.tensor([[0.0, 0, 0], [0, 0, 0], [20, 0, -20]]))
        cells.head.bias.copy_(torch.tensor([0.0, -4, -6]))
    slide = build_head(head, len(CELLS), len(SLIDES), {})
    if head == "max":
        slide.load_state_dict({"classify.weight": torch.eye(3), "classify.bias": torch.zeros(3)})
    models = {"detector": DarkDetector(), "cells": cells, "head": slide}
    tensors = {
        stage: {name: value.numpy() for name, value in model.state_dict().items()}
        for stage, model in models.items()
    }
    return write_bundle(folder, toy_spec(head, top_k), tensors, "# A toy\n")


def toy_spec(head: str, top_k: int) -> dict[str, Any]:
    """bundle.json of the toy."""
    point = {"sensitivity": 0.95, "specificity": 0.9, "n": 40, "n_positive": 20, "set": "toy"}
    return {
        "name": "toy",
        "task": "cytology",
        "stages": {
            "detector": {"model": "toy-dark", "config": {}, "mpp": 1.0, "tile_px": 512,
                         "top_k": top_k, "score_floor": 0.001},
            "cells": {"model": "toy-colour", "config": {}, "mpp": 0.5, "input_px": 48,
                      "classes": CELLS, "folds": {}},
            "head": {"model": head, "config": {"d_in": 3, "inputs": "log_p"},
                     "classes": SLIDES, "folds": {"HSIL": "HSIL+SCC"}, "top_k": 64},
        },
        "operating_points": {
            "sens95": {"threshold": 0.5, **point},
            "sens95_field": {"threshold": 0.3, **point},
        },
        "not_assessed": ["glandular lesions"],
        "trained_on": ["nothing"],
    }  # fmt: skip


def draw_cells(
    size: tuple[int, int], n_cells: int, n_lesions: int, *, seed: int = 0, mpp: float = MPP
) -> np.ndarray:
    """Pale discs with a dark middle on glass, the first ``n_lesions`` with a red one; uint8 RGB."""
    width, height = size
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), GLASS, np.uint8)
    columns = max(1, int(np.sqrt(n_cells * width / height)))
    rows = -(-n_cells // columns)
    places = generator.permutation(columns * rows)[:n_cells]
    jitter = generator.uniform(0.35, 0.65, (n_cells, 2))
    for index, place in enumerate(places):
        x = int((place % columns + jitter[index, 0]) * width / columns)
        y = int((place // columns + jitter[index, 1]) * height / rows)
        lesion = index < n_lesions
        cv2.circle(image, (x, y), round(16 / mpp), (160, 183, 193), -1, cv2.LINE_AA)
        colour, radius_um = ((190, 20, 30), 6.5) if lesion else ((76, 50, 81), 4.5)
        cv2.circle(image, (x, y), round(radius_um / mpp), colour, -1, cv2.LINE_AA)
    return image


def write_slide(path: Path, image: np.ndarray, mpp: float | None = MPP, **more: Any) -> Path:
    """``image`` as a pyramidal TIFF that arrived an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = image.shape[:2]
    write_pyramid(
        path, (width, height), mpp, lambda x, y, w, h: image[y : y + h, x : x + w],
        tile_px=256, quality=92, threads=1, **more,
    )  # fmt: skip
    return settle(path)


def settle(path: Path) -> Path:
    """Give a file the time of an hour ago, so that no run waits to see whether it grows."""
    then = time.time() - 3600
    os.utime(path, (then, then))
    return path
