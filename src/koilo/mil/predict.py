"""A bundle's slide head, ready to judge the cells of one slide."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from koilo.bundle import Bundle
from koilo.errors import BundleError, ConfigError
from koilo.mil.bags import INPUTS, head_inputs
from koilo.mil.heads import build_head


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
        x = head_inputs(features, probabilities, self.inputs)[: self.top_k]  # (N', D)
        if len(x) == 0:
            raise ValueError("a slide without a cell has no result; do not ask the head")
        bag = torch.from_numpy(x).to(self.device).unsqueeze(0)  # (1, N', D)
        mask = torch.ones(bag.shape[:2], dtype=torch.bool, device=self.device)
        logits, weights = self.model(bag, mask)  # (1, C_s), (1, N')
        p = torch.softmax(logits[0].float(), dim=0).cpu().numpy()  # (C_s,)
        if weights is None:
            return p, None
        attention = np.zeros(len(features), dtype=np.float32)
        attention[: len(x)] = weights[0].float().cpu().numpy()
        return p, attention


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
