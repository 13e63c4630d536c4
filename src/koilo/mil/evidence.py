"""A slide head that weights cells by their own odds of being a lesion; it learns next to nothing.

With some thirty negative fields in four blocks to learn from, heads with free weights on honest
(out-of-fold) probabilities end below the plainest control, the single most suspicious cell; on
over-fitted ones they match it on CRIC and fall apart on phantoms (docs/log.md). So this one is
told what the cell model has learnt already. Attention is the softmax of a cell's log-odds of
lesion times a sharpness (0 = the mean of all cells, large = the most suspicious alone); the slide's
odds of lesion are those of the weighted mean of the cells, shifted to a convenient scale; which
lesion it is follows the weighted mean of the cells' lesion classes. Only a bias a lesion class is
trained, and that cannot touch the ranking of slides. Sharpness and shift are settings: trained with
the rest, the sharpness fell and few lesion cells among many were lost (composed slides: AUC .88 to
.82), and scale and shift of three folds differed by more than they mended.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.mil.pooling import masked_softmax
from koilo.runtime import full_precision

_FLOOR = 1e-4


class EvidenceHead(nn.Module):
    """Reads log-probabilities of cell classes, NILM first; no features.

    Cell classes beyond the number of slide classes are folded into the last slide class, as HSIL
    and SCC are into HSIL+SCC.
    """

    fold: Tensor

    def __init__(
        self, d_in: int, n_classes: int, sharpness: float = 1.0, shift: float = 0.0
    ) -> None:
        """Build it.

        Args:
            d_in: cell classes.
            n_classes: slide classes, at most as many.
            sharpness: 1 weights a cell by its odds of lesion.
            shift: added to the slide's log-odds of lesion; moves no slide past another.
        """
        super().__init__()
        if d_in < n_classes:
            raise TypeError(f"{d_in} cell classes cannot fill {n_classes} slide classes")
        columns = torch.arange(d_in).clamp(max=n_classes - 1)
        fold = torch.zeros(d_in, n_classes).index_put_(
            (torch.arange(d_in), columns), torch.ones(())
        )
        self.register_buffer("fold", fold, persistent=False)
        self.sharpness = sharpness
        self.shift = shift
        self.class_bias = nn.Parameter(torch.zeros(n_classes - 1))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C) and attention (B, N) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        with full_precision(x.device):  # 1 - 1e-4 in half precision is 1, and its odds infinite
            p = torch.where(mask.unsqueeze(-1), x, 0.0).exp() @ self.fold  # (B, N, C)
            attention = masked_softmax(_log_odds(p[..., 0]) * self.sharpness, mask)  # (B, N)
            pooled = torch.einsum("bn,bnc->bc", attention, p)  # (B, C)
        lesion = _log_odds(pooled[:, :1]) + self.shift  # (B, 1)
        which = torch.log(pooled[:, 1:].clamp_min(_FLOOR)) + self.class_bias  # (B, C - 1)
        log_p_nilm = functional.logsigmoid(-lesion)  # (B, 1)
        log_p_classes = functional.logsigmoid(lesion) + functional.log_softmax(which, dim=1)
        return torch.cat([log_p_nilm, log_p_classes], dim=1), attention  # (B, C)


def _log_odds(p_nilm: Tensor) -> Tensor:
    """Log-odds of lesion from the probability of NILM, of the same shape."""
    p = p_nilm.clamp(_FLOOR, 1 - _FLOOR)
    return torch.log1p(-p) - torch.log(p)
