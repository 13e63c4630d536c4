"""Contributions of cells and the removal test, against literal removal."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from koilo.mil import HEADS, SlideHead, build_head
from koilo.mil.removal import Boxes, find_removal

CLASSES = ("NILM", "LSIL", "HSIL+SCC")
CELLS = 4


def make_head(name: str = "evidence", inputs: str = "log_p", top_k: int = 64) -> SlideHead:
    torch.manual_seed(0)
    d_in = {"log_p": CELLS, "features": 5, "both": CELLS + 5}[inputs]
    config = {"shift": -2.0} if name == "evidence" else {}
    model = build_head(name, d_in, len(CLASSES), config)
    return SlideHead(model, classes=CLASSES, inputs=inputs, top_k=top_k, device=torch.device("cpu"))


def make_bag(n: int, n_lesions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and probabilities; the lesions stand at random places."""
    rng = np.random.default_rng(seed)
    p = np.full((n, CELLS), 0.01)
    p[:, 0] = 0.97
    for row in rng.permutation(n)[:n_lesions]:
        p[row] = (0.04, 0.06, 0.8, 0.1)
    return rng.normal(size=(n, 5)).astype(np.float32), p.astype(np.float32)


def boxes(bag: tuple[np.ndarray, np.ndarray]) -> Boxes:
    """Each box a cell of its own."""
    return Boxes(*bag, np.arange(len(bag[0])))


def lesions(p: np.ndarray) -> set[int]:
    return set(np.flatnonzero(p[:, 0] < 0.5).tolist())


def p_without(head: SlideHead, bag: tuple[np.ndarray, np.ndarray], cells: set[int]) -> float:
    kept = [row for row in range(len(bag[0])) if row not in cells]
    return 1 - float(head.predict(bag[0][kept], bag[1][kept])[0][0])


def test_lesion_cells_contribute_most_and_all_shares_sum_to_the_rise_of_the_log_odds() -> None:
    head, (features, p) = make_head("mean"), make_bag(60, 5)
    with torch.no_grad():
        head.model.classify.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]))
    found = head.contributions(features, p)
    assert found is not None
    assert set(np.argsort(-found)[:5].tolist()) == lesions(p)
    # The mean head gives the same for a bag of mean cells: nothing rises.
    assert found.sum() == pytest.approx(0, abs=1e-4)
    rise = make_head("evidence").contributions(features, p)
    assert rise is not None
    assert set(np.argsort(-rise)[:5].tolist()) == lesions(p)
    assert rise.sum() > 1


def test_shares_sum_to_the_rise_over_a_bag_of_mean_cells() -> None:
    head, bag = make_head("abmil", "features"), make_bag(12, 3)
    found = head.contributions(*bag)
    assert found is not None
    even = np.repeat(bag[0].mean(axis=0, keepdims=True), 12, axis=0)
    p, mean = (1 - float(head.predict(each, bag[1])[0][0]) for each in (bag[0], even))
    rise = np.log(p / (1 - p)) - np.log(mean / (1 - mean))
    assert found.sum() == pytest.approx(rise, abs=1e-3)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_gives_contributions_or_says_none(name: str) -> None:
    head = make_head(name)
    features, p = make_bag(12, 2)
    found = head.contributions(features, p)
    assert found is not None
    assert found.shape == (12,)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0


def test_a_head_that_looks_at_no_cell_has_no_contribution() -> None:
    class Deaf(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, None]:
            return 0.0 * x.sum((1, 2)).unsqueeze(1).expand(-1, len(CLASSES)), None

    head = SlideHead(Deaf(), classes=CLASSES, inputs="log_p", top_k=9, device=torch.device("cpu"))
    assert head.contributions(*make_bag(4, 1)) is None


def test_cells_that_the_head_does_not_read_have_no_contribution() -> None:
    found = make_head(top_k=10).contributions(*make_bag(15, 3))
    assert found is not None
    assert np.isfinite(found[:10]).all()
    assert np.isnan(found[10:]).all()


@pytest.mark.parametrize("name", ["evidence", "dense_attention", "transmil", "max"])
def test_removed_cells_leave_what_a_shorter_bag_gives(name: str) -> None:
    head, bag = make_head(name), make_bag(12, 3)
    sets = [[], [3], [0, 5, 11], list(range(11))]
    found = head.p_positive_without(*bag, sets)
    # TransMIL arranges its cells in a square that a mask does not shrink.
    if name != "transmil":
        literal = [p_without(head, bag, set(cells)) for cells in sets]
        np.testing.assert_allclose(found, literal, atol=1e-5)
    assert np.isfinite(found).all()


def test_more_sets_than_are_judged_at_once_come_back_in_order() -> None:
    head, bag = make_head(), make_bag(40, 20)
    rows = sorted(lesions(bag[1]))
    sets = [rows[:n] for n in range(20)]
    found = head.p_positive_without(*bag, sets)
    assert (np.diff(found) < 0).all()


