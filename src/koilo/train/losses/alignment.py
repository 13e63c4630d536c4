"""STRIDE's symmetric loss of cells and descriptions: binary cross-entropy from both sides.

[1] arXiv 2407.19512, eq. 5: L_bce(sigmoid(cos(V, T)), Y) + L_bce(sigmoid(cos(T, V)), Y^T). The
second matrix is the first one turned over, and a mean does not care: the two terms are equal, and
their sum is twice the first. It is computed so, and the test holds it to the formula. The sigmoid
of a cosine lies between .27 and .73: the loss never nears 0, and its gradient never vanishes.
"""

from __future__ import annotations

from torch import Tensor

from koilo.errors import TrainingError
from koilo.train.losses.multi_label import multi_label_loss


def alignment_loss(logits: Tensor, said: Tensor, known: Tensor | None = None) -> Tensor:
    """Eq. 5 of [1], a scalar.

    Args:
        logits: (B, N): cosines of cells and texts, or these scaled by a learnt temperature.
        said: (B, N) bool: the text was said of the cell.
        known: (B, N) bool: False where nobody was asked; None = all known. A departure: it lets
            cells take part that have a class and no texts.

    Raises:
        TrainingError: nothing in the batch is known.
    """
    if logits.shape != said.shape:
        raise TrainingError(
            f"Cells and texts give {tuple(logits.shape)}, what was said {tuple(said.shape)}. Both "
            "are (cells, texts). Check the order of the vocabulary."
        )
    if known is not None and not bool(known.any()):
        raise TrainingError(
            "Nothing in a batch of cells is known. At least one text of one cell has to be. Check "
            "which cells have descriptions."
        )
    return 2 * multi_label_loss(logits, said, known)
