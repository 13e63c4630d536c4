"""Kinds of the cohort's cells: a lesion has size, chromatin and contour together, others never all.

Built from the phantom's kinds with three changes. Texture is coarse enough to be seen at 0.75 µm
a pixel; each cell is dealt one of four textures, so that chromatin and contour are independent of
size among normal cells; and what a mimic shares with a lesion is as large as a lesion's own.
Colours are the same for all kinds of one build: attributes are shape and texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from koilo.phantom.kind import Kind, Spread
from koilo.phantom.kinds import KINDS

_FINE, _COARSE = Spread(0.12, 0.3, 0.03, 0.3), Spread(0.8, 0.14, 0.55, 1.0)
_SMOOTH, _IRREGULAR = Spread(0.014, 0.35, 0.004, 0.035), Spread(0.1, 0.2, 0.065, 0.2)
TEXTURES = ("fine smooth", "coarse smooth", "fine irregular", "coarse irregular")
_ANY = (0.28, 0.24, 0.24, 0.24)
_NEVER_BOTH = (0.34, 0.33, 0.33, 0.0)
_BLAND = (1.0, 0.0, 0.0, 0.0)
_BOTH = (0.0, 0.0, 0.0, 1.0)

_MATURE_TINTS = {"cyan": 0.55, "pink": 0.25, "mixed": 0.12, "orange": 0.08}
_DENSE_TINTS = {"cyan": 0.7, "mixed": 0.18, "pink": 0.12}
_DARK = Spread(1.05, 0.16, 0.6, 1.8)
_LARGE = Spread(108, 0.22, 72, 210)
_HALO = Spread(2.1, 0.18, 1.5, 3.0)


@dataclass(frozen=True)
class CohortKind:
    """A kind with its part in the cohort.

    ``role`` is normal, mimic or lesion. ``weight`` is its share among the normal cells, among the
    mimics of the top cells, or among the cells of its class. ``textures`` are weights of
    `TEXTURES`. ``laid_over`` names what covers the nucleus: another cell, neutrophils, or nothing.
    ``focus`` false: always out of focus.
    """

    kind: Kind
    role: str
    weight: float
    textures: tuple[float, float, float, float]
    laid_over: str = ""
    focus: bool = True

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name


def textured(kind: CohortKind, rng: np.random.Generator) -> tuple[Kind, str]:
    """The kind of one cell, with the texture dealt to it, and that texture's name."""
    texture = TEXTURES[int(rng.choice(4, p=np.array(kind.textures) / sum(kind.textures)))]
    coarse, irregular = texture.startswith("coarse"), texture.endswith("irregular")
    return (
        replace(
            kind.kind,
            coarseness=_COARSE if coarse else _FINE,
            irregularity=_IRREGULAR if irregular else _SMOOTH,
        ),
        texture,
    )


def _like(base: str, name: str = "", **changes: object) -> Kind:
    kind = replace(KINDS[base], smudge=0.0, groove=0.0, nucleoli=0.0, vesicular=0.0)
    return replace(kind, name=name or base, **changes)  # type: ignore[arg-type]


def _normal() -> list[CohortKind]:
    halo = {"halo": 0.3, "halo_ratio": _HALO, "tints": _MATURE_TINTS}
    dark = {"darkness": Spread(0.8, 0.25, 0.4, 1.5)}
    return [
        CohortKind(_like("superficial", nucleus_um2=Spread(24, 0.3, 10, 50), **halo, **dark),
                   "normal", 26, _ANY),
        CohortKind(_like("intermediate", nucleus_um2=Spread(38, 0.25, 20, 62), **halo, **dark),
                   "normal", 46, _ANY),
        CohortKind(_like("parabasal", cell_um=Spread(19, 0.2, 13, 30), tints=_DENSE_TINTS,
                         nucleus_um2=Spread(44, 0.2, 24, 62), **dark), "normal", 6, _ANY),
        CohortKind(_like("metaplastic_mature", nucleus_um2=Spread(44, 0.2, 24, 62),
                         tints=_DENSE_TINTS, **dark), "normal", 4, _ANY),
        CohortKind(_like("endocervical", nucleus_um2=Spread(46, 0.2, 26, 64),
                         nucleus_aspect=Spread(1.35, 0.16, 1, 2.4), vacuoles=0.2, **dark),
                   "normal", 3, _ANY),
    ]  # fmt: skip


def _mimics() -> list[CohortKind]:
    mature = {"tints": _MATURE_TINTS, "darkness": _DARK, "folds": 1.0}
    large = mature | {"nucleus_um2": _LARGE, "cell_um": Spread(44, 0.16, 28, 62)}
    small = {"tints": _DENSE_TINTS, "darkness": Spread(1.2, 0.16, 0.7, 2.0)}
    high_nc = small | {"nucleus_um2": Spread(84, 0.22, 58, 180)}
    halo = {"halo": 1.0, "halo_ratio": _HALO}
    multi = {"nuclei": (0.0, 0.2, 0.5, 0.3)}
    normal = {"nucleus_um2": Spread(52, 0.2, 34, 80)} | mature
    return [
        CohortKind(_like("enlarged_bland", halo=0.3, halo_ratio=_HALO, **large), "mimic", 14,
                   _NEVER_BOTH),
        CohortKind(_like("reactive", nucleoli=0.6, halo=0.3, halo_ratio=_HALO, **large), "mimic",
                   11, _NEVER_BOTH),
        CohortKind(_like("pseudo_koilocyte", **large, **halo), "mimic", 11, _NEVER_BOTH),
        CohortKind(_like("navicular", **normal, **halo), "mimic", 4, _ANY),
        CohortKind(_like("multinucleated_reactive", **normal), "mimic", 3, _NEVER_BOTH),
        CohortKind(_like("multinucleated_reactive", "herpes", **large, **multi), "mimic", 3,
                   (0.5, 0.0, 0.5, 0.0)),
        CohortKind(_like("intermediate", "folded", **normal | {"folds": 5.0}), "mimic", 3,
                   _NEVER_BOTH),
        CohortKind(_like("intermediate", "overlap", **normal), "mimic", 3, _BLAND,
                   laid_over="cell"),
        CohortKind(_like("enlarged_bland", "out_of_focus", **large), "mimic", 3, _NEVER_BOTH,
                   focus=False),
        CohortKind(_like("metaplastic_immature", **high_nc), "mimic", 12, _NEVER_BOTH),
        CohortKind(_like("atrophic", **high_nc), "mimic", 12, _NEVER_BOTH),
        CohortKind(_like("histiocyte", nucleus_um2=Spread(62, 0.2, 40, 110), **small), "mimic", 4,
                   _NEVER_BOTH),
        CohortKind(_like("lymphocyte", **small), "mimic", 3, _ANY),
        CohortKind(_like("parabasal", "under_neutrophils", **small), "mimic", 3, _BLAND,
                   laid_over="neutrophils"),
        CohortKind(_like("degenerated", **high_nc), "mimic", 4, _NEVER_BOTH),
        CohortKind(_like("parakeratosis", nucleus_um2=Spread(36, 0.3, 14, 60),
                         **small | {"tints": {"orange": 0.7, "pink": 0.3}}), "mimic", 4, _ANY),
        CohortKind(_like("tubal", nucleus_um2=_LARGE, darkness=_DARK), "mimic", 5, _NEVER_BOTH),
        CohortKind(_like("endometrial", nucleus_um2=Spread(48, 0.2, 26, 64), darkness=_DARK),
                   "mimic", 3, _ANY),
        CohortKind(_like("tubal", "lower_segment", nucleus_um2=Spread(84, 0.2, 60, 160),
                         nucleus_aspect=Spread(1.35, 0.14, 1, 2.2), darkness=_DARK), "mimic", 4,
                   _NEVER_BOTH),
    ]  # fmt: skip


def _lesions() -> list[CohortKind]:
    mature = {"tints": _MATURE_TINTS, "darkness": _DARK, "nucleus_um2": _LARGE,
              "cell_um": Spread(44, 0.16, 28, 62)}  # fmt: skip
    small = {"tints": _DENSE_TINTS, "darkness": Spread(1.2, 0.16, 0.7, 2.0)}
    grade3 = small | {"nucleus_um2": Spread(96, 0.24, 66, 220)}
    return [
        CohortKind(_like("ascus", halo=0.0, **mature), "lesion", 1, _BOTH),
        CohortKind(_like("koilocyte", halo_ratio=_HALO, nuclei=(0.75, 0.25), **mature), "lesion",
                   1, _BOTH),
        CohortKind(_like("asch", cell_um=Spread(22, 0.16, 15, 34),
                         nucleus_um2=Spread(84, 0.2, 62, 170), **small), "lesion", 1, _BOTH),
        CohortKind(_like("hsil", **grade3), "lesion", 1, _BOTH),
        CohortKind(_like("scc_keratinising", tints={"orange": 0.7, "pink": 0.3},
                         darkness=small["darkness"], nucleus_um2=grade3["nucleus_um2"]),
                   "lesion", 0.45, _BOTH),
        CohortKind(_like("scc_nonkeratinising", nucleoli=0.5, **grade3), "lesion", 0.55, _BOTH),
        CohortKind(_like("agc_endocervical", nucleus_um2=_LARGE, darkness=_DARK, vacuoles=0.1),
                   "lesion", 0.6, _BOTH),
        CohortKind(_like("ais", nucleus_um2=Spread(88, 0.2, 64, 180), darkness=_DARK), "lesion",
                   0.4, _BOTH),
    ]  # fmt: skip


COHORT_KINDS: dict[str, CohortKind] = {
    kind.name: kind for kind in (*_normal(), *_mimics(), *_lesions())
}
NAMES = tuple(COHORT_KINDS)
NORMAL = tuple(name for name in NAMES if COHORT_KINDS[name].role == "normal")
MIMICS = tuple(name for name in NAMES if COHORT_KINDS[name].role == "mimic")
LESIONS = tuple(name for name in NAMES if COHORT_KINDS[name].role == "lesion")
