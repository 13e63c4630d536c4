"""How like the training data a slide's cells are: the out-of-distribution score of a slide.

Summed up are the best cells alone, so that a field of ninety cells and a slide of a thousand can be
compared: mean and spread of their features along the directions in which training cells differ
most, and the colour and sharpness of their pictures. The distance of a summary is its Mahalanobis
distance from those of the training and validation pictures; the score is the share of these that
lie nearer to their own middle than the slide does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from koilo.bundle import Bundle, Tensors
from koilo.errors import BundleError

BEST = 96
"""Cells that are summed up, best detection first."""

PART = "likeness"
"""Name of the bundle's file of reference statistics."""

N_DIRECTIONS, SHRINKAGE = 4, 0.1
"""More directions made shifted stain and blur harder to see (runs/doubt_report.py)."""

N_COLOURS = 7

Numbers = NDArray[np.float64]
_INK_OD = 0.15
_LEAST = 1e-6
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
"""Optical density of each grey; a table is several times as fast as the logarithm."""


@dataclass(frozen=True)
class Likeness:
    """What a summary is compared with.

    Attributes:
        middle: (D,) mean of the training cells' features.
        directions: (D, K) the directions that features are seen along, unit columns.
        mean: (S,) of the reference summaries, S = 2 K + 7.
        spread: (S,) their standard deviations.
        whitening: (S, S) takes standardised summaries to uncorrelated ones of unit size.
        distances: (R,) of the reference pictures, each from the others alone, ascending.
    """

    middle: Numbers
    directions: Numbers
    mean: Numbers
    spread: Numbers
    whitening: Numbers
    distances: Numbers

    def distance(self, summary: Numbers) -> float:
        """Distance of a summary (S,) from the reference."""
        return float(np.linalg.norm((summary - self.mean) / self.spread @ self.whitening))

    def ood_score(self, features: NDArray[np.floating], crops: NDArray[np.uint8]) -> float:
        """Share of the reference pictures that lie nearer than this slide, 0 to 1.

        Args:
            features: (N, D) of the cell classifier, best detection first; N is 1 at least.
            crops: uint8 (N, P, P, 3) of the same cells.
        """
        summary = sum_up(features, crop_colours(crops), self.middle, self.directions)
        return self.score(self.distance(summary))

    def score(self, distance: float) -> float:
        """Share of the reference pictures that lie nearer."""
        nearer = np.searchsorted(self.distances, distance, side="left")
        return float(nearer / len(self.distances))

    def tensors(self) -> Tensors:
        """As the bundle stores it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def load_likeness(bundle: Bundle) -> Likeness | None:
    """The bundle's reference statistics; None where it has none.

    Raises:
        BundleError: the file lacks a part, or its parts do not fit each other.
    """
    if f"{PART}.safetensors" not in bundle.spec["sha256"]:
        return None
    tensors = bundle.tensors(PART)
    try:
        found = Likeness(*(tensors[each.name].astype(np.float64) for each in fields(Likeness)))
        n_features, n_directions = found.directions.shape
        n_summary = 2 * n_directions + N_COLOURS
        shapes = [each.shape for each in (found.middle, found.mean, found.spread, found.whitening)]
        if shapes != [(n_features,), (n_summary,), (n_summary,), (n_summary, n_summary)]:
            raise ValueError(f"shapes {shapes} beside directions {found.directions.shape}")
        if found.distances.ndim != 1 or not len(found.distances):
            raise ValueError("no reference distance")
    except (KeyError, ValueError) as error:
        raise BundleError(
            f"Bundle {bundle.name}: {PART}.safetensors does not fit together ({error}). It is "
            "written by runs/doubt.py beside the models it belongs to. Get the bundle anew."
        ) from error
    return found


def fit_likeness(
    features: Sequence[NDArray[np.floating]],
    colours: Numbers,
    groups: Sequence[str],
    n_directions: int = N_DIRECTIONS,
) -> Likeness:
    """Reference statistics of training and validation pictures.

    Each picture's own distance is taken from the pictures of the other groups alone: otherwise a
    new slide would seem further off than it is.

    Args:
        features: R pictures' features (N, D), best detection first.
        colours: (R, 7) of `crop_colours`.
        groups: R names of centre or block: pictures of one group resemble each other.
        n_directions: K, at most D.

    Raises:
        ValueError: fewer than three groups.
    """
    names = np.asarray(groups)
    if len(set(groups)) < 3:
        raise ValueError("a reference needs pictures of three groups at least")
    cells = np.concatenate([each[:BEST] for each in features]).astype(np.float64)  # (M, D)
    middle = cells.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((cells - middle).T))  # ascending
    directions = vectors[:, ::-1][:, :n_directions]
    summaries = np.stack(
        [sum_up(each, own, middle, directions) for each, own in zip(features, colours, strict=True)]
    )  # (R, S)
    distances: list[float] = []
    for name in sorted(set(groups)):
        others = Likeness(middle, directions, *_statistics(summaries[names != name]), np.zeros(1))
        distances += [others.distance(summary) for summary in summaries[names == name]]
    return Likeness(middle, directions, *_statistics(summaries), np.sort(distances))


def _statistics(summaries: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Mean (S,), spread (S,) and whitening (S, S) of summaries (R, S)."""
    mean, spread = summaries.mean(axis=0), summaries.std(axis=0) + _LEAST
    covariance = np.cov(((summaries - mean) / spread).T)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(shrunk)
    return mean, spread, vectors / np.sqrt(values)


def sum_up(
    features: NDArray[np.floating], colours: Numbers, middle: Numbers, directions: Numbers
) -> Numbers:
    """Mean and spread of the best features (N, D) along ``directions``, and colours: (2 K + 7,)."""
    seen = (np.asarray(features[:BEST], np.float64) - middle) @ directions  # (N, K)
    return np.concatenate([seen.mean(axis=0), seen.std(axis=0), colours])


def crop_colours(crops: NDArray[np.uint8]) -> Numbers:
    """(7,): mean and spread of optical density by channel where there is stain, and sharpness.

    Sharpness is the logarithm of the mean step from a pixel to the next over the spread.
    """
    density = _DENSITY[crops[:BEST]]  # (N, P, P, 3)
    channels = [np.ascontiguousarray(density[..., channel]) for channel in range(3)]
    stained = channels[0] + channels[1] + channels[2] > 3 * _INK_OD  # (N, P, P)
    pixels = [each[stained] if stained.any() else each for each in channels]  # (M,) each
    mean, spread = [each.mean() for each in pixels], [each.std() for each in pixels]
    step = np.abs(density[:, :, 1:] - density[:, :, :-1]).mean()
    sharpness = np.log((step + _LEAST) / (np.mean(spread) + _LEAST))
    return np.array([*mean, *spread, sharpness], np.float64)
