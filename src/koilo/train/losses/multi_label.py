"""Multi-label loss: a yes or no for each organism, none where a reader did not look for it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from koilo.errors import TrainingError


def multi_label_loss(logits: Tensor, present: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of the outputs that are known, a scalar.

    Args:
        logits: (B, O).
        present: (B, O) bool.
        known: (B, O) bool; False where nobody looked, None = all known.

    Raises:
        TrainingError: nothing in the batch is known.
    """
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), present.float(), reduction="none"
    )  # (B, O)
    if known is None:
        return loss.mean()
    if not bool(known.any()):
        raise TrainingError(
            "Nothing in a batch of organisms is known. At least one crop with one answer is "
            "needed. Check which findings the readers recorded."
        )
    return loss[known].mean()
