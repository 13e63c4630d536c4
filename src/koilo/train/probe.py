"""Linear probe: multinomial logistic regression on frozen features, by L-BFGS to convergence.

The features are standardised for the fit, and that is folded into the layer that comes back, so
that it stands on the features as they are. Classes weigh the same, as they do in the batches of
all other methods.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def fit_linear_probe(
    features: Tensor, labels: Tensor, n_classes: int, *, l2: float = 1e-3, steps: int = 200
) -> nn.Linear:
    """The layer ``D -> n_classes`` that best tells the classes apart.

    Args:
        features: (N, D).
        labels: (N,) classes; one that does not occur is never called.
        n_classes: outputs of the layer.
        l2: factor on half the squared weights, beside the mean cross-entropy.
        steps: most iterations.
    """
    mean, deviation = features.double().mean(0), features.double().std(0, correction=0)
    scale = torch.where(deviation > 1e-8, 1 / deviation.clamp_min(1e-8), 0.0)  # (D,)
    x = (features.double() - mean) * scale
    counts = torch.bincount(labels, minlength=n_classes).double()
    weights = torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)  # (C,)
    weight = torch.zeros(n_classes, x.shape[1], dtype=x.dtype, device=x.device)
    bias = torch.where(counts > 0, 0.0, -1e4).to(x)
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-7
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(x @ weight.T + bias, labels, weight=weights)
        value = value + 0.5 * l2 * weight.square().sum()
        value.backward()
        return value.detach()  # LBFGS reads it as a number

    with torch.enable_grad():  # a recipe's evaluate runs without gradients
        optimizer.step(loss)
    layer = nn.Linear(x.shape[1], n_classes, device=features.device)
    with torch.no_grad():
        layer.weight.copy_(weight * scale)
        layer.bias.copy_(bias - (weight * scale) @ mean)
    return layer
