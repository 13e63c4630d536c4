"""One split's share of CRIC: open fields, labelled cells that can be cut out, and other cells.

A patch must not show what its slide's label denies: it reaches no nucleus of a class graver than
its own cell's. A cell without room for that is left out, like one at the border of its field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.background import BackgroundPlaces, find_background
from koilo.datasets.cric import CricCell, CricField
from koilo.errors import ManifestError
from koilo.phantom.patch import glass_of
from koilo.slides import Slide, open_slide
from koilo.taxonomy import NEGATIVE, severity

LEAST_REACH_UM = 10.0
"""A nucleus and the seam around it: what a patch needs on each side of its cell."""
_NUCLEUS_UM = 4.0
_PLACES = BackgroundPlaces(n_anywhere=0, n_dark=40, dark_clear_um=12.0, margin_um=LEAST_REACH_UM)


@dataclass(frozen=True)
class RealCell:
    """A cell to cut out; ``label`` is empty for a dark place that CRIC does not label.

    ``reach_um``: how far a patch may reach from its middle, left and right, and up and down.
    """

    field_id: int
    block: int
    cell_id: str
    x_px0: float
    y_px0: float
    label: str
    reach_um: tuple[float, float]


@dataclass(frozen=True)
class OpenField:
    """A field whose file is open; ``mpp`` is the pixel size of the crops."""

    source: CricField
    slide: Slide
    mpp: float

    @cached_property
    def glass(self) -> NDArray[np.float32]:
        """Grey levels (3,) of its clear glass."""
        return glass_of(self.slide)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The whole field, uint8 (H, W, 3)."""
        width, height = (int(side * self.source.mpp / self.mpp) for side in self.slide.dimensions)
        return self.slide.read_at_mpp((0, 0), self.mpp, (width, height))

    @property
    def clean(self) -> bool:
        """Whether no cell of it is labelled a lesion."""
        return all(cell.label == NEGATIVE for cell in self.source.cells)


@dataclass(frozen=True)
class Pool:
    """The fields of one split by id, and the cells of these that can be cut out."""

    fields: dict[int, OpenField]
    cells: tuple[RealCell, ...]

    def of(self, *labels: str) -> list[RealCell]:
        """The cells of the given classes, in the order of the fields."""
        return [cell for cell in self.cells if cell.label in labels]


@contextmanager
def open_pool(fields: Sequence[CricField], fold: int, mpp: float, seed: int) -> Iterator[Pool]:
    """Open the fields of a fold and find their cells.

    Raises:
        ManifestError: the fold has no field without lesions, of which ground is made.
        SlideError: a field cannot be read.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xC1, fold]))
    with ExitStack() as stack:
        opened = {f.field_id: _opened(f, mpp, stack) for f in fields if f.fold == fold}
        if not any(field.clean for field in opened.values()):
            raise ManifestError(
                f"No field of CRIC's fold {fold} is without lesions. Such fields give ground and "
                "unlabelled cells. Use the whole collection."
            )
        found: list[RealCell] = []
        for field in opened.values():
            found += _labelled(field)
            found += _unlabelled(field, rng) if field.clean else []
        yield Pool(opened, tuple(found))


def _opened(source: CricField, mpp: float, stack: ExitStack) -> OpenField:
    return OpenField(source, stack.enter_context(open_slide(source.path, mpp=source.mpp)), mpp)


def _labelled(field: OpenField) -> Iterator[RealCell]:
    for cell in field.source.cells:
        graver = [c for c in field.source.cells if severity(c.label) > severity(cell.label)]
        reach = _reach_um(field, cell.x_px0, cell.y_px0, graver)
        if min(reach) >= LEAST_REACH_UM:
            yield _cell(field, cell.cell_id, (cell.x_px0, cell.y_px0), cell.label, reach)


def _unlabelled(field: OpenField, rng: np.random.Generator) -> Iterator[RealCell]:
    to_px0 = field.mpp / field.source.mpp
    known = np.array([(c.x_px0, c.y_px0) for c in field.source.cells]) / to_px0
    places = find_background(field.image, field.mpp, known, rng, _PLACES)
    for number, (x, y) in enumerate((places * to_px0).tolist()):
        reach = _reach_um(field, x, y, ())
        if min(reach) >= LEAST_REACH_UM:
            yield _cell(field, f"dark-{number}", (x, y), "", reach)


def _reach_um(
    field: OpenField, x_px0: float, y_px0: float, strangers: Sequence[CricCell]
) -> tuple[float, float]:
    """Distance to the nearest border in x and y, and to strangers' nuclei in both."""
    mpp, (width, height) = field.source.mpp, field.slide.dimensions
    gaps = [max(abs(c.x_px0 - x_px0), abs(c.y_px0 - y_px0)) * mpp for c in strangers]
    free = min(gaps, default=np.inf) - _NUCLEUS_UM
    reach = (min(x_px0, width - x_px0) * mpp, min(y_px0, height - y_px0) * mpp)
    return float(min(reach[0], free)), float(min(reach[1], free))


def _cell(
    field: OpenField,
    cell_id: str,
    at_px0: tuple[float, float],
    label: str,
    reach: tuple[float, float],
) -> RealCell:
    source = field.source
    return RealCell(source.field_id, source.block or 0, cell_id, *at_px0, label, reach)
