"""BatchNorm's running statistics where several processes train: moved by every one's batch in turn.

A forward moves a statistic x to a x + c, with a = 1 - momentum and c of the batch alone. So each
process's move is known from where its own copy went, and all make all of them, in the order in
which one process would have met the batches. Batches are normalised each by itself, as they are
where one process accumulates them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from koilo.train.processes import of_all, together


@contextmanager
def joint_statistics(model: nn.Module) -> Iterator[None]:
    """Let each process run one batch within the block; after it the statistics are all batches'."""
    norms = _learning(model) if together() > 1 else []
    if not norms:
        yield
        return
    before, n_before = _read(norms)
    yield
    after, n_after = _read(norms)
    widths = torch.tensor([2 * norm.num_features for norm in norms], device=after.device)
    kept = torch.tensor([1 - cast(float, norm.momentum) for norm in norms], device=after.device)
    n_own = n_after - n_before  # (L,) forwards of each layer
    moves, n_joint = [], n_before
    for part in of_all(torch.cat([after, n_own])):
        end, n_forward = part.split([len(after), len(norms)])
        moves.append((end, (kept**n_forward).repeat_interleave(widths)))
        n_joint = n_joint + n_forward
    _write(norms, move_in_turn(before, moves), n_joint)


def move_in_turn(start: Tensor, moves: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Where moves lead that are made one after another.

    Args:
        start: (D,) where each was made from.
        moves: where each led alone (D,), and the share of the start that it kept (D,).
    """
    place = start
    for end, kept in moves:
        place = end + kept * (place - start)
    return place


def _learning(model: nn.Module) -> list[_BatchNorm]:
    """The layers that a forward moves; a teacher's, in eval mode, only follow."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]


def _read(norms: Sequence[_BatchNorm]) -> tuple[Tensor, Tensor]:
    """A copy of all means and variances end to end, ``(D,)``, and of the counts, ``(L,)`` float."""
    values = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
    counts = [norm.num_batches_tracked for norm in norms]
    return torch.cat(cast(list[Tensor], values)), torch.stack(cast(list[Tensor], counts)).float()


def _write(norms: Sequence[_BatchNorm], values: Tensor, counts: Tensor) -> None:
    parts = values.split([norm.num_features for norm in norms for _ in range(2)])
    for norm, mean, variance, count in zip(norms, parts[::2], parts[1::2], counts, strict=True):
        cast(Tensor, norm.running_mean).copy_(mean)
        cast(Tensor, norm.running_var).copy_(variance)
        cast(Tensor, norm.num_batches_tracked).copy_(count)
