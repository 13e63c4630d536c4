"""Selectors: which cells of a slide matter, asked of detector, cell classifier or slide head.

Each gives one score a cell, higher = sooner kept; only the order within a slide means anything.
Integrated gradients stand here for the methods that share a logit out over the cells: relevance
layer by layer would need a rule for each layer of each head, these ask a head for its gradient
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.config import nearest
from koilo.errors import ConfigError
from koilo.mil.bags import head_inputs
from koilo.mil.bottleneck import BottleneckGate
from koilo.mil.cam import cell_maps
from koilo.mil.integrated import integrated_shares
from koilo.mil.scored import ScoredBag

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """What a selector may ask besides the bag itself."""

    head: nn.Module | None = None
    """a trained slide head"""
    inputs: str = "features"
    """what head and gate read of a cell: features, log_p or both"""
    slide_class: int | None = None
    """the class whose logit is explained (the slide's label in training); None = the one called"""
    gate: BottleneckGate | None = None
    """a trained information bottleneck"""


def score_cells(name: str, bag: ScoredBag, judge: Judge = Judge()) -> Scores:
    """Scores (N,) of a bag's cells by the selector ``name``.

    Raises:
        ConfigError: the name is unknown, or the selector asks for a head or gate that is missing.
    """
    if name not in SELECTORS:
        raise ConfigError(f"There is no selector {name!r}. {nearest(name, list(SELECTORS))}")
    return np.asarray(SELECTORS[name](bag, judge), np.float32)


def keep_top(scores: Scores, k: int) -> NDArray[np.int64]:
    """Rows of the ``k`` highest scores (N,), best first; equal ones keep their order.

    >>> keep_top(np.array([0.1, 0.9, 0.9, 0.5], np.float32), 3).tolist()
    [1, 2, 3]
    """
    return np.argsort(-scores, kind="stable")[:k]


def integrated_gradients(head: nn.Module, x: Tensor, slide_class: int | None = None) -> Tensor:
    """Each cell's share (N,) in a slide logit's rise over that of a bag of mean cells.

    Args:
        head: a slide head in eval mode.
        x: (N, D), what the head reads of each cell.
        slide_class: whose logit; None = the class that the head calls.
    """
    mask = torch.ones(1, len(x), dtype=torch.bool, device=x.device)
    c = _called(head, x, mask) if slide_class is None else slide_class
    return integrated_shares(lambda cells: head(cells, mask)[0][0, c], x)


def _detector(bag: ScoredBag, judge: Judge) -> Scores:
    return bag.detector_scores


def _cells(bag: ScoredBag, judge: Judge) -> Scores:
    return bag.p_lesion


@torch.no_grad()
def _attention(bag: ScoredBag, judge: Judge) -> Scores:
    head, x, mask = _question("attention", bag, judge)
    _, weights = head(x, mask)
    if weights is None:
        raise ConfigError(
            f"The head {type(head).__name__} has no attention. Selector 'attention' needs one. "
            "Take another head, or the selector gradcam."
        )
    return weights[0].float().cpu().numpy()


def _map_of(kind: str) -> Callable[[ScoredBag, Judge], Scores]:
    def score(bag: ScoredBag, judge: Judge) -> Scores:
        head, x, mask = _question(kind, bag, judge)
        x.requires_grad_(True)
        logits, _ = head(x, mask)
        c = int(logits[0].argmax()) if judge.slide_class is None else judge.slide_class
        classes = torch.tensor([c], device=x.device)
        return cell_maps(logits, x, mask, classes, kind)[0].cpu().numpy()

    return score


def _integrated(bag: ScoredBag, judge: Judge) -> Scores:
    head, x, _ = _question("integrated_gradients", bag, judge)
    return integrated_gradients(head, x[0], judge.slide_class).detach().cpu().numpy()


@torch.no_grad()
def _bottleneck(bag: ScoredBag, judge: Judge) -> Scores:
    if judge.gate is None:
        raise ConfigError(
            "Selector 'bottleneck' was given no gate. It needs one that fit_bottleneck has "
            "trained. Pass Judge(gate=...)."
        )
    x = torch.from_numpy(head_inputs(bag.features, bag.probabilities, judge.inputs))
    gate = judge.gate.eval()
    return gate(x.to(next(gate.parameters()).device).unsqueeze(0))[0].float().cpu().numpy()


def _question(name: str, bag: ScoredBag, judge: Judge) -> tuple[nn.Module, Tensor, Tensor]:
    """The head in eval mode, and the bag as it reads it: x (1, N, D), mask (1, N)."""
    if judge.head is None:
        raise ConfigError(
            f"Selector {name!r} was given no slide head. It asks one. Pass Judge(head=...)."
        )
    head = judge.head.eval()
    x = torch.from_numpy(head_inputs(bag.features, bag.probabilities, judge.inputs).copy())
    x = x.to(next(head.parameters()).device).unsqueeze(0)  # (1, N, D)
    return head, x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


@torch.no_grad()
def _called(head: nn.Module, x: Tensor, mask: Tensor) -> int:
    return int(head(x.unsqueeze(0), mask)[0][0].argmax())


SELECTORS: dict[str, Callable[[ScoredBag, Judge], Scores]] = {
    "attention": _attention,
    "bottleneck": _bottleneck,
    "cells": _cells,
    "detector": _detector,
    "eq4": _map_of("eq4"),
    "gradcam": _map_of("gradcam"),
    "hirescam": _map_of("hirescam"),
    "integrated_gradients": _integrated,
}
"""Name -> function of a bag and what it may ask besides."""
