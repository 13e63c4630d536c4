"""FixMatch [1]: what is sure of a cell's weak view is the label of its strong view.

The sum over sure cells is divided by all cells, sure or not, as in the paper. Departures of the
recipe: labelled cells are seen strongly (as in every row of koilo's tables), the strong view is
`koilo.train.views.strong_view`, not RandAugment, and AdamW stands for SGD, here as in FlexMatch and
CReST.

[1] Sohn et al., "FixMatch", NeurIPS 2020 (arXiv 2001.07685).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def pseudo_label_loss(
    strong_logits: Tensor, p_weak: Tensor, thresholds: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of strong views against sure answers to weak views.

    Args:
        strong_logits: (B, C) of the strong views.
        p_weak: (B, C) probabilities of the weak views; no gradient flows there.
        thresholds: (C,) how sure an answer of each class must be; reached counts as sure.

    Returns:
        The loss, a scalar, and which cells were sure, (B,) bool.
    """
    sure_of, label = p_weak.detach().max(1)  # (B,), (B,)
    sure = sure_of >= thresholds[label]
    each = functional.cross_entropy(strong_logits, label, reduction="none")  # (B,)
    return (each * sure).mean(), sure
