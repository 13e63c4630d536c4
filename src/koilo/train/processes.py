"""Several processes on one run: who am I, share gradients, keep joint what is kept beside weights.

Launched by ``torchrun`` or ``accelerate launch`` every process trains a copy of the model on its
own batches; accelerate sets up the group. Gradients are averaged once an update, before clipping,
so that N processes do what one does with N batches accumulated. Launched plainly, all of this is
the identity. What a recipe keeps from batch to batch (a queue, a centre, a status) has to be equal
in all processes: it takes in what `of_all` and `joint_mean` give, and what is decided between runs
comes `from_first`. A loss that divides by a count uses `joint_mean` of it, or the average of ratios
would not be the ratio of the joint batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn

_PATIENCE = timedelta(hours=2)
"""How long the others wait while the first process measures."""

_T = TypeVar("_T")


class Processes:
    """This process among those that train together."""

    def __init__(self, device: torch.device) -> None:
        """Join the group that the launcher's environment describes, if there is one."""
        self.count, self.index, self.device = 1, 0, device
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
            self.count, self.index = state.num_processes, state.process_index
            self.device = state.device

    @property
    def is_first(self) -> bool:
        """Whether this process logs, measures and saves."""
        return self.index == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def share(self, model: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.count > 1:
            for value in model.state_dict().values():
                torch.distributed.broadcast(value, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes, in one message.

        One that got none here takes part with zeros, as another process may have one; what got
        none anywhere stays without, or the optimiser would step and decay it.
        """
        if self.count == 1:
            return
        chosen = [p for p in parameters if p.requires_grad]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in chosen]
        has_one = torch.tensor([float(p.grad is not None) for p in chosen], device=self.device)
        flat = torch.cat([*(gradient.flatten() for gradient in own), has_one])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        *means, any_has_one = flat.split([*(p.numel() for p in chosen), len(chosen)])
        for parameter, mean, has in zip(chosen, means, any_has_one.tolist(), strict=True):
            parameter.grad = mean.view_as(parameter) if has else None

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each logged value over all processes; NaN in one is NaN in all."""
        if self.count == 1:
            return values
        names = sorted(values)
        joint = torch.tensor([values[name] for name in names], device=self.device)
        torch.distributed.all_reduce(joint)
        return dict(zip(names, (joint / self.count).tolist(), strict=True))


def together() -> int:
    """How many processes train together; 1 before a run has started and where there is but one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def of_all(value: Tensor) -> list[Tensor]:
    """Each process's tensor, of one shape in all, in the order in which they take batches.

    Taken in one after another they are what one process takes in that accumulates these batches.
    """
    if together() == 1:
        return [value]
    own = value.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(together())]
    torch.distributed.all_gather(parts, own)
    return parts


def joint_mean(value: Tensor) -> Tensor:
    """A tensor averaged over the processes that train together; itself where there is but one."""
    if together() == 1:
        return value
    joint = value.detach().clone().float()
    torch.distributed.all_reduce(joint)
    return joint / together()


def from_first(make: Callable[[], _T]) -> _T:
    """What the first process makes, given to all; the others wait for it."""
    if together() == 1:
        return make()
    box = [make() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]
