"""Learning rates over a run, and which parameters get which rate and decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from koilo.errors import ConfigError

SCHEDULES = ("cosine", "linear", "constant")


def lr_factor(step: int, steps: int, *, warmup: float, schedule: str) -> float:
    """Factor on the base rate for the update number ``step`` (from 0) of ``steps``.

    It rises linearly over the first ``warmup`` share of the run, then falls to zero by ``cosine``
    or ``linear``, or stays (``constant``). A function of the step alone: a resumed run needs no
    scheduler state.

    Raises:
        ConfigError: the schedule is unknown.

    >>> [round(lr_factor(s, 10, warmup=0.2, schedule="linear"), 2) for s in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.12]
    """
    if schedule not in SCHEDULES:
        raise ConfigError(
            f"Schedule {schedule!r} is unknown. Allowed: {', '.join(SCHEDULES)}. Pass one of them."
        )
    n_warm = round(steps * warmup)
    if step < n_warm:
        return (step + 1) / n_warm
    share = (step - n_warm) / max(1, steps - n_warm)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    return 1 - share if schedule == "linear" else 1.0


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    lr_scales: Mapping[str, float],
    decay_vectors: bool = False,
) -> list[dict[str, Any]]:
    """Trainable parameters grouped by rate and decay, in an order that is the model's own.

    Weight decay falls on matrices and kernels only, not on vectors (biases, norms) unless
    ``decay_vectors``. A name that
    starts with a prefix of ``lr_scales`` learns at ``lr`` times that factor; the longest wins.

    Raises:
        ConfigError: a prefix of ``lr_scales`` fits no parameter.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for prefix in lr_scales:
        if not any(name.startswith(prefix) for name in names):
            raise ConfigError(
                f"lr_scales names {prefix!r}, and no trainable parameter starts so. "
                f"Allowed: prefixes of such names as {names[0] if names else '(none)'}. "
                "Correct or remove it."
            )
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        prefix = max((p for p in lr_scales if name.startswith(p)), key=len, default="")
        base_lr = lr * lr_scales.get(prefix, 1.0)
        decay = weight_decay if decay_vectors or parameter.ndim > 1 else 0.0
        group = groups.setdefault(
            (base_lr, decay), {"params": [], "base_lr": base_lr, "weight_decay": decay}
        )
        group["params"].append(parameter)
    return list(groups.values())
