"""InfoNCE against a loop, and the order in which keys leave the queue."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from koilo.train.losses.moco import KeyQueue, info_nce


def test_the_loss_is_the_literal_one() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, others = (torch.randn(n, 4, generator=generator) for n in (5, 5, 9))
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        own = math.exp(cosine_similarity(query, key, dim=0).item() / 0.2)
        rest = [math.exp(cosine_similarity(query, o, dim=0).item() / 0.2) for o in others]
        total -= math.log(own / (own + sum(rest)))
    loss = info_nce(queries, keys, normalize(others, dim=1), 0.2)
    assert loss.item() == pytest.approx(total / 5, rel=1e-5)


def test_keys_get_no_gradient_and_an_empty_queue_costs_nothing() -> None:
    queries, keys = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    loss = info_nce(queries, keys, torch.zeros(0, 4), 0.2)
    loss.backward()
    assert loss.item() == 0.0
    assert keys.grad is None


def rows(*numbers: int) -> torch.Tensor:
    """Unit vectors in the plane at so many degrees."""
    angles = torch.tensor(numbers) * math.pi / 180
    return torch.stack([torch.cos(angles), torch.sin(angles)], 1)


def degrees(queue: KeyQueue) -> list[int]:
    return [round(math.degrees(math.atan2(y, x))) for x, y in queue().tolist()]


def test_the_queue_holds_what_was_put_until_it_is_full() -> None:
    queue = KeyQueue(5, 2)
    assert degrees(queue) == []
    queue.put(rows(1, 2))
    assert degrees(queue) == [1, 2]
    queue.put(rows(3, 4))
    assert degrees(queue) == [1, 2, 3, 4]


def test_the_oldest_keys_leave_first() -> None:
    queue = KeyQueue(5, 2)
    for first in (1, 3, 5):
        queue.put(rows(first, first + 1))
    assert degrees(queue) == [6, 2, 3, 4, 5]
    queue.put(rows(7, 8))
    assert degrees(queue) == [6, 7, 8, 4, 5]


def test_a_batch_larger_than_the_queue_leaves_its_last_keys() -> None:
    queue = KeyQueue(3, 2)
    queue.put(rows(9))
    queue.put(rows(1, 2, 3, 4))
    assert sorted(degrees(queue)) == [2, 3, 4]


def test_keys_are_kept_as_unit_vectors() -> None:
    queue = KeyQueue(4, 2)
    queue.put(5 * rows(10, 20))
    torch.testing.assert_close(queue(), rows(10, 20))


def test_half_precision_around_it_does_not_touch_the_similarities() -> None:
    torch.manual_seed(0)
    first, second, others = (normalize(torch.randn(n, 5), dim=1) for n in (7, 7, 9))
    with torch.autocast("cpu", torch.bfloat16):
        halved = info_nce(first, second, others, 0.1)
    assert torch.equal(halved, info_nce(first, second, others, 0.1))