def test_the_lesion_cells_are_what_a_call_hangs_on_and_none_can_be_spared() -> None:
    head, bag = make_head(), make_bag(60, 4)
    contributions = head.contributions(*bag)
    assert contributions is not None
    threshold = 0.3
    assert p_without(head, bag, set()) > threshold
    found = find_removal(head, boxes(bag), contributions, threshold)
    removed = set(found.cells)
    assert found.turned
    assert removed
    assert removed <= lesions(bag[1])
    assert p_without(head, bag, removed) == pytest.approx(found.p_positive, abs=1e-5)
    assert found.p_positive < threshold
    for cell in removed:
        assert p_without(head, bag, removed - {cell}) >= threshold


def test_on_a_small_bag_it_is_the_smallest_of_all_sets() -> None:
    head, bag = make_head(), make_bag(9, 3, seed=3)
    contributions = head.contributions(*bag)
    assert contributions is not None
    found = find_removal(head, boxes(bag), contributions, 0.4)
    smaller = [
        set(cells)
        for size in range(len(found.cells))
        for cells in combinations(range(9), size)
        if p_without(head, bag, set(cells)) < 0.4
    ]
    assert found.turned
    assert smaller == []


def test_a_cell_taken_in_vain_is_put_back() -> None:
    head, bag = make_head(), make_bag(30, 2)
    useless = next(row for row in range(30) if row not in lesions(bag[1]))
    order = np.where(bag[1][:, 0] < 0.5, 0.5, 0.1)
    order[useless] = 1.0
    found = find_removal(head, boxes(bag), order, 0.3)
    assert found.turned
    assert useless not in found.cells


def test_a_call_that_hangs_on_more_cells_than_the_limit_is_not_turned() -> None:
    head, bag = make_head(), make_bag(60, 30)
    contributions = head.contributions(*bag)
    assert contributions is not None
    found = find_removal(head, boxes(bag), contributions, 0.3, limit=5)
    assert (found.turned, found.cells, found.limit) == (False, (), 5)
    best_five = set(np.argsort(-contributions, kind="stable")[:5].tolist())
    assert found.p_positive == pytest.approx(p_without(head, bag, best_five), abs=1e-5)


def test_a_head_that_hears_one_cell_at_a_time_is_asked_again_without_it() -> None:
    head, bag = make_head("max"), make_bag(20, 3)
    with torch.no_grad():
        weight = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
        head.model.classify.weight.copy_(weight)
        head.model.classify.bias.zero_()
    contributions = head.contributions(*bag)
    assert contributions is not None
    assert (contributions > 0).sum() == 1
    found = find_removal(head, boxes(bag), contributions, 0.5)
    assert found.turned
    assert set(found.cells) == lesions(bag[1])


def test_a_cell_that_was_boxed_twice_goes_with_both_its_boxes_and_counts_once() -> None:
    head, (features, p) = make_head(), make_bag(40, 3)
    twice = np.concatenate([np.arange(40), sorted(lesions(p))])
    seen = Boxes(features[twice], p[twice], twice)
    shares = seen.shares(head)
    assert shares is not None
    alone = head.contributions(features[twice], p[twice])
    assert alone is not None
    for cell in range(40):
        assert shares[cell] == pytest.approx(float(alone[twice == cell].sum()), abs=1e-5)
    found = find_removal(head, seen, shares, 0.3)
    assert found.turned
    assert set(found.cells) <= lesions(p)
    rows = set(np.flatnonzero(np.isin(twice, list(found.cells))).tolist())
    assert len(rows) == 2 * len(found.cells)
    literal = p_without(head, (features[twice], p[twice]), rows)
    assert found.p_positive == pytest.approx(literal, abs=1e-5)


def test_no_box_moves_up_for_one_that_was_removed() -> None:
    head, bag = make_head(top_k=20), make_bag(40, 12, seed=2)
    seen = Boxes(*bag, np.arange(40))
    shares = seen.shares(head)
    assert shares is not None
    found = find_removal(head, seen, shares, 0.3)
    assert found.turned
    kept = [row for row in range(20) if row not in found.cells]
    literal = 1 - float(head.predict(bag[0][kept], bag[1][kept])[0][0])
    assert found.p_positive == pytest.approx(literal, abs=1e-5)
    assert max(found.cells) < 20


def test_the_last_cell_and_cells_that_speak_against_a_lesion_are_never_removed() -> None:
    head = make_head()
    one = make_bag(1, 1)
    found = find_removal(head, boxes(one), np.ones(1), 0.3)
    assert (found.turned, found.cells) == (False, ())
    assert found.p_positive == pytest.approx(p_without(head, one, set()), abs=1e-5)
    bag = make_bag(20, 3)
    assert find_removal(head, boxes(bag), -np.ones(20), 0.3).cells == ()
    assert find_removal(head, boxes(bag), np.full(20, np.nan), 0.3).cells == ()
