"""Batches of SWIFT: labelled cells and whole bags of slides side by side, out of a crop store.

Slides are drawn half positive, cells even over their classes, whatever is trained: at a natural
prevalence of 21 % most steps of two slides would hold no positive one (spec swift.md, 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koilo.datasets.crop_store import CropStore, StoredSlide
from koilo.errors import ConfigError, TrainingError
from koilo.taxonomy import check_classes, class_map, fold_members, most_severe

UNKNOWN = -1


@dataclass(frozen=True)
class Classes:
    """Slide classes, the coarser cell classes, and which cell class each slide class is."""

    slides: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC", "AGC")
    cells: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC")

    def __post_init__(self) -> None:
        """Refuse lists in which NILM is not first, or a class is unknown or stands twice."""
        problems = []
        for name in ("slides", "cells"):
            try:
                check_classes(getattr(self, name))
            except ValueError as error:
                problems.append(f"{name}: {str(error).rstrip('.')}")
        if problems:
            raise ConfigError(f"Classes of {'; '.join(problems)}. Correct the classes.")

    @property
    def cell_of_slide(self) -> tuple[int, ...]:
        """For each slide class its cell class, as numbers.

        Raises:
            TrainingError: a slide class is in no fold of the cell classes.
        """
        try:
            return class_map(self.slides, self.cells)
        except ValueError as error:
            raise TrainingError(
                f"Slide classes {', '.join(self.slides)} do not fold into cell classes "
                f"{', '.join(self.cells)}: {error} Every slide class needs a cell class that "
                "contains it. Correct the classes."
            ) from error


class JointBatch(NamedTuple):
    """One step's crops; a part that is not trained is empty (b_c = 0 or b_W = 0)."""

    cells: Tensor
    """(b_c, 3, P, P) uint8"""
    cell_labels: Tensor
    """(b_c,) cell classes"""
    bags: Tensor
    """(b_W, K, 3, P, P) uint8; blank where ``valid`` is False"""
    valid: Tensor
    """(b_W, K) bool"""
    slide_labels: Tensor
    """(b_W,) slide classes"""
    truth: Tensor
    """(b_W, K) cell classes where they are known (phantoms), else -1; for the log alone"""


