"""What a recipe is, how it is stepped, and where a run stands: the loop's side of the bargain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from koilo.errors import ConfigError
from koilo.train.schedule import SCHEDULES


@dataclass(frozen=True)
class LoopConfig:
    """How a recipe is stepped; shared by all recipes."""

    steps: int = 1000
    """optimiser updates in the whole run"""
    lr: float = 1e-3
    """base learning rate, reached after the warm-up"""
    lr_scales: dict[str, float] = field(default_factory=dict)
    """prefix of parameter names -> factor on the base rate, for a pretrained trunk"""
    optimizer: str = "adamw"
    """adamw, or adam (the paper's), whose decay is an L2 term and falls on vectors too"""
    weight_decay: float = 0.05
    """AdamW's decay of matrices and kernels (vectors have none); Adam's L2 factor"""
    warmup: float = 0.05
    """share of the run in which the rate rises linearly"""
    schedule: str = "cosine"
    """how the rate falls afterwards: cosine, linear or constant"""
    clip: float = 1.0
    """largest norm of the gradient; 0 = no clipping"""
    accumulation: int = 1
    """batches whose mean gradient makes one update"""
    ema: float = 0.0
    """share of the moving average kept at each update, which is then what is measured and saved;
    0 = no average"""
    young: float = 10.0
    """a young average spans the last 1/(young - 1) of the updates so far, until ema is reached"""
    evaluate_every: int = 0
    """updates between measurements; 0 = only at the end"""
    seed: int = 0
    """seed of everything random"""
    precision: str = "fp32"
    """fp32, or bf16 for the forward pass"""
    checkpoint_every: int = field(default=200, metadata={"result": False})
    """updates between checkpoints"""
    log_every: int = field(default=20, metadata={"result": False})
    """updates between lines in log.jsonl"""
    device: str = field(default="auto", metadata={"result": False})
    """auto, cpu or cuda"""
    threads: int = field(default=0, metadata={"result": False})
    """threads torch computes on; 0 = torch's choice"""

    def __post_init__(self) -> None:
        """Refuse values that no run can have, all in one error."""
        problems = [
            f"{name} is {getattr(self, name)} (allowed: {low} or more)"
            for name, low in _LOWEST.items()
            if not getattr(self, name) >= low
        ]
        if not 0 <= self.ema < 1:
            problems.append(f"ema is {self.ema} (allowed: 0 up to, not with, 1)")
        if self.schedule not in SCHEDULES:
            problems.append(f"schedule is {self.schedule!r} (allowed: {', '.join(SCHEDULES)})")
        if self.optimizer not in OPTIMIZERS:
            problems.append(f"optimizer is {self.optimizer!r} (allowed: {', '.join(OPTIMIZERS)})")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the training settings.")


OPTIMIZERS = ("adamw", "adam")

_LOWEST = {
    "steps": 1,
    "lr": 0.0,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "clip": 0.0,
    "accumulation": 1,
    "young": 1.0,
    "evaluate_every": 0,
    "checkpoint_every": 1,
    "log_every": 1,
}


@dataclass(frozen=True)
class Progress:
    """Where a run stands when a batch is computed."""

    step: int
    """updates done so far"""
    steps: int
    """updates in the whole run"""
    epoch: int
    """pass over the data, from 0"""

    @property
    def share(self) -> float:
        """Share of the run that is done, from 0 to just under 1."""
        return self.step / self.steps


class Recipe(Protocol):
    """A way of training: five members, nothing else is asked of it."""

    @property
    def model(self) -> nn.Module:
        """All that is learnt or kept, as one module."""

    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of one epoch: tensors in tuples, lists or dicts, on the CPU.

        They depend on the recipe's own seed, ``epoch`` and their index only, never on a global
        generator. A sequence (``__len__`` and ``__getitem__``) resumes in mid-epoch at no cost; an
        iterator is run forward.
        """

    def losses(self, batch: Any, progress: Progress) -> Mapping[str, Tensor]:
        """Scalars by name. Those that carry a gradient are added up; the rest are only logged."""

    def after_step(self, progress: Progress) -> None:
        """Called without gradients after each update (a teacher's average, a queue)."""

    def evaluate(self) -> Mapping[str, float]:
        """Measures by name, in eval mode, without gradients, on the averaged weights."""
