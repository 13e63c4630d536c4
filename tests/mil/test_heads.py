"""Every slide head of the dictionary keeps the same promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from koilo.errors import ConfigError
from koilo.mil import HEADS, Bag, build_head, collate

D, C = 7, 5
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(params=sorted(HEADS))
def head(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_head(request.param, D, C, {}).eval()


def bags(*sizes: int) -> list[Bag]:
    rng = np.random.default_rng(1)
    return [
        Bag(f"bag-{i}", rng.normal(size=(n, D)).astype(np.float32), i % C)
        for i, n in enumerate(sizes)
    ]


def extra_losses(head: nn.Module, x: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return dict(head.extra_losses(x, mask, labels)) if hasattr(head, "extra_losses") else {}


def test_shapes_are_those_promised(head: nn.Module) -> None:
    x, mask, _ = collate(bags(3, 9, 1))
    logits, attention = head(x, mask)
    assert logits.shape == (3, C)
    if attention is not None:
        assert attention.shape == (3, 9)
        torch.testing.assert_close(attention.sum(dim=1), torch.ones(3))
        assert (attention[~mask] == 0).all()


def test_gradients_are_finite_and_reach_every_weight(head: nn.Module) -> None:
    x, mask, labels = collate(bags(4, 30, 1, 8))
    x.requires_grad_(True)
    loss = functional.cross_entropy(head(x, mask)[0], labels)
    (loss + sum(extra_losses(head, x, mask, labels).values())).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad[~mask] == 0).all()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_padding_does_not_change_the_score_whatever_stands_in_it(head: nn.Module) -> None:
    x, mask, _ = collate(bags(4, 6))
    wide = torch.full((2, 20, D), 1e6)
    wide_mask = torch.zeros(2, 20, dtype=torch.bool)
    wide[:, :6], wide_mask[:, :6] = torch.where(mask.unsqueeze(-1), x, 1e6), mask
    torch.testing.assert_close(head(wide, wide_mask)[0], head(x, mask)[0], **TOLERANCE)


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"transmil"}))  # its grid goes by rank
def test_the_order_of_cells_does_not_change_the_score_and_attention_follows(name: str) -> None:
    torch.manual_seed(0)
    head = build_head(name, D, C, {}).eval()
    x, mask, _ = collate(bags(11))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(2))
    (logits, attention), (shuffled, moved) = head(x, mask), head(x[:, order], mask)
    torch.testing.assert_close(shuffled, logits, **TOLERANCE)
    if attention is not None:
        torch.testing.assert_close(moved, attention[:, order], **TOLERANCE)


def test_a_batch_equals_its_bags_one_by_one(head: nn.Module) -> None:
    several = bags(2, 13, 5)
    x, mask, _ = collate(several)
    single = torch.cat([head(*collate([bag])[:2])[0] for bag in several])
    torch.testing.assert_close(head(x, mask)[0], single, **TOLERANCE)


def test_saved_and_loaded_it_scores_the_same(head: nn.Module) -> None:
    x, mask, _ = collate(bags(5, 3))
    name = next(n for n, path in HEADS.items() if path.endswith(f":{type(head).__name__}"))
    twin = build_head(name, D, C, {}).eval()
    twin.load_state_dict(load(save(head.state_dict())))
    torch.testing.assert_close(twin(x, mask)[0], head(x, mask)[0], rtol=0, atol=0)


def test_losses_of_a_head_s_own_are_finite_and_blind_to_padding(head: nn.Module) -> None:
    x, mask, labels = collate(bags(4, 20, 1))
    wide = torch.cat([x.masked_fill(~mask.unsqueeze(-1), 1e6), torch.full((3, 5, D), 1e6)], dim=1)
    wide_mask = torch.cat([mask, torch.zeros(3, 5, dtype=torch.bool)], dim=1)
    plain, padded = (extra_losses(head, *xm, labels) for xm in ((x, mask), (wide, wide_mask)))
    assert plain.keys() == padded.keys()
    for name in plain:
        assert torch.isfinite(plain[name])
        torch.testing.assert_close(padded[name], plain[name], **TOLERANCE)


def test_an_empty_bag_is_refused(head: nn.Module) -> None:
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(ValueError, match="no cell"):
        head(torch.zeros(2, 2, D), mask)


def test_an_unknown_head_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="abmil"):
        build_head("abmill", D, C, {})


def test_an_unknown_setting_of_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="width"):
        build_head("mean", D, C, {"width": 3})


def literal_dense_attention(weights: dict[str, Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """spec/swift.md 5 cell by cell, for one bag ``z`` (N, D) in eval mode."""
    e = []
    for cell in z:
        hidden = torch.tanh(weights["project.weight"] @ cell + weights["project.bias"])
        e.append(float(weights["score.weight"][0] @ hidden))
    total = sum(np.exp(value) for value in e)
    a = [np.exp(value) / total for value in e]
    s = torch.zeros(z.shape[1])
    for weight, cell in zip(a, z, strict=True):
        s = s + weight * cell
    h = [s]
    for i in range(4):
        row = weights[f"layers.{i}.weight"] @ torch.cat(h) + weights[f"layers.{i}.bias"]
        row = 0.5 * row * (1 + torch.erf(row / 2**0.5))
        centred = row - row.mean()
        row = centred / (centred.square().mean() + 1e-5).sqrt()
        h.append(weights[f"norms.{i}.weight"] * row + weights[f"norms.{i}.bias"])
    return weights["classify.weight"] @ torch.cat(h) + weights["classify.bias"], torch.tensor(a)


def test_the_dense_head_equals_the_specification_computed_cell_by_cell() -> None:
    torch.manual_seed(3)
    head = build_head("dense_attention", D, C, {"hidden": 6}).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    several = bags(6, 9)
    logits, attention = head(*collate(several)[:2])
    for row, bag in enumerate(several):
        expected, weights = literal_dense_attention(head.state_dict(), torch.from_numpy(bag.x))
        torch.testing.assert_close(logits[row], expected, **TOLERANCE)
        assert attention is not None
        torch.testing.assert_close(attention[row, : len(bag.x)], weights.float(), **TOLERANCE)


def test_layers_before_pooling_read_each_cell_and_give_a_bag_of_one_cell_the_same() -> None:
    torch.manual_seed(3)
    after = build_head("dense_attention", D, C, {"hidden": 6}).eval()
    before = build_head("dense_attention", D, C, {"hidden": 6, "pre_pool": True}).eval()
    before.load_state_dict(after.state_dict())
    alone = collate(bags(1))[:2]
    torch.testing.assert_close(before(*alone)[0], after(*alone)[0])
    x, mask, _ = collate(bags(6))
    logits, attention = before(x, mask)
    each = torch.stack([after(cell.view(1, 1, D), mask[:1, :1])[0][0] for cell in x[0]])
    torch.testing.assert_close(logits[0], attention[0] @ each, **TOLERANCE)  # the last is linear
    assert not torch.allclose(logits, after(x, mask)[0], atol=1e-3)


def test_the_dense_head_feels_a_shift_of_all_features_of_a_cell() -> None:
    """What a LayerNorm between cells and head would make exactly zero."""
    torch.manual_seed(4)
    head = build_head("dense_attention", D, C, {}).eval()
    x, mask, _ = collate(bags(6))
    x.requires_grad_(True)
    head(x, mask)[0][0, 1].backward()
    assert x.grad is not None
    assert float(x.grad.sum(dim=-1).abs().max()) > 1e-4


def test_the_max_head_repeats_what_it_says_of_the_worst_cell() -> None:
    torch.manual_seed(5)
    head = build_head("max", D, C, {}).eval()
    [bag] = bags(9)
    alone = [
        head(*collate([Bag("cell", bag.x[i : i + 1], 0)])[:2])[0].softmax(dim=1)[0]
        for i in range(9)
    ]
    worst = min(alone, key=lambda p: p[0].item())
    torch.testing.assert_close(head(*collate([bag])[:2])[0].softmax(dim=1)[0], worst)


def test_the_evidence_head_weights_cells_by_their_odds_of_lesion() -> None:
    p = torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])
    head = build_head("evidence", 3, 2, {})
    logits, attention = head(p.log().unsqueeze(0), torch.ones(1, 3, dtype=torch.bool))
    odds = (1 - p[:, 0]) / p[:, 0]
    torch.testing.assert_close(attention[0], odds / odds.sum())
    expected = float((odds / odds.sum()) @ p[:, 0])
    assert logits.softmax(dim=1)[0, 0].item() == pytest.approx(expected, rel=1e-4)


def test_the_shift_of_the_evidence_head_moves_no_slide_past_another() -> None:
    x, mask, _ = collate(bags(4, 9, 30, 2, 7))
    x = x.log_softmax(dim=-1)
    scores = [
        1 - build_head("evidence", D, C, {"shift": shift})(x, mask)[0].softmax(dim=1)[:, 0]
        for shift in (0.0, -2.0)
    ]
    assert scores[0].argsort().tolist() == scores[1].argsort().tolist()
    assert (scores[1] < scores[0]).all()


def test_the_evidence_head_refuses_more_slide_classes_than_cell_classes() -> None:
    with pytest.raises(ConfigError, match="cannot fill"):
        build_head("evidence", 3, 5, {})


def test_half_precision_around_the_evidence_head_leaves_sure_cells_finite() -> None:
    p = torch.tensor([[0.9999, 0.00006, 0.00004], [0.9, 0.06, 0.04]])
    head, mask = build_head("evidence", 3, 2, {}), torch.ones(1, 2, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = head(p.log().unsqueeze(0), mask)
    assert torch.equal(logits, head(p.log().unsqueeze(0), mask)[0])