class JointSampler:
    """Draws joint batches from the training split of a store.

    Args:
        store: an open crop store.
        classes: slide and cell classes.
        n_cells: labelled cells a batch (b_c); 0 leaves them out.
        n_slides: slides a batch (b_W); 0 leaves them out.
        top_k: cells of a slide (K).
        labels: which cells are labelled: ``given`` (what a laboratory labelled), ``nilm`` (these
            and every bag cell of NILM slides, as NILM) or ``all`` (the truth of every bag cell).

    Raises:
        TrainingError: no labelled cell, no positive or no NILM slide, or an empty bag.
    """

    def __init__(
        self,
        store: CropStore,
        classes: Classes,
        *,
        n_cells: int,
        n_slides: int,
        top_k: int,
        labels: str = "given",
    ) -> None:
        self.store, self.classes = store, classes
        self.n_cells, self.n_slides, self.top_k = n_cells, n_slides, top_k
        self._truth = class_numbers(store.cells.truth, classes.cells)
        if n_cells:
            self._by_class = self._labelled(labels)
        if n_slides:
            self._slides = self._slides_by_call()

    def draw(self, rng: np.random.Generator) -> JointBatch:
        """One batch; all chance is ``rng``'s."""
        rows, cell_labels = self._draw_cells(rng)
        slides = self._draw_slides(rng)
        k, side = self.top_k, self.store.crop_px
        bags = torch.zeros(len(slides), k, 3, side, side, dtype=torch.uint8)
        valid = torch.zeros(len(slides), k, dtype=torch.bool)
        truth = torch.full((len(slides), k), UNKNOWN)
        for place, slide in enumerate(slides):
            bag = self.store.bag(slide.slide_id, k)
            bags[place, : len(bag)] = self._read(bag)
            valid[place, : len(bag)] = True
            truth[place, : len(bag)] = torch.from_numpy(self._truth[bag])
        slide_labels = [self.classes.slides.index(slide.label) for slide in slides]
        return JointBatch(
            self._read(rows),
            torch.tensor(cell_labels, dtype=torch.long),
            bags,
            valid,
            torch.tensor(slide_labels, dtype=torch.long),
            truth,
        )

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        crops = torch.from_numpy(np.ascontiguousarray(self.store.crops[rows]))
        return crops.permute(0, 3, 1, 2).contiguous()  # (n, 3, P, P)

    def _draw_cells(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[int]]:
        rows, labels = [], []
        for _ in range(self.n_cells):
            name = int(rng.choice(list(self._by_class)))
            rows.append(int(rng.choice(self._by_class[name])))
            labels.append(name)
        return np.array(rows, dtype=np.int64), labels

    def _draw_slides(self, rng: np.random.Generator) -> list[StoredSlide]:
        """Half positive; of an odd number the odd one is either by chance."""
        if not self.n_slides:
            return []
        n_positive = self.n_slides // 2 + (self.n_slides % 2) * int(rng.integers(2))
        chosen = []
        for call, n in ((True, n_positive), (False, self.n_slides - n_positive)):
            pool = self._slides[call]
            chosen += [pool[i] for i in rng.choice(len(pool), n, replace=n > len(pool))]
        return chosen

    def _labelled(self, labels: str) -> dict[int, NDArray[np.int64]]:
        """Rows of labelled cells by cell class."""
        cells, store = self.store.cells, self.store
        training = store.of_split("train")
        given = class_numbers(cells.given, self.classes.cells)
        if labels == "all":
            inside = np.isin(cells.slide_id, [slide.slide_id for slide in training])
            given = np.where(inside & (cells.rank >= 0), self._truth, UNKNOWN)
        else:
            labelled = np.zeros(len(cells), bool)
            labelled[store.labelled("train")] = True
            if strangers := sorted(set(cells.given[labelled & (given == UNKNOWN)].tolist())):
                raise TrainingError(
                    f"Cells of {store.folder} are labelled {', '.join(strangers)}. Allowed: "
                    f"{', '.join(self.classes.cells)}, and what they contain. Correct the labels "
                    "or the classes."
                )
            given = np.where(labelled, given, UNKNOWN)
        if labels == "nilm":
            negative = [slide.slide_id for slide in training if slide.label == "NILM"]
            given[np.isin(cells.slide_id, negative) & (cells.rank >= 0)] = 0
        found = {int(name): np.flatnonzero(given == name) for name in np.unique(given[given >= 0])}
        if not found:
            raise TrainingError(
                f"{store.folder} holds no labelled cell of the training split (labels: {labels}). "
                "At least one is needed. Label cells, or train without the cell stream."
            )
        return found

    def _slides_by_call(self) -> dict[bool, list[StoredSlide]]:
        training = [slide for slide in self.store.of_split("train") if slide.label]
        unknown = sorted({slide.label for slide in training} - set(self.classes.slides))
        empty = [slide.slide_id for slide in training if not len(self.store.bag(slide.slide_id))]
        pools = {
            call: [slide for slide in training if (slide.label != "NILM") == call]
            for call in (True, False)
        }
        problems = []
        if unknown:
            allowed = ", ".join(self.classes.slides)
            problems.append(f"slide labels {', '.join(unknown)} are no class of {allowed}")
        if empty:
            problems.append(f"slides without a cell: {', '.join(empty[:5])}")
        problems += [
            f"no {name} slide in the training split"
            for call, name in ((True, "positive"), (False, "NILM"))
            if not pools[call]
        ]
        if problems:
            raise TrainingError(
                f"{self.store.folder} cannot be trained on: {'; '.join(problems)}. Allowed: slides "
                "of these classes with a cell each, of both calls. Correct the store's manifest."
            )
        return pools


def fold_slides(store: CropStore, classes: Classes) -> CropStore:
    """The store with its slides labelled by the slide classes: HSIL becomes HSIL+SCC.

    A slide of several classes is one of its most severe (spec swift.md, 1).

    Raises:
        TrainingError: a slide of training or validation is labelled what no class contains.
    """
    home = {"": ""}
    for name in {slide.label for slide in store.slides} - set(home):
        tried = class_numbers(np.array([name, most_severe(name.split("+"))]), classes.slides)
        number = next((int(n) for n in tried if n != UNKNOWN), UNKNOWN)
        if number != UNKNOWN:
            home[name] = classes.slides[number]
    learnt = {slide.label for slide in store.of_split("train", "validation")}
    if strangers := sorted(learnt - set(home)):
        raise TrainingError(
            f"Slides of {store.folder} are labelled {', '.join(strangers)}. Allowed: "
            f"{', '.join(classes.slides)}, and what they contain. Correct the labels or the "
            "classes."
        )
    slides = tuple(replace(each, label=home.get(each.label, each.label)) for each in store.slides)
    return replace(store, slides=slides)


def class_numbers(names: NDArray[np.str_], classes: Sequence[str]) -> NDArray[np.int64]:
    """Number of each name in ``classes`` or of the fold that contains it; -1 for any other."""
    home = {member: number for number, name in enumerate(classes) for member in fold_members(name)}
    home |= {name: number for number, name in enumerate(classes)}
    unique, inverse = np.unique(names, return_inverse=True)
    numbers = np.array([_home(str(name), home) for name in unique], dtype=np.int64)
    return numbers[inverse]


def _home(name: str, home: dict[str, int]) -> int:
    """A name's number; a fold's own name may be finer than the classes."""
    if name in home:
        return home[name]
    places = {home.get(member, UNKNOWN) for member in name.split("+")}
    return places.pop() if len(places) == 1 else UNKNOWN
