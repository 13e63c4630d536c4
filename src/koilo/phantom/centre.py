"""Centres: laboratories that differ in stain, light, optics, scanner and the cells they see.

Colour is mixed as optical density (Beer-Lambert): a pixel's density is the sum over dyes of amount
times the dye's unit vector, and overlapping cells add. The dyes are those of the Papanicolaou
stain: haematoxylin, light green, eosin, orange G. Base vectors follow spec/cytology.md ("Colour":
the haematoxylin vector and the cytoplasm densities are measured on CRIC, the rest is chosen to
reach them).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

DYES = ("haematoxylin", "light_green", "eosin", "orange_g")

_VECTORS = np.array(
    [
        [0.53, 0.71, 0.47],  # haematoxylin: nuclei of CRIC, a little bluer as no cytoplasm is in it
        [0.83, 0.47, 0.30],  # light green
        [0.17, 0.80, 0.58],  # eosin
        [0.10, 0.52, 0.85],  # orange G
    ]
)
BASE_STAIN = (_VECTORS / np.linalg.norm(_VECTORS, axis=1, keepdims=True)).T
"""Unit optical densities (3, 4) from which every centre's dyes are drawn, columns as `DYES`."""
MIMIC_GROUPS = ("enlarged", "high_nc", "pale_centre", "dark", "inflammatory", "glandular")


@dataclass(frozen=True)
class Centre:
    """One laboratory. ``name`` is what manifests show; everything else changes the picture only.

    Shapes and units: ``stain`` (3, 4) base-10 optical density per unit of dye, columns as `DYES`;
    ``dye_gain`` (4,) multiplies every dye amount; ``white`` (3,) grey levels of clear glass in
    0-255; ``flare`` the share of stray light that lifts the darkest places;
    ``blur_um`` is the standard deviation of the optics; ``noise`` grey levels (standard deviation);
    ``organism_rates`` how many of each of `kinds_organism.ORGANISMS` lie among 1,000 cells of a
    slide, none by default; the truth counts them, but lists cells alone.
    """

    name: str
    stain: NDArray[np.float32]
    dye_gain: NDArray[np.float32]
    white: NDArray[np.float32]
    mpp: float
    gamma: float
    flare: float
    blur_um: float
    sharpen: float
    noise: float
    vignette: float
    jpeg_quality: int
    cells_per_mm2: float
    neutrophils_per_cell: float
    debris_per_cell: float
    stipple: float
    out_of_focus: float
    cluster_share: float
    preparation: str
    mimic_rates: dict[str, float] = field(default_factory=dict)
    organism_rates: dict[str, float] = field(default_factory=dict)


def draw_centre(seed: int, index: int) -> Centre:
    """Centre number ``index`` of the world that ``seed`` makes: always the same for the same pair.

    Raises:
        ValueError: ``index`` is negative.
    """
    if index < 0:
        raise ValueError(
            f"A centre's index is {index}; it must be 0 or more. Count centres from 0."
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xCE, index]))
    preparation = ("thinprep", "surepath", "conventional")[int(rng.integers(3))]
    conventional = preparation == "conventional"
    return Centre(
        name=f"C{index + 1:02d}",
        stain=_draw_stain(rng),
        dye_gain=rng.lognormal(np.log([0.88, 0.8, 0.72, 0.72]), [0.1, 0.2, 0.2, 0.25]).astype(
            np.float32
        ),
        white=(rng.uniform(236, 250) + rng.normal(0, 2.6, 3)).clip(228, 253).astype(np.float32),
        mpp=round(float(rng.choice([0.2201, 0.2428, 0.25, 0.2524, 0.2738])), 4),
        gamma=float(rng.uniform(0.9, 1.12)),
        flare=float(rng.uniform(0.02, 0.08)),
        blur_um=float(rng.uniform(0.13, 0.32)),
        sharpen=float(rng.uniform(0.1, 1.3)),
        noise=float(rng.uniform(1.0, 3.2)),
        vignette=float(rng.uniform(0.0, 0.06)),
        jpeg_quality=int(rng.integers(72, 91)),
        cells_per_mm2=float(rng.uniform(260, 620)),
        neutrophils_per_cell=float(rng.lognormal(np.log(1.2 if conventional else 0.6), 0.5)),
        debris_per_cell=float(rng.lognormal(np.log(0.5 if conventional else 0.25), 0.4)),
        stipple=float(rng.uniform(0.3, 1.0) if conventional else rng.uniform(0.05, 0.5)),
        out_of_focus=float(rng.uniform(0.03, 0.15)),
        cluster_share=float(rng.uniform(0.15, 0.45)),
        preparation=preparation,
        mimic_rates={name: float(rng.lognormal(0.0, 0.5)) for name in MIMIC_GROUPS},
    )


def _draw_stain(rng: np.random.Generator) -> NDArray[np.float32]:
    vectors = (_VECTORS + rng.normal(0, 0.035, _VECTORS.shape)).clip(0.02, None)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(unit.T, dtype=np.float32)  # (3, 4)
