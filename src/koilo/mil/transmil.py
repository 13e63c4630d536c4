"""TransMIL: self-attention between the cells of a bag, read off a class token [1].

[1] Shao et al.: TransMIL, NeurIPS 2021; its Nyström attention is Xiong et al., AAAI 2021.
Departures: bags are computed one by one, so that no padding of a batch enters the landmarks or the
grid; landmarks are means of segments that differ by one token at most, where the authors pad with
zeros to a multiple; a bag of no more tokens than landmarks takes exact attention, which the
landmarks stand for; the attention that is handed out is the class token's exact softmax in the last
layer, the cells that fill up the square counted to the cells they repeat. The grid is laid out by
rank of detection, as a bag of cells has no plane: so this head alone depends on the cells' order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from koilo.mil.pooling import require_cells
from koilo.runtime import full_precision

PINV_STEPS = 6
RESIDUAL_KERNEL = 33


class TransMil(nn.Module):
    """Project, square, attend, encode positions by convolution, attend, read the class token."""

    def __init__(
        self,
        d_in: int,
        n_classes: int,
        width: int = 512,
        heads: int = 8,
        landmarks: int = 256,
        dropout: float = 0.1,
    ) -> None:
        """Build it.

        Args:
            d_in: numbers a cell.
            n_classes: slide classes.
            width: of the tokens, a multiple of ``heads``.
            heads: of each attention.
            landmarks: tokens that stand for all others in long bags.
            dropout: on what an attention adds.
        """
        super().__init__()
        if width % heads:
            raise TypeError(f"width {width} is no multiple of {heads} heads")
        self.project = nn.Sequential(nn.Linear(d_in, width), nn.ReLU())
        self.token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.first = AttentionLayer(width, heads, landmarks, dropout)
        self.place = PositionByConvolution(width)
        self.second = AttentionLayer(width, heads, landmarks, dropout)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C) and attention (B, N) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        require_cells(mask)
        logits, attention = [], x.new_zeros(mask.shape)
        for row in range(len(x)):
            called, weights = self._one(x[row, mask[row]])  # (C,), (n,)
            logits.append(called)
            attention = attention.index_put(
                (torch.full_like(weights, row, dtype=torch.long), mask[row].nonzero()[:, 0]),
                weights.to(attention.dtype),
            )
        return torch.stack(logits), attention

    def _one(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """One bag of real cells (n, D): logits (C,) and attention (n,)."""
        n = len(cells)
        side = math.isqrt(n - 1) + 1
        # Cells are repeated in order until they fill a square, as often as it takes.
        filled = torch.arange(side * side, device=cells.device) % n
        tokens = self.project(cells)[filled]  # (side², width)
        tokens = torch.cat([self.token, tokens])  # (1 + side², width)
        tokens, _ = self.first(tokens)
        tokens = self.place(tokens, side)
        tokens, weights = self.second(tokens)  # weights (side²,)
        folded = weights.new_zeros(n).index_add(0, filled, weights)
        return self.classify(self.norm(tokens[0])), folded


class AttentionLayer(nn.Module):
    """LayerNorm, Nyström attention, residual; values pass by a convolution along the tokens."""

    def __init__(self, width: int, heads: int, landmarks: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, 3 * width, bias=False)
        self.residual = nn.Conv1d(
            heads, heads, RESIDUAL_KERNEL, padding=RESIDUAL_KERNEL // 2, groups=heads, bias=False
        )
        self.write = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """New tokens (n, width), and what the first attends to in the others (n - 1,)."""
        n, width = tokens.shape
        q, k, v = (
            part.reshape(n, self.heads, -1).transpose(0, 1)  # (heads, n, d)
            for part in self.read(self.norm(tokens)).chunk(3, dim=-1)
        )
        q = q / math.sqrt(q.shape[-1])
        mixed = nystrom_attention(q, k, v, self.landmarks)  # (heads, n, d)
        # The convolution runs along the tokens, one kernel a head, for each feature alike.
        mixed = mixed + self.residual(v.permute(2, 0, 1)).permute(1, 2, 0)  # (heads, n, d)
        joined = mixed.transpose(0, 1).reshape(n, width)
        weights = torch.softmax(torch.einsum("hd,hnd->hn", q[:, 0], k[:, 1:]), dim=-1).mean(dim=0)
        return tokens + self.write(joined), weights


class PositionByConvolution(nn.Module):
    """PPEG: depthwise convolutions of three sizes over the grid of cells, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in (7, 5, 3)
        )

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Tokens (1 + side², width), the class token first, which passes unchanged."""
        grid = tokens[1:].T.reshape(1, -1, side, side)  # (1, width, side, side)
        grid = torch.stack([grid, *(kernel(grid) for kernel in self.kernels)]).sum(dim=0)
        return torch.cat([tokens[:1], grid.flatten(2)[0].T])


def nystrom_attention(q: Tensor, k: Tensor, v: Tensor, landmarks: int) -> Tensor:
    """Softmax attention of scaled queries, through segment means where there are many tokens.

    Args:
        q: (H, N, d), already divided by the root of d.
        k: (H, N, d).
        v: (H, N, d).
        landmarks: up to so many tokens the attention is exact.

    Returns:
        (H, N, d).
    """
    n = q.shape[1]
    if n <= landmarks:
        return torch.softmax(q @ k.mT, dim=-1) @ v
    segment = torch.arange(n, device=q.device) * landmarks // n  # (N,) number of its segment
    share = nn.functional.one_hot(segment, landmarks).to(q.dtype)  # (N, M)
    share = share / share.sum(dim=0)
    # Half precision would leave nothing of an inverse that is found by iteration.
    with full_precision(q.device):
        q, k, v, share = (part.to(_at_least_single(part)) for part in (q, k, v, share))
        q_mean, k_mean = share.T @ q, share.T @ k  # (H, M, d)
        to_all = torch.softmax(q @ k_mean.mT, dim=-1)  # (H, N, M)
        among = torch.softmax(q_mean @ k_mean.mT, dim=-1)  # (H, M, M)
        from_all = torch.softmax(q_mean @ k.mT, dim=-1)  # (H, M, N)
        return (to_all @ pseudo_inverse(among)) @ (from_all @ v)


def pseudo_inverse(a: Tensor) -> Tensor:
    """Moore-Penrose inverse of ``a`` (H, M, M) by six steps of a third-order iteration."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    norms = a.abs().sum(dim=-2).amax(dim=-1) * a.abs().sum(dim=-1).amax(dim=-1)  # (H,)
    z = a.mT / norms[:, None, None]
    for _ in range(PINV_STEPS):
        az = a @ z
        z = 0.25 * z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az)))
    return z


def _at_least_single(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
