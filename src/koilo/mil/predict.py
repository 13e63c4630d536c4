"""A bundle's slide head, ready to judge the cells of one slide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koilo.bundle import Bundle
from koilo.errors import BundleError, ConfigError
from koilo.mil.bags import INPUTS, head_inputs
from koilo.mil.heads import build_head
from koilo.mil.integrated import integrated_shares
from koilo.taxonomy import NEGATIVE

_SETS_AT_ONCE = 8
"""Bags judged together in a removal test: a thousand cells of a wide trunk fill 3 MB each."""


class SlideHead:
    """From the cells of a slide, best first, to the probabilities of its classes."""

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        classes: tuple[str, ...],
        inputs: str,
        top_k: int,
        device: torch.device,
    ) -> None:
        """``inputs`` is one of ``bags.INPUTS``; cells after the first ``top_k`` are not read."""
        self.model = model.to(device).float().eval()
        self.classes, self.inputs, self.top_k, self.device = classes, inputs, top_k, device

    @torch.no_grad()
    def predict(
        self, features: NDArray[np.floating], probabilities: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Probabilities (C_s,) of the slide classes, and each cell's attention (N,).

        Attention is None where the head has none, and 0 for cells that were not read.

        Args:
            features: (N, D), of the cell classifier, best detection first.
            probabilities: (N, C), of the cell classes, in the same order.

        Raises:
            ValueError: there is no cell; a slide without one has no result.
        """
        bag, mask = self._bag(features, probabilities)
        logits, weights = self.model(bag, mask)  # (1, C_s), (1, N')
        p = torch.softmax(logits[0].float(), dim=0).cpu().numpy()  # (C_s,)
        if weights is None:
            return p, None
        attention = np.zeros(len(features), dtype=np.float32)
        attention[: bag.shape[1]] = weights[0].float().cpu().numpy()
        return p, attention

    def contributions(
        self, features: NDArray[np.floating], probabilities: NDArray[np.floating]
    ) -> NDArray[np.float32] | None:
        """Each cell's share (N,) in the slide's log-odds of lesion, by integrated gradients.

        Above 0 a cell speaks for a lesion, below against one, beside the mean of the slide's cells;
        NaN for cells that were not read. None where no cell moves the head, so that nothing can be
        said. (STRIDE's text names Grad-CAM; its order of the cells is wrong for the shipped head,
        whose gradient is largest at cells that are surely normal: docs/results.md.)

        Args:
            features: (N, D), of the cell classifier, best detection first; N is 1 at least.
            probabilities: (N, C), of the cell classes, in the same order.
        """
        bag, mask = self._bag(features, probabilities)
        negative = self.classes.index(NEGATIVE)
        others = [place for place in range(len(self.classes)) if place != negative]

        def log_odds(cells: Tensor) -> Tensor:
            logits = self.model(cells, mask)[0][0]  # (C_s,)
            return torch.logsumexp(logits[others], dim=0) - logits[negative]

        shares = integrated_shares(log_odds, bag[0]).cpu().numpy()  # (N',)
        if not np.isfinite(shares).all() or not shares.any():
            return None
        found = np.full(len(features), np.nan, dtype=np.float32)
        found[: len(shares)] = shares
        return found

    @torch.no_grad()
    def p_positive_without(
        self,
        features: NDArray[np.floating],
        probabilities: NDArray[np.floating],
        removed: Sequence[Sequence[int]],
    ) -> NDArray[np.float32]:
        """1 - p(NILM) of the slide without each set of cells (S,); some cell is left in each.

        Args:
            features: (N, D), of the cell classifier, best detection first.
            probabilities: (N, C), of the cell classes, in the same order.
            removed: S sets of rows.
        """
        bag, mask = self._bag(features, probabilities)
        negative = self.classes.index(NEGATIVE)
        found = []
        for start in range(0, len(removed), _SETS_AT_ONCE):
            some = removed[start : start + _SETS_AT_ONCE]
            masks = mask.repeat(len(some), 1)  # (S', N')
            for row, cells in enumerate(some):
                masks[row, list(cells)] = False
            logits, _ = self.model(bag.expand(len(some), -1, -1), masks)
            found.append(1 - torch.softmax(logits.float(), dim=1)[:, negative].cpu().numpy())
        return np.concatenate(found)

    def _bag(
        self, features: NDArray[np.floating], probabilities: NDArray[np.floating]
    ) -> tuple[Tensor, Tensor]:
        """What the model reads: x (1, N', D) and mask (1, N')."""
        x = head_inputs(features, probabilities, self.inputs)[: self.top_k]  # (N', D)
        if len(x) == 0:
            raise ValueError("a slide without a cell has no result; do not ask the head")
        bag = torch.tensor(x, device=self.device).unsqueeze(0)  # (1, N', D)
        return bag, torch.ones(bag.shape[:2], dtype=torch.bool, device=self.device)


def load_head(bundle: Bundle, device: torch.device | str = "cpu") -> SlideHead:
    """The slide head of ``bundle`` on ``device``.

    Raises:
        BundleError: the stage is missing or malformed, its model unknown, or its weights unfit.
    """
    stage = bundle.stage("head")
    try:
        config = dict(stage["config"])
        d_in, inputs = int(config.pop("d_in")), str(config.pop("inputs"))
        classes, top_k = tuple(stage["classes"]), int(stage["top_k"])
        model = build_head(str(stage["model"]), d_in, len(classes), config)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(
            f"Bundle {bundle.name}: stage 'head' cannot be built ({error}). It needs model, "
            "config with d_in and inputs, classes and top_k. Get a bundle made by this version."
        ) from error
    if inputs not in INPUTS:
        raise BundleError(
            f"Bundle {bundle.name}: its slide head reads {inputs!r}. Allowed: {', '.join(INPUTS)}. "
            "Get a bundle made by this version."
        )
    tensors = {name: torch.from_numpy(value) for name, value in bundle.tensors("head").items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise BundleError(
            f"Bundle {bundle.name}: head.safetensors does not fit model {stage['model']!r} of "
            f"bundle.json ({error}). Weights and JSON must be of one making. Get the bundle anew."
        ) from error
    return SlideHead(
        model, classes=classes, inputs=inputs, top_k=top_k, device=torch.device(device)
    )
