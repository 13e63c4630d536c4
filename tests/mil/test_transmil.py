"""TransMIL equals its paper computed token by token; Nyström attention and its inverse likewise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.errors import ConfigError
from koilo.mil import build_head
from koilo.mil.transmil import nystrom_attention, pseudo_inverse

D, C, W, H = 5, 3, 8, 2


def literal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of one head, (N, d), token by token."""
    rows = []
    for query in q:
        weights = [math.exp(float(query @ key)) for key in k]
        mixed = sum((w * value for w, value in zip(weights, v, strict=True)), torch.zeros(len(v.T)))
        rows.append(mixed / sum(weights))
    return torch.stack(rows)


def literal_nystrom(q: Tensor, k: Tensor, v: Tensor, m: int) -> Tensor:
    """The three softmax matrices of the paper for one head, the middle one inverted exactly."""
    n = len(q)
    segments = [[i for i in range(n) if i * m // n == s] for s in range(m)]
    q_mean = torch.stack([torch.stack([q[i] for i in s]).mean(0) for s in segments])
    k_mean = torch.stack([torch.stack([k[i] for i in s]).mean(0) for s in segments])

    def soft(a: Tensor, b: Tensor) -> Tensor:
        scores = torch.stack([torch.stack([row @ column for column in b]) for row in a]).exp()
        return scores / scores.sum(1, keepdim=True)

    return soft(q, k_mean) @ torch.linalg.pinv(soft(q_mean, k_mean)) @ soft(q_mean, k) @ v


def literal_layer(w: dict[str, Tensor], name: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """One attention layer with exact attention: new tokens, the first token's weights."""
    normed = functional.layer_norm(tokens, (W,), w[f"{name}.norm.weight"], w[f"{name}.norm.bias"])
    q, k, v = (w[f"{name}.read.weight"] @ normed.T).T.split(W, dim=1)
    outputs, first = [], torch.zeros(len(tokens) - 1)
    for head in range(H):
        part = slice(head * W // H, (head + 1) * W // H)
        qh, kh, vh = q[:, part] / math.sqrt(W // H), k[:, part], v[:, part]
        kernel = w[f"{name}.residual.weight"][head, 0]
        mixed = literal_attention(qh, kh, vh)
        for i in range(len(tokens)):
            for j in range(len(kernel)):
                if 0 <= i + j - 16 < len(tokens):
                    mixed[i] = mixed[i] + kernel[j] * vh[i + j - 16]
        outputs.append(mixed)
        weights = torch.tensor([math.exp(float(qh[0] @ key)) for key in kh[1:]])
        first += weights / weights.sum() / H
    joined = torch.cat(outputs, dim=1)
    written = (w[f"{name}.write.0.weight"] @ joined.T).T + w[f"{name}.write.0.bias"]
    return tokens + written, first


def literal_place(w: dict[str, Tensor], tokens: Tensor, side: int) -> Tensor:
    """Depthwise convolutions of 7, 5 and 3 cells, summed cell by cell over the square."""
    moved = tokens.clone()
    for number, size in enumerate((7, 5, 3)):
        kernel, bias = w[f"place.kernels.{number}.weight"], w[f"place.kernels.{number}.bias"]
        for row in range(side):
            for column in range(side):
                total = bias.clone()
                for i in range(size):
                    for j in range(size):
                        r, c = row + i - size // 2, column + j - size // 2
                        if 0 <= r < side and 0 <= c < side:
                            total = total + kernel[:, 0, i, j] * tokens[1 + r * side + c]
                moved[1 + row * side + column] += total
    return moved


def test_it_equals_the_paper_computed_token_by_token() -> None:
    torch.manual_seed(0)
    head = build_head("transmil", D, C, {"width": W, "heads": H}).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.4)
    w, bag = head.state_dict(), torch.randn(5, D)
    cells = (bag @ w["project.0.weight"].T + w["project.0.bias"]).clamp_min(0)
    tokens = torch.stack([w["token"][0], *(cells[i % 5] for i in range(9))])  # 5 cells fill 3 x 3
    tokens, _ = literal_layer(w, "first", tokens)
    tokens, weights = literal_layer(w, "second", literal_place(w, tokens, 3))
    normed = functional.layer_norm(tokens[0], (W,), w["norm.weight"], w["norm.bias"])
    attention = torch.stack([weights[i::5].sum() for i in range(5)])

    logits, given = head(bag.unsqueeze(0), torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(logits[0], w["classify.weight"] @ normed + w["classify.bias"])
    torch.testing.assert_close(given[0], attention)


def test_up_to_as_many_tokens_as_landmarks_attention_is_exact() -> None:
    torch.manual_seed(1)
    q, k, v = torch.randn(3, H, 12, 4)
    exact = torch.stack([literal_attention(q[h], k[h], v[h]) for h in range(H)])
    torch.testing.assert_close(nystrom_attention(q, k, v, 12), exact)


def test_beyond_that_it_is_the_nystrom_approximation() -> None:
    """On tokens whose segments differ, so that six steps of the inverse are enough."""
    torch.manual_seed(2)
    q, k, v = 0.3 * torch.randn(3, H, 23, 5, dtype=torch.float64)
    own = functional.one_hot(torch.arange(23) * 5 // 23, 5)
    q, k = q + 2 * own, k + 2 * own
    literal = torch.stack([literal_nystrom(q[h], k[h], v[h], 5) for h in range(H)])
    torch.testing.assert_close(nystrom_attention(q, k, v, 5), literal, rtol=0.02, atol=0.02)


def test_half_precision_around_it_does_not_touch_the_inverse() -> None:
    torch.manual_seed(5)
    q, k, v = torch.randn(3, H, 23, 4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = nystrom_attention(q, k, v, 5)
    torch.testing.assert_close(mixed, nystrom_attention(q, k, v, 5))


def test_the_iteration_inverts() -> None:
    torch.manual_seed(3)
    a = torch.softmax(2 * torch.randn(4, 6, 6, dtype=torch.float64), dim=-1)
    a = a + torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(pseudo_inverse(a), torch.linalg.inv(a), rtol=1e-4, atol=1e-4)


def test_a_long_bag_goes_through_the_landmarks() -> None:
    torch.manual_seed(4)
    head = build_head("transmil", D, C, {"width": W, "heads": H, "landmarks": 6}).eval()
    x = torch.randn(1, 150, D, requires_grad=True)
    logits, attention = head(x, torch.ones(1, 150, dtype=torch.bool))
    logits[0, 0].backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(-1) > 0).all()
    assert attention.sum().item() == pytest.approx(1, abs=1e-5)


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="no multiple of 8 heads"):
        build_head("transmil", D, C, {"width": 12})
