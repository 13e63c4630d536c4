"""Activation maps over the cells of a bag."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from koilo.errors import ConfigError
from koilo.mil import build_head
from koilo.mil.cam import CAMS, cell_maps, relative_maps

D, CLASSES = 12, 3


def bag(n: int = 2, cells: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mask = torch.ones(n, cells, dtype=torch.bool)
    mask[1, 5:] = False
    return torch.randn(n, cells, D).requires_grad_(), mask


@pytest.fixture
def head() -> nn.Module:
    torch.manual_seed(1)
    return build_head("dense_attention", D, CLASSES, {"hidden": 16}).eval()


def test_all_maps_are_their_equations_cell_by_cell(head: nn.Module) -> None:
    z, mask = bag()
    logits, _ = head(z, mask)
    classes = torch.tensor([2, 0])
    for j in range(2):
        alone = z[j : j + 1].detach().clone().requires_grad_()
        head(alone, mask[j : j + 1])[0][0, classes[j]].backward()
        g, n = alone.grad[0], int(mask[j].sum())
        alpha = [float(g[:n, d].mean()) for d in range(D)]
        for k in range(n):
            eq4 = sum(float(g[k, d]) for d in range(D)) / D
            gradcam = sum(alpha[d] * float(z.detach()[j, k, d]) for d in range(D))
            assert cell_maps(logits, z, mask, classes, "eq4")[j, k] == pytest.approx(eq4, abs=1e-7)
            hirescam = sum(float(g[k, d]) * float(z.detach()[j, k, d]) for d in range(D))
            for kind, wanted in (("gradcam", gradcam), ("hirescam", hirescam)):
                found = cell_maps(logits, z, mask, classes, kind)[j, k]
                assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("kind", CAMS)
def test_maps_are_not_zero_but_on_padding_and_leave_the_graph_alive(
    head: nn.Module, kind: str
) -> None:
    z, mask = bag()
    logits, _ = head(z, mask)
    maps = cell_maps(logits, z, mask, torch.tensor([1, 1]), kind)
    assert maps[0].abs().min() > 0
    assert maps[1, 5:].abs().max() == 0
    assert not maps.requires_grad
    logits.sum().backward()  # the graph was kept


def test_a_layer_norm_between_cells_and_head_kills_equation_four(head: nn.Module) -> None:
    z, mask = bag()
    logits, _ = head(functional.layer_norm(z, (D,)), mask)
    maps = cell_maps(logits, z, mask, torch.tensor([1, 1]), "eq4")
    assert maps.abs().max() < 1e-8


def test_lesion_cells_of_a_hand_made_bag_rank_first_under_gradcam() -> None:
    torch.manual_seed(0)
    head = build_head("dense_attention", D, 2, {"hidden": 16, "dropout": 0.0})
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    lesion = torch.randn(D)

    def make(positive: bool) -> torch.Tensor:
        z = 0.4 * torch.randn(1, 20, D)
        if positive:
            z[:, :4] += lesion
        return z

    mask = torch.ones(1, 20, dtype=torch.bool)
    for _ in range(20):
        losses = [
            functional.cross_entropy(head(make(call), mask)[0], torch.tensor([int(call)]))
            for call in (True, False)
        ]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
    z = make(True).requires_grad_()
    maps = cell_maps(head(z, mask)[0], z, mask, torch.tensor([1]), "gradcam")
    assert set(maps[0].topk(4).indices.tolist()) == {0, 1, 2, 3}


def test_relative_maps_are_shares_of_the_largest_and_nothing_where_all_speak_against() -> None:
    raw = torch.tensor([[2.0, 1.0, -3.0], [-1.0, -2.0, 0.0], [1e-13, 0.0, 0.0]])
    assert relative_maps(raw).tolist() == [[1.0, 0.5, 0.0], [0.0] * 3, [0.0] * 3]


def test_an_unknown_map_is_refused(head: nn.Module) -> None:
    z, mask = bag()
    with pytest.raises(ConfigError, match=r"no activation map 'grad_cam'.*gradcam"):
        cell_maps(head(z, mask)[0], z, mask, torch.tensor([0, 0]), "grad_cam")


@pytest.mark.parametrize("kind", CAMS)
def test_half_precision_around_a_map_does_not_touch_it(head: nn.Module, kind: str) -> None:
    z, mask = bag()
    logits, _ = head(z, mask)
    classes = torch.tensor([2, 0])
    with torch.autocast("cpu", torch.bfloat16):
        halved = cell_maps(logits, z, mask, classes, kind)
    assert torch.equal(halved, cell_maps(logits, z, mask, classes, kind))
