"""The cohort's centres: eight for training, five outside their range of colour, colour twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.canvas import Window, expose
from koilo.phantom.centre import BASE_STAIN, Centre, draw_centre
from koilo.phantom.multicentre.config import (
    LABELLED_CENTRES,
    TRAINING_CENTRES,
    UNSEEN_DISTANCES,
    CohortConfig,
)
from koilo.phantom.multicentre.kinds import NAMES

_COLOURS = ("stain", "dye_gain", "white", "gamma", "flare")
"""What a colour twin takes from another centre; blur, pixel size and density stay."""
_TRIES, _BISECTIONS, _FARTHEST = 200, 14, 6.0
_CLOSE_ENOUGH = 0.002
HUE_LIMIT_DEG = 8.0
"""How far a dye's vector may turn from its base. `draw_centre` turns it by 2.4 degrees in the
median and 7.3 at most (1,280 dyes); without a limit one unseen centre had red nuclei."""

Canvas = NDArray[np.float32]  # (H, W, 4) dye amounts


@dataclass(frozen=True)
class CohortCentre:
    """A centre as the cohort needs it: look, mimics, and how the detector's scores shift there.

    ``mimics`` (K,) is how many cells of each kind in `NAMES` a slide has on average, 0 but for
    mimics; it depends neither on the slide's class nor on its number of cells.
    ``distance`` is that of its mean colour from the nearest training centre's, which is
    ``nearest``; 0 for training centres.
    """

    name: str
    centre: Centre
    mimic_share: float
    score_shift: float
    mimics: NDArray[np.float64]
    distance: float = 0.0
    nearest: int = -1


def draw_centres(config: CohortConfig, *, centre_spread: float) -> tuple[CohortCentre, ...]:
    """Training centres T1 …, then unseen ones U1 …, these not yet out of the range of colour.

    ``centre_spread`` is the standard deviation of the centres' shifts of the detector's logit.
    """
    n_unseen = len(UNSEEN_DISTANCES)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xCE]))
    low, high = config.other_mimics
    shares = [
        *[config.labelled_mimics] * LABELLED_CENTRES,
        *rng.permutation(np.linspace(low, high, TRAINING_CENTRES - LABELLED_CENTRES)),
        *rng.permutation(np.linspace(low, high, n_unseen)),
    ]
    names = [f"T{i + 1}" for i in range(TRAINING_CENTRES)] + [f"U{i + 1}" for i in range(n_unseen)]
    return tuple(
        CohortCentre(
            name=name,
            centre=_settled(rng, draw_centre(config.seed, index), name),
            mimic_share=float(share),
            score_shift=float(rng.normal(0, centre_spread)),
            mimics=np.zeros(len(NAMES)),
        )
        for index, (name, share) in enumerate(zip(names, shares, strict=True))
    )


def in_colours_of(centre: Centre, other: Centre) -> Centre:
    """A centre with the colours of another: its colour twin."""
    return replace(centre, **{name: getattr(other, name) for name in _COLOURS})


def move_unseen(
    config: CohortConfig,
    centres: Sequence[CohortCentre],
    canvases: Sequence[Canvas],
) -> tuple[CohortCentre, ...]:
    """Move the unseen centres' colours out of the training range to `UNSEEN_DISTANCES`.

    Args:
        config: gives the seed.
        centres: of `draw_centres`.
        canvases: painted crops of each centre side by side, on which its mean colour is measured.
    """
    pairs = list(zip(centres, canvases, strict=True))
    known = np.stack(
        [mean_rgb(each.centre, painted, config.mpp) for each, painted in pairs[:TRAINING_CENTRES]]
    )
    out = list(centres[:TRAINING_CENTRES])
    for number, ((each, painted), wanted) in enumerate(
        zip(pairs[TRAINING_CENTRES:], UNSEEN_DISTANCES, strict=True)
    ):
        rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xCF, number]))

        def distances(look: Centre, painted: Canvas = painted) -> NDArray[np.float64]:
            return np.linalg.norm(known - mean_rgb(look, painted, config.mpp), axis=1)

        out.append(_moved(rng, each, distances, wanted))
    return tuple(out)


def mean_rgb(centre: Centre, canvas: Canvas, mpp: float) -> NDArray[np.float64]:
    """Mean colour (3,) in 0-1 of a painted canvas as a centre's scanner takes it."""
    window = Window(0.0, 0.0, mpp, canvas.shape[1], canvas.shape[0])
    picture = expose(canvas.copy(), centre, window, (0, 0))
    return np.asarray(picture.reshape(-1, 3).mean(0) / 255, np.float64)


