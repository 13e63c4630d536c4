"""SimCLR, MoCo and DINO around a cell network: heads, teachers and queues, and their settings.

Each is one module with ``loss(images, generator, share)`` on uint8-valued float crops and
``after_step(share)``; the papers and departures stand in `koilo.train.losses`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.runtime import full_precision
from koilo.train.losses.dino import DinoLoss, teacher_temperature
from koilo.train.losses.moco import KeyQueue, info_nce
from koilo.train.losses.simclr import nt_xent
from koilo.train.teacher import Teacher
from koilo.train.views import StrongView, strong_view


@dataclass(frozen=True)
class SimclrSettings:
    """SimCLR's own values."""

    temperature: float = 0.2
    """divides similarities (paper .1 at ImageNet, .5 at CIFAR-10)"""
    width: int = 128
    """outputs of the projection (paper 128)"""


@dataclass(frozen=True)
class MocoSettings:
    """MoCo v2's own values."""

    temperature: float = 0.2
    """divides similarities (paper .2)"""
    width: int = 128
    """outputs of the projection (paper 128)"""
    queue: int = 4096
    """keys kept (paper 65,536)"""
    keep: float = 0.99
    """share of the key encoder kept at an update (paper .999, for 100 times the steps)"""


@dataclass(frozen=True)
class DinoSettings:
    """DINO's own values."""

    outputs: int = 1024
    """prototypes (paper 65,536)"""
    hidden: int = 512
    """width of the head's hidden layers (paper 2,048)"""
    bottleneck: int = 128
    """width before the prototypes (paper 256)"""
    student_temperature: float = 0.1
    """divides the student's outputs (paper .1)"""
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    """first and last temperature of the teacher (paper .04 to .07)"""
    warm: float = 0.1
    """share of the run in which it rises (paper 30 of 100 to 800 epochs)"""
    centre_keep: float = 0.9
    """share of the centre kept at an update (paper .9)"""
    keep: float = 0.99
    """share of the teacher kept at the first update, rising to 1 by a cosine (paper .996)"""
    local_views: int = 4
    """small views of a cell (paper 8 to 10)"""
    local_share: float = 0.5
    """side of a small view as a share of the crop's (paper: 96 of 224 px)"""
    held: float = 0.01
    """share of the run in which the prototypes stay as they are (paper: the first epoch)"""


class Simclr(nn.Module):
    """Two strong views, a projection, NT-Xent."""

    def __init__(self, net: nn.Module, view: StrongView, settings: SimclrSettings) -> None:
        super().__init__()
        self.net, self.view, self.settings = net, view, settings
        self.projection = _projection(_width(net), settings.width)

    def loss(self, images: Tensor, generator: torch.Generator, share: float) -> Tensor:
        """NT-Xent of two views of crops ``(B, 3, P, P)``."""
        pair = torch.cat([_view(images, generator, self.view) for _ in range(2)])
        first, second = self.projection(_features(self.net, pair)).chunk(2)
        return nt_xent(first, second, self.settings.temperature)

    def after_step(self, share: float) -> None:
        """Nothing: SimCLR has no teacher and no queue."""


class Moco(nn.Module):
    """Query and key encoder, projections, and the queue of keys."""

    def __init__(self, net: nn.Module, view: StrongView, settings: MocoSettings) -> None:
        super().__init__()
        self.net, self.view, self.settings = net, view, settings
        self.projection = _projection(_width(net), settings.width)
        self.key_net, self.key_projection = Teacher(net), Teacher(self.projection)
        self.queue = KeyQueue(settings.queue, settings.width)
        self._keys: list[Tensor] = []

    def loss(self, images: Tensor, generator: torch.Generator, share: float) -> Tensor:
        """InfoNCE of one view of crops ``(B, 3, P, P)`` against the keys of the other."""
        queries = self.projection(
            _features(self.net, _view(images, generator, self.view))
        )  # (B, D)
        with torch.no_grad():
            seen = _features(self.key_net.net, _view(images, generator, self.view))
            keys = self.key_projection(seen)
        self._keys.append(keys)
        return info_nce(queries, keys, self.queue(), self.settings.temperature)

    def after_step(self, share: float) -> None:
        """Move the key encoder and put the update's keys into the queue."""
        self.key_net.follow(self.net, self.settings.keep)
        self.key_projection.follow(self.projection, self.settings.keep)
        for keys in self._keys:
            self.queue.put(keys)
        self._keys = []


