"""Several processes on one run: who am I, share gradients, count over the joint batch.

Launched by ``torchrun`` or ``accelerate launch`` every process trains a copy of the model on its
own batches; accelerate sets up the group. Gradients are averaged once an update, before clipping,
so that N processes do what one does with N batches accumulated. Launched plainly, all of this is
the identity. Recipes whose losses divide by a count use `mean_count`, or the average of ratios
would not be the ratio of the joint batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
from torch import Tensor, nn

_PATIENCE = timedelta(hours=2)
"""How long the others wait while the first process measures."""


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

        A parameter that got none here takes part with zeros: another process may have one.
        """
        if self.count == 1:
            return
        chosen = [p for p in parameters if p.requires_grad]
        for parameter in chosen:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in chosen if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each logged value over all processes; NaN in one is NaN in all."""
        if self.count == 1:
            return values
        names = sorted(values)
        joint = torch.tensor([values[name] for name in names], device=self.device)
        torch.distributed.all_reduce(joint)
        return dict(zip(names, (joint / self.count).tolist(), strict=True))


def mean_count(count: Tensor) -> Tensor:
    """A count averaged over the processes that train together; itself where there is but one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return count
    joint = count.detach().clone().float()
    torch.distributed.all_reduce(joint)
    return joint / torch.distributed.get_world_size()