def _settled(rng: np.random.Generator, centre: Centre, name: str) -> Centre:
    """Focus wide enough to matter at 0.75 µm a pixel, JPEG as it shows there."""
    return replace(
        centre,
        name=name,
        blur_um=float(rng.uniform(0.15, 0.5)),
        jpeg_quality=int(rng.integers(84, 96)),
    )


def _moved(
    rng: np.random.Generator,
    each: CohortCentre,
    distances: Callable[[Centre], NDArray[np.float64]],
    wanted: float,
) -> CohortCentre:
    """Go in random directions of colour until one leads to the wanted distance; keep the best."""
    best: tuple[float, Centre, NDArray[np.float64]] | None = None
    for _ in range(_TRIES):
        direction = _direction(rng)
        low, high = 0.0, _FARTHEST
        if distances(_along(each.centre, direction, high)).min() < wanted:
            continue
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            far = distances(_along(each.centre, direction, middle)).min() >= wanted
            low, high = (low, middle) if far else (middle, high)
        moved = _along(each.centre, direction, high)
        reached = distances(moved)
        error = abs(float(reached.min()) - wanted)
        if best is None or error < best[0]:
            best = error, moved, reached
        if error < _CLOSE_ENOUGH:
            break
    assert best is not None, "no direction of colour leads far enough"
    _, moved, reached = best
    return replace(each, centre=moved, distance=float(reached.min()), nearest=int(reached.argmin()))


def _direction(rng: np.random.Generator) -> dict[str, Any]:
    """Light, white point and amounts of dye first; the hues of the dyes a little."""
    return {
        "stain": rng.normal(0, 0.03, (3, 4)),
        "dye_gain": rng.normal(0, (0.1, 0.3, 0.3, 0.3)),
        "white": rng.normal(0, 8) + rng.normal(0, 4, 3),
        "gamma": rng.normal(0, 0.06),
    }


def _along(centre: Centre, direction: dict[str, Any], far: float) -> Centre:
    """The centre's colours ``far`` steps along a direction; nuclei stay short of black."""
    gain = centre.dye_gain * np.exp(far * direction["dye_gain"])
    gain[0] = np.clip(gain[0], 0.65, 1.1)
    return replace(
        centre,
        stain=_near_base(centre.stain + far * direction["stain"]),
        dye_gain=gain.clip(0.4, 1.8).astype(np.float32),
        white=(centre.white + far * direction["white"]).clip(195, 253).astype(np.float32),
        gamma=float(np.clip(centre.gamma + far * direction["gamma"], 0.8, 1.25)),
    )


def _near_base(stain: NDArray[Any]) -> NDArray[np.float32]:
    """Unit vectors (3, 4), none farther than `HUE_LIMIT_DEG` from its base."""
    stain = stain.clip(0.02, None)
    stain = stain / np.linalg.norm(stain, axis=0)
    cosine = (stain * BASE_STAIN).sum(0)
    aside = stain - cosine * BASE_STAIN  # (3, 4), at right angles to the base
    aside /= np.linalg.norm(aside, axis=0).clip(1e-9)
    angle = np.minimum(np.arccos(cosine.clip(-1, 1)), np.deg2rad(HUE_LIMIT_DEG))
    return (np.cos(angle) * BASE_STAIN + np.sin(angle) * aside).astype(np.float32)
