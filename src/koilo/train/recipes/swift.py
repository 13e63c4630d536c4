"""Recipe "swift": cells and slides trained at once, end to end, with pseudo-labels from both [1].

One step reads labelled cells and whole bags in one forward of the student; the slide's loss
reaches the cell encoder through the head; cells of the bags are labelled by the slide's activation
map and by a teacher that follows the student (`losses/semi_weak.py`). With other ``terms`` the same
recipe is its own rivals: ``cell`` alone is supervised training, ``slide`` alone end-to-end
fine-tuning, ``cam: none`` SWIFT without the map. After it has converged, ``colour`` adds the
adversarial shift. Values that the paper leaves open are fields here; padding is never encoded.

[1] STRIDE (arXiv 2407.19512), Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from koilo.errors import ConfigError
from koilo.mil.cam import CAMS, cell_maps, relative_maps
from koilo.runtime import full_precision
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.colour import jitter_stain, random_shift, shift_colours, steepest_shift
from koilo.train.ema import follow, keep_share
from koilo.train.joint import UNKNOWN, JointBatch, JointSampler
from koilo.train.losses.semi_weak import PseudoLabels, masked_cross_entropy, pseudo_labels
from koilo.train.processes import joint_mean
from koilo.train.recipe import Progress
from koilo.train.swift_model import SwiftModel
from koilo.train.views import StrongView, strong_view, weak_view

TERMS = ("cell", "slide", "semi")
COLOURS = ("none", "random", "stain", "adversarial", "adversarial_stain")


@dataclass(frozen=True)
class SwiftSettings:
    """What a step takes in, how cells are labelled, which losses count."""

    terms: tuple[str, ...] = TERMS
    """losses: cell (labelled cells), slide (end to end), semi (pseudo-labelled cells)"""
    n_cells: int = 128
    """labelled cells a step (paper 128; twin 32)"""
    n_slides: int = 2
    """slides a step, half of them positive (paper 2; twin 4)"""
    top_k: int = 256
    """best cells of a slide that are read, in training and after (paper 256; twin 48)"""
    labels: str = "given"
    """labelled cells: given, nilm (and all cells of NILM slides) or all (the truth of phantoms)"""
    cam: str = "gradcam"
    """the slide's map over its cells: gradcam, hirescam, eq4 (the paper's equation) or none"""
    tau_cam: float = 0.5
    """share of the largest activation above which a cell takes its slide's class"""
    tau_teacher: float = 0.9
    """the teacher's probability above which a cell takes the teacher's class (paper's example)"""
    nilm_all: bool = False
    """every cell of a NILM slide is NILM (eq. 1), whatever map and teacher say"""
    teacher_decay: float = 0.999
    """share of the teacher kept at each update, less in the first (twin 0.99)"""
    young: float = 10.0
    """a young teacher spans the last 1/(young - 1) of the steps so far (spec 10: 10)"""
    chunk: int = 0
    """crops encoded at a time, activations computed anew in the backward pass; 0 = all at once"""
    colour: str = "none"
    """change of the bags' colours: none, random, stain, adversarial or adversarial_stain"""
    colour_radius: float = 0.1
    """length of the colour shift, in units of [0, 1] (paper 0.1)"""
    hsv_share: float = 0.5
    """probability that a slide's shift is one of hue, saturation, value, not of red, green, blue"""
    stain_size: float = 0.2
    """how far the stain augmentation goes"""
    batches_per_epoch: int = 100
    """batches that count as one epoch (crops are drawn, not enumerated)"""
    view: StrongView = field(default_factory=StrongView)
    """how far a strong view goes"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        known = {"cam": (*CAMS, "none"), "colour": COLOURS, "labels": ("given", "nilm", "all")}
        problems = [
            f"{name} is {getattr(self, name)!r} (allowed: {', '.join(allowed)})"
            for name, allowed in known.items()
            if getattr(self, name) not in allowed
        ]
        if not self.terms or set(self.terms) - set(TERMS):
            problems.append(f"terms is {self.terms} (allowed: one or more of {', '.join(TERMS)})")
        no_bags = self.uses_bags and self.n_slides < 1
        no_cells = "cell" in self.terms and self.n_cells < 1
        if no_bags or no_cells:
            problems.append("a loss is asked for whose part of the batch is empty")
        if self.top_k < 1 or self.colour_radius < 0 or not 0 <= self.teacher_decay < 1:
            problems.append(
                "top_k is at least 1, colour_radius at least 0, teacher_decay in [0, 1)"
            )
        lows = {"young": 1, "batches_per_epoch": 1, "chunk": 0, "stain_size": 0}
        for name, low in lows.items():
            if getattr(self, name) < low:
                problems.append(f"{name} is {getattr(self, name)} (allowed: {low} or more)")
        for name in ("tau_cam", "tau_teacher", "hsv_share"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} is {getattr(self, name)} (allowed: 0 to 1)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of swift.")

    @property
    def uses_bags(self) -> bool:
        """Whether whole slides are read."""
        return bool({"slide", "semi"} & set(self.terms))


class SwiftRecipe:
    """The five members the loop asks for, over a crop store."""

    def __init__(
        self,
        model: SwiftModel,
        sampler: JointSampler,
        settings: SwiftSettings,
        *,
        seed: int = 0,
        measure: Callable[[SwiftModel], Mapping[str, float]] | None = None,
    ) -> None:
        """Take what is trained and on what.

        ``seed`` is that of the batches, ``measure`` gives the validation measures of the model in
        eval mode.
        """
        self._model, self.sampler, self.settings = model, sampler, settings
        self.seed, self.measure = seed, measure
        self._cell_of_slide = torch.tensor(sampler.classes.cell_of_slide)

    @property
    def model(self) -> nn.Module:
        """Student, teacher, head and its average."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Joint batches drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.settings.batches_per_epoch,
            lambda index: self.sampler.draw(batch_rng(self.seed, epoch, index)),
        )

    def losses(self, batch: JointBatch, progress: Progress) -> Mapping[str, Tensor]:
        """The losses of this step's terms; shares and precision of the pseudo-labels are logged."""
        chance = torch.default_generator  # seeded by the loop for this update
        bags = batch.bags.float() / 255  # (B, K, 3, P, P)
        strong = self._view(batch, bags, chance)
        colours = _Colours.draw(self.settings, len(bags), bags.device, chance)
        state = _chance_state(bags.device)
        z, z_bags = self._encode(strong.cells, colours.unmoved(strong.bags), batch.valid)
        drew = not torch.equal(state, _chance_state(bags.device))
        losses: dict[str, Tensor] = {}
        if "cell" in self.settings.terms:
            logits = self._model.student.head(z)
            losses["cell"] = functional.cross_entropy(logits.float(), batch.cell_labels)
        if not self.settings.uses_bags:
            return losses
        slide_logits = self._judge(z_bags, batch.valid)
        if "slide" in self.settings.terms:
            losses["slide"] = functional.cross_entropy(slide_logits, batch.slide_labels)
            losses |= self._losses_of_head(batch, z_bags)
        if "semi" in self.settings.terms:
            losses |= self._semi(batch, bags, z_bags, slide_logits, chance)
        if colours.move:
            shift = self._shift(batch, slide_logits, colours)
            moved = shift_colours(strong.bags, shift, colours.in_hsv)
            with _same_chance(state, bags.device):
                # A trunk that drew (stochastic depth) meets all crops again, or its draws shift.
                again = strong.cells if drew else strong.cells[:0]
                _, z_moved = self._encode(again, moved, batch.valid)
                logits = self._judge(z_moved, batch.valid)
            losses["colour"] = functional.cross_entropy(logits, batch.slide_labels)
        return losses

    def after_step(self, progress: Progress) -> None:
        """The teacher and the head's average follow."""
        keep = keep_share(self.settings.teacher_decay, progress.step - 1, self.settings.young)
        follow(self._model.teacher, self._model.student, keep)
        follow(self._model.head_average, self._model.head, keep)

    def evaluate(self) -> Mapping[str, float]:
        """What ``measure`` says of the model."""
        return self.measure(self._model) if self.measure else {}

    def _view(self, batch: JointBatch, bags: Tensor, chance: torch.Generator) -> _Strong:
        """Strong views of labelled cells (b_c, 3, P, P) and of the real cells of the bags."""
        settings = self.settings
        real = bags[batch.valid]  # (M, 3, P, P)
        both = strong_view(torch.cat([batch.cells.float() / 255, real]), chance, settings.view)
        viewed = torch.zeros_like(bags)
        viewed[batch.valid] = both[len(batch.cells) :]
        if "stain" in settings.colour and len(bags):
            viewed = jitter_stain(viewed, batch.valid, settings.stain_size, chance)
        return _Strong(both[: len(batch.cells)], viewed)

    def _encode(self, cells: Tensor, bags: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the labelled cells (b_c, D) and of the bags (B, K, D), 0 on padding."""
        images = torch.cat([cells, bags[valid]]) * 255
        z = _encode_in_chunks(self._model.student, images, self.settings.chunk).float()
        z_bags = z.new_zeros(*valid.shape, z.shape[1])
        z_bags[valid] = z[len(cells) :]
        return z[: len(cells)], z_bags

    def _judge(self, z_bags: Tensor, valid: Tensor) -> Tensor:
        """Slide logits (B, C) in full precision."""
        with full_precision(z_bags.device):
            logits, _ = self._model.head(z_bags, valid)
        return logits

    def _losses_of_head(self, batch: JointBatch, z_bags: Tensor) -> Mapping[str, Tensor]:
        """What a head learns from besides the slide's class, as CLAM does; most have none."""
        extra = getattr(self._model.head, "extra_losses", None)
        with full_precision(z_bags.device):
            return {} if extra is None else extra(z_bags, batch.valid, batch.slide_labels)

    def _semi(
        self,
        batch: JointBatch,
        bags: Tensor,
        z_bags: Tensor,
        slide_logits: Tensor,
        chance: torch.Generator,
    ) -> dict[str, Tensor]:
        given = self.label_cells(batch, bags, z_bags, slide_logits, chance)
        real = batch.valid
        logits = self._model.student.head(z_bags[real])  # (M, C_c)
        count = joint_mean(real.sum())
        loss = masked_cross_entropy(logits, given.labels[real], given.mask[real], count)
        return {"semi": loss, **_describe(given, batch, self.sampler.classes.cells)}

    def label_cells(
        self,
        batch: JointBatch,
        bags: Tensor,
        z_bags: Tensor,
        slide_logits: Tensor,
        chance: torch.Generator,
    ) -> PseudoLabels:
        """Algorithm 1's labels: the map first, then the teacher, then the mask.

        Args:
            batch: the step's batch.
            bags: (B, K, 3, P, P) in [0, 1], unchanged.
            z_bags: (B, K, D) the student's features, in the graph of ``slide_logits``.
            slide_logits: (B, C_s).
            chance: draws the weak views.
        """
        settings, valid = self.settings, batch.valid
        cell_class = self._cell_of_slide.to(batch.slide_labels.device)[batch.slide_labels]
        maps = torch.zeros(valid.shape, device=valid.device)
        if settings.cam != "none":
            raw = cell_maps(slide_logits, z_bags, valid, batch.slide_labels, settings.cam)
            maps = relative_maps(raw)
        with torch.no_grad():
            images = weak_view(bags[valid], chance) * 255
            p = self._model.teacher(images).float().softmax(1)  # (M, C_c)
        p_bags = p.new_zeros(*valid.shape, p.shape[1])
        p_bags[valid] = p
        given = pseudo_labels(
            maps,
            p_bags,
            cell_class,
            valid,
            tau_cam=settings.tau_cam,
            tau_teacher=settings.tau_teacher,
        )
        return _all_nilm(given, batch) if settings.nilm_all else given

    def _shift(self, batch: JointBatch, slide_logits: Tensor, colours: _Colours) -> Tensor:
        """The shift (B, 3) of each slide: up the gradient of its loss, or anywhere (a control)."""
        radius = self.settings.colour_radius
        if colours.zero is None:
            n = len(slide_logits)
            return random_shift(n, radius, torch.default_generator).to(slide_logits.device)
        each = functional.cross_entropy(slide_logits, batch.slide_labels, reduction="sum")
        with full_precision(each.device):
            (gradient,) = torch.autograd.grad(each, colours.zero, retain_graph=True)
        return steepest_shift(gradient, radius)


class _Strong(NamedTuple):
    """Strong views: labelled cells (b_c, 3, P, P) and bags (B, K, 3, P, P), blank on padding."""

    cells: Tensor
    bags: Tensor


class _Colours(NamedTuple):
    """Whether a second pass in moved colours follows, in which space, and where r = 0 enters."""

    move: bool
    in_hsv: Tensor
    zero: Tensor | None

    @classmethod
    def draw(
        cls, settings: SwiftSettings, n_slides: int, device: torch.device, chance: torch.Generator
    ) -> _Colours:
        colour = settings.colour
        in_hsv = torch.rand(n_slides, generator=chance) < settings.hsv_share
        adversarial = colour.startswith("adversarial") and n_slides > 0
        zero = torch.zeros(n_slides, 3, device=device, requires_grad=True) if adversarial else None
        return cls(adversarial or (colour == "random" and n_slides > 0), in_hsv, zero)

    def unmoved(self, bags: Tensor) -> Tensor:
        """The bags as they are, with r = 0 in their graph where its gradient is wanted."""
        return bags if self.zero is None else shift_colours(bags, self.zero, self.in_hsv)


def _encode_in_chunks(net: nn.Module, images: Tensor, chunk: int) -> Tensor:
    """Features (N, D); in chunks the activations are computed anew in the backward pass.

    Memory is then that of one chunk, whatever the size of the bags; randomness is the same.
    """
    features: Callable[[Tensor], Tensor] = net.features  # type: ignore[assignment]
    if not chunk or len(images) <= chunk:
        return features(images)
    return torch.cat(
        [checkpoint(features, part, use_reentrant=False) for part in images.split(chunk)]
    )


def _all_nilm(given: PseudoLabels, batch: JointBatch) -> PseudoLabels:
    """The same labels, but every real cell of a NILM slide is NILM, by the slide's label."""
    negative = (batch.slide_labels == 0).unsqueeze(1) & batch.valid
    return PseudoLabels(
        given.labels.masked_fill(negative, 0),
        given.by_cam | negative,
        given.by_teacher & ~negative,
    )


def _describe(given: PseudoLabels, batch: JointBatch, classes: Sequence[str]) -> dict[str, Tensor]:
    """By rule and kind of slide the share of cells labelled, and by class how many.

    And how many could be judged, and are right: where the truth is known, as on phantoms.
    """
    known = batch.truth != UNKNOWN
    positive = (batch.slide_labels > 0).unsqueeze(1).expand_as(batch.valid)
    values = {}
    for rule, mask in (("cam", given.by_cam), ("teacher", given.by_teacher)):
        for kind, inside in (("positive", positive), ("nilm", ~positive)):
            real = batch.valid & inside
            labelled = mask & real
            values[f"{rule}_share_{kind}"] = labelled.sum() / real.sum().clamp_min(1)
            judged = labelled & known
            # Counts, not shares, so that a sum over steps weighs every cell once.
            values[f"{rule}_judged_{kind}"] = judged.sum().float()
            right = judged & (given.labels == batch.truth)
            values[f"{rule}_right_{kind}"] = right.sum().float()
        for number, name in enumerate(classes):
            values[f"{rule}_{name}"] = (mask & (given.labels == number)).sum().float()
    return values


def _chance_state(device: torch.device) -> Tensor:
    """State of the generator that dropout on ``device`` draws from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _same_chance(state: Tensor, device: torch.device) -> Iterator[None]:
    """Draw within the block what was drawn from ``state`` on; afterwards go on as if not."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield
