"""The model that SWIFT trains, and what it says of the slides of a crop store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from koilo.cells.model import MeanCellNet
from koilo.datasets.crop_store import CropStore, StoredSlide
from koilo.encoders.folding import fold_batchnorm
from koilo.errors import TrainingError
from koilo.mil.bags import BagSet
from koilo.mil.heads import build_head
from koilo.train.joint import Classes

_BATCH_CPU, _BATCH_GPU = 64, 512
"""Crops read at a time: what a CPU's cache holds is read half as fast again as 256 at once."""


class SwiftModel(nn.Module):
    """Student, head, the teacher that follows the student, and the head's own average.

    ``student`` is the cell network (θ1 and θ3), ``head`` the slide head (θ2).
    """

    def __init__(self, student: MeanCellNet, head: nn.Module) -> None:
        super().__init__()
        self.student, self.head = student, head
        self.teacher = deepcopy(student).requires_grad_(False)
        self.head_average = deepcopy(head).requires_grad_(False)

    def train(self, mode: bool = True) -> SwiftModel:
        """Set training mode of what learns; what follows stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        self.head_average.eval()
        return self

    def parts(self, *, averaged: bool) -> tuple[MeanCellNet, nn.Module]:
        """The cell network and head that belong together: both averages, or neither."""
        return (self.teacher, self.head_average) if averaged else (self.student, self.head)

    def restart(self, *, averaged: bool) -> None:
        """Make the chosen parts the student and what follows it: a further stage begins there."""
        net, head = self.parts(averaged=averaged)
        self.student.load_state_dict(net.state_dict())
        self.teacher.load_state_dict(net.state_dict())
        self.head.load_state_dict(head.state_dict())
        self.head_average.load_state_dict(head.state_dict())


def build_swift_model(
    classes: Classes,
    *,
    encoder: str = "convnext_twin",
    encoder_config: Mapping[str, Any] | None = None,
    head: str = "dense_attention",
    head_config: Mapping[str, Any] | None = None,
) -> SwiftModel:
    """A model with random weights; seed the generators before.

    Raises:
        ConfigError: encoder, head or one of their settings is unknown.
    """
    student = MeanCellNet(len(classes.cells), encoder, encoder_config)
    return SwiftModel(
        student, build_head(head, student.n_features, len(classes.slides), head_config or {})
    )


@torch.no_grad()
def read_cells(
    net: nn.Module, store: CropStore, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, D) and class probabilities (N, C) of crops, unchanged; sets eval mode."""
    device = next(net.parameters()).device
    # A third faster on CPUs, on a copy: the net itself may be in training.
    net = fold_batchnorm(deepcopy(net.eval()))
    if device.type == "cpu":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = _BATCH_CPU if device.type == "cpu" else _BATCH_GPU
    features, probabilities = [], []
    for start in range(0, len(rows), size):
        crops = np.ascontiguousarray(store.crops[rows[start : start + size]])
        images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()  # (B, 3, P, P)
        z = net.features(images)  # type: ignore[operator]
        features.append(z.float().cpu().numpy())
        probabilities.append(net.head(z).float().softmax(1).cpu().numpy())  # type: ignore[operator]
    return np.concatenate(features), np.concatenate(probabilities)


def refuse_empty_bags(store: CropStore, slides: Sequence[StoredSlide]) -> None:
    """Refuse slides that cannot be judged.

    Raises:
        TrainingError: a slide has no cell, or there is no slide.
    """
    empty = [slide.slide_id for slide in slides if not len(store.bag(slide.slide_id))]
    if empty or not slides:
        raise TrainingError(
            f"{store.folder}: slides without a cell: {', '.join(empty[:5]) or 'no slide at all'}. "
            "Every slide needs one to be judged. Leave them out of the manifest."
        )


def read_bags_of_store(
    net: nn.Module, store: CropStore, slides: Sequence[StoredSlide], top_k: int
) -> BagSet:
    """The bags of slides as a frozen cell network reads them, for heads that do not train it.

    Raises:
        TrainingError: a slide has no cell.
    """
    refuse_empty_bags(store, slides)
    bags = [store.bag(slide.slide_id, top_k) for slide in slides]
    features, probabilities = read_cells(net, store, np.concatenate(bags))
    ends = np.cumsum([len(bag) for bag in bags])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    return BagSet(
        features,
        probabilities,
        tuple(rows),
        bag_ids=tuple(slide.slide_id for slide in slides),
        labels=tuple(slide.label for slide in slides),
        splits=tuple(slide.split for slide in slides),
        groups=tuple(slide.case_id or slide.twin_of or slide.slide_id for slide in slides),
    )


@torch.no_grad()
def judge_slides(
    net: nn.Module, head: nn.Module, store: CropStore, slides: Sequence[StoredSlide], top_k: int
) -> NDArray[np.float32]:
    """Probabilities (S, C_s) of the slide classes from each slide's best cells; sets eval mode.

    Raises:
        TrainingError: a slide has no cell.
    """
    bags = read_bags_of_store(net, store, slides, top_k)
    head.eval()
    device = next(head.parameters()).device
    result = []
    for rows in bags.rows:
        x = torch.from_numpy(bags.features[rows]).to(device).unsqueeze(0)  # (1, N, D)
        logits, _ = head(x, torch.ones(x.shape[:2], dtype=torch.bool, device=device))
        result.append(logits[0].float().softmax(0).cpu().numpy())
    return np.stack(result)
