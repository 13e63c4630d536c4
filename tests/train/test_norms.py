"""Moves of BatchNorm's statistics, each made alone, are put together as if made in turn."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from koilo.train.norms import joint_statistics, move_in_turn


@given(
    forwards=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    momentum=st.floats(0.01, 1.0),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_processes_with_any_number_of_forwards_end_where_one_would(
    forwards: list[int], momentum: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = nn.BatchNorm1d(3, momentum=momentum)
    start(torch.randn(5, 3, generator=generator))
    literal, moves = copy.deepcopy(start), []
    for n_forward in forwards:
        alone = copy.deepcopy(start)
        for _ in range(n_forward):
            x = 4 * torch.randn(5, 3, generator=generator) + 2
            alone(x)
            literal(x)
        kept = torch.full((3,), 1 - momentum) ** n_forward
        moves.append((alone.running_var, kept))
    joint = move_in_turn(start.running_var, moves)
    torch.testing.assert_close(joint, literal.running_var, rtol=1e-4, atol=1e-5)


def test_one_process_keeps_its_statistics_to_the_bit() -> None:
    norm, literal = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with joint_statistics(norm):
        norm(x)
    literal(x)
    assert torch.equal(norm.running_mean, literal.running_mean)
    assert int(norm.num_batches_tracked) == 1
