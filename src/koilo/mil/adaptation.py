"""Test-time adaptation by class prototypes: a head follows another centre's slides, unlabelled [1].

A bank keeps for each class the slides that the head is surest of, at first of training slides. Each
batch of new slides is compared with the classes' mean slides; the student head is moved towards
what that says, a teacher follows the student slowly and judges; slides of which it is surer than of
those in the bank take their place.

[1] Smart-CCS (arXiv 2502.09662), whose values are the defaults here: 100 slides a class, batches of
16, temperature .1, teacher .999, rate 1e-5. Departures: a slide's vector is the attention-weighted
sum of its cells (their mean, where a head has no attention); "surest" is the highest probability,
for training slides of their own class; the student learns from the prototypes' soft label. The
order of slides matters, and a laboratory that adapts has no fixed operating point: an option only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from koilo.errors import TrainingError
from koilo.mil.bags import Bag, collate


@dataclass(frozen=True)
class AdaptationSettings:
    """How a head is adapted."""

    bank: int = 100
    """slides kept a class"""
    batch: int = 16
    """new slides a step"""
    temperature: float = 0.1
    """of the cosines between a slide and the classes' means"""
    ema: float = 0.999
    """share of the teacher kept at each step"""
    lr: float = 1e-5
    """Adam's rate on the student"""


class PrototypeBank:
    """For each class the vectors of the slides that a head is surest of."""

    def __init__(self, n_classes: int, size: int) -> None:
        self.size = size
        self.vectors: list[list[Tensor]] = [[] for _ in range(n_classes)]
        self.sureness: list[list[float]] = [[] for _ in range(n_classes)]

    def offer(self, vector: Tensor, c: int, p: float) -> None:
        """Keep a slide's vector (D,) for class ``c`` if room, or a less sure one, is there."""
        if len(self.vectors[c]) >= self.size:
            least = min(range(self.size), key=self.sureness[c].__getitem__)
            if self.sureness[c][least] >= p:
                return
            del self.vectors[c][least], self.sureness[c][least]
        self.vectors[c].append(vector)
        self.sureness[c].append(p)

    def soft_labels(self, vectors: Tensor, temperature: float) -> Tensor:
        """Probabilities (B, C) of vectors (B, D) by their cosines to the classes' means.

        A class without a slide in the bank gets 0.
        """
        filled = [c for c, own in enumerate(self.vectors) if own]
        means = torch.stack([torch.stack(self.vectors[c]).mean(dim=0) for c in filled])  # (F, D)
        cosines = functional.cosine_similarity(vectors[:, None], means[None], dim=2)  # (B, F)
        p = vectors.new_zeros(len(vectors), len(self.vectors))
        p[:, filled] = torch.softmax(cosines / temperature, dim=1)
        return p


def adapt(
    head: nn.Module,
    source: Sequence[Bag],
    target: Sequence[Bag],
    settings: AdaptationSettings = AdaptationSettings(),
) -> tuple[NDArray[np.float32], nn.Module]:
    """Judge new slides batch by batch while a copy of ``head`` adapts to them.

    Args:
        head: a trained slide head; it is left as it is. It may be an average, whose weights are
            not trained themselves: its copy's are.
        source: labelled training slides, from which the bank is filled.
        target: new slides, in the order in which they came; their labels are not read.
        settings: sizes and rates.

    Returns:
        Probabilities (S, C) of the new slides, each given after its own batch's step, and the
        teacher at the end.

    Raises:
        TrainingError: there is no new slide, no training slide, or none that the head calls right.
    """
    if not target:
        raise TrainingError(
            "There is no new slide to adapt to. At least one with a cell is needed. Check which "
            "slides are given as new."
        )
    student = copy.deepcopy(head).eval().requires_grad_(True)
    teacher = copy.deepcopy(head).eval()
    bank = _filled_bank(teacher, source, settings.bank)
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.lr)
    parts = []
    for start in range(0, len(target), settings.batch):
        x, mask = _padded(target[start : start + settings.batch], head)
        _, vectors = _judge(teacher, x, mask)
        soft = bank.soft_labels(vectors, settings.temperature)
        logits, _ = student(x, mask)
        optimizer.zero_grad()
        functional.cross_entropy(logits, soft).backward()
        optimizer.step()
        _follow(teacher, student, settings.ema)
        p, vectors = _judge(teacher, x, mask)
        for row, vector in zip(p, vectors, strict=True):
            bank.offer(vector, int(row.argmax()), float(row.max()))
        parts.append(p)
    return torch.cat(parts).cpu().numpy(), teacher


def _filled_bank(head: nn.Module, source: Sequence[Bag], size: int) -> PrototypeBank:
    """The bank of training slides that the head calls right."""
    bank: PrototypeBank | None = None
    for bag in source:
        x, mask = _padded([bag], head)
        p, vectors = _judge(head, x, mask)
        bank = bank or PrototypeBank(p.shape[1], size)
        if int(p[0].argmax()) == bag.label:
            bank.offer(vectors[0], bag.label, float(p[0].max()))
    if bank is None or not any(bank.vectors):
        raise TrainingError(
            f"The head calls none of the {len(source)} training slides right. Prototypes are "
            "made of those. Train the head first, or give its own training slides."
        )
    return bank


def _padded(bags: Sequence[Bag], head: nn.Module) -> tuple[Tensor, Tensor]:
    """Cells (B, N, D) and mask (B, N) where the head is."""
    device = next(head.parameters()).device
    x, mask, _ = collate(bags)
    return x.to(device), mask.to(device)


@torch.no_grad()
def _judge(head: nn.Module, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (B, C) and slide vectors (B, D)."""
    logits, attention = head(x, mask)
    if attention is None:
        attention = mask.to(x.dtype) / mask.sum(dim=1, keepdim=True)
    cells = x.masked_fill(~mask.unsqueeze(-1), 0)
    return torch.softmax(logits, dim=1), torch.einsum("bn,bnd->bd", attention, cells)


@torch.no_grad()
def _follow(teacher: nn.Module, student: nn.Module, kept: float) -> None:
    for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        old.lerp_(new, 1 - kept)