class Dino(nn.Module):
    """Student and teacher with prototype heads, two large views and several small ones."""

    def __init__(self, net: nn.Module, view: StrongView, settings: DinoSettings) -> None:
        super().__init__()
        self.net, self.view, self.settings = net, view, settings
        self.head = DinoHead(_width(net), settings)
        self.teacher_net, self.teacher_head = Teacher(net), Teacher(self.head)
        self.criterion = DinoLoss(
            settings.outputs, settings.student_temperature, settings.centre_keep
        )
        self._taught: list[Tensor] = []

    def loss(self, images: Tensor, generator: torch.Generator, share: float) -> Tensor:
        """DINO's loss of crops ``(B, 3, P, P)``."""
        settings = self.settings
        large = torch.cat([_view(images, generator, self.view) for _ in range(2)])
        side = round(settings.local_share * images.shape[-1])
        small = [
            _view(cut_window(images, side, generator), generator, self.view)
            for _ in range(settings.local_views)
        ]
        with torch.no_grad():
            taught = self.teacher_head(_features(self.teacher_net.net, large)).chunk(2)
        self._taught += taught
        seen = [_features(self.net, large)]
        if small:
            seen.append(_features(self.net, torch.cat(small)))
        answers = self.head(torch.cat(seen), share < settings.held)
        temperature = teacher_temperature(share, *settings.teacher_temperature, settings.warm)
        student = answers.chunk(2 + settings.local_views)
        loss: Tensor = self.criterion(student, taught, temperature)
        return loss

    def after_step(self, share: float) -> None:
        """Move the teacher, ever slower, and the centre of its answers."""
        first = self.settings.keep
        keep = 1 - (1 - first) * (math.cos(math.pi * share) + 1) / 2
        self.teacher_net.follow(self.net, keep)
        self.teacher_head.follow(self.head, keep)
        self.criterion.move_centre(self._taught)
        self._taught = []


class DinoHead(nn.Module):
    """Three layers, a unit-norm bottleneck, and prototypes of unit norm."""

    def __init__(self, width: int, settings: DinoSettings) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, settings.bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(settings.outputs, settings.bottleneck))
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, features: Tensor, held: bool = False) -> Tensor:
        """Map ``(B, D)`` to cosines with the prototypes ``(B, O)``; ``held`` ones learn nothing."""
        prototypes = self.prototypes.detach() if held else self.prototypes
        x = functional.normalize(self.layers(features).float(), dim=1)  # (B, bottleneck)
        with full_precision(x.device):  # they are divided by a temperature of .04
            return x @ functional.normalize(prototypes, dim=1).T


def cut_window(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square window of each crop, anywhere in it: ``(B, 3, P, P)`` to ``(B, 3, side, side)``."""
    room = images.shape[-1] - side + 1
    places = torch.randint(room, (len(images), 2), generator=generator).tolist()
    return torch.stack(
        [
            image[:, top : top + side, left : left + side]
            for image, (top, left) in zip(images, places, strict=True)
        ]
    )


def _view(images: Tensor, generator: torch.Generator, view: StrongView) -> Tensor:
    """A strong view of crops of 0-255, again of 0-255."""
    return strong_view(images / 255, generator, view) * 255


def _features(net: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = net.features(images)  # type: ignore[operator]
    return features  # (B, D)


def _projection(width: int, outputs: int) -> nn.Sequential:
    """Two layers, as in SimCLR and MoCo v2."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def _width(net: nn.Module) -> int:
    return int(net.n_features)  # type: ignore[arg-type]
