"""Kinds of the cohort's cells: a lesion has size, chromatin and contour together, others never all.

Built from the phantom's kinds with three changes. Texture is coarse enough to be seen at 0.75 µm
a pixel; each cell is dealt one of four textures, so that among small nuclei coarse chromatin and
an irregular contour are nothing special; and what a mimic shares with a lesion is as large as a
lesion's own. Kinds of one build share darkness and tints: attributes are shape and texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from koilo.phantom.kind import Kind, Spread
from koilo.phantom.kinds import KINDS

_FINE, _COARSE = Spread(0.05, 0.3, 0.02, 0.12), Spread(0.9, 0.1, 0.7, 1.0)
_COARSE_GRAIN = 1.8
_SMOOTH, _IRREGULAR = Spread(0.011, 0.3, 0.004, 0.025), Spread(0.2, 0.15, 0.14, 0.32)
TEXTURES = ("fine smooth", "coarse smooth", "fine irregular", "coarse irregular")
_ANY = (0.01, 0.44, 0.02, 0.53)
"""Few are fine: the detector ranks coarse nuclei lower, and only the best cells count."""
_NEVER_BOTH = (0.4, 0.12, 0.48, 0.0)
"""Few are coarse: chromatin is learnt long before the contour is (docs/log.md)."""
_BLAND = (1.0, 0.0, 0.0, 0.0)
_BOTH = (0.0, 0.0, 0.0, 1.0)

Look = dict[str, Any]
"""Fields of a `Kind` and what they change to."""

_MATURE_TINTS = {"cyan": 0.55, "pink": 0.25, "mixed": 0.12, "orange": 0.08}
_DENSE_TINTS = {"cyan": 0.7, "mixed": 0.18, "pink": 0.12}
_DARK = Spread(1.05, 0.16, 0.6, 1.8)
_DARKER = Spread(1.2, 0.16, 0.7, 2.0)
_LARGE = Spread(122, 0.18, 88, 220)
_LARGE_SMALL_CELL = Spread(108, 0.18, 80, 200)
_LARGER = Spread(130, 0.2, 88, 240)
_LARGER_SMALL_CELL = Spread(114, 0.2, 80, 220)
_HALO = Spread(1.85, 0.15, 1.4, 2.6)
_LARGER_HALO = Spread(2.4, 0.2, 1.5, 3.4)
_MATURE_CELL = Spread(44, 0.16, 28, 62)
_SMALL_CELL = Spread(20, 0.18, 14, 34)


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
            grain=_COARSE_GRAIN if coarse else 1.0,
            irregularity=_IRREGULAR if irregular else _SMOOTH,
        ),
        texture,
    )


def plain(kind: Kind) -> Kind:
    """A kind with fine chromatin, a smooth contour and no halo."""
    return replace(kind, coarseness=_FINE, irregularity=_SMOOTH, halo=0.0)


def _like(base: str, name: str = "", **changes: Any) -> Kind:
    kind = replace(KINDS[base], smudge=0.0, groove=0.0, nucleoli=0.0, vesicular=0.0)
    return replace(kind, name=name or base, **changes)


def _normal() -> list[CohortKind]:
    halo: Look = {
        "halo": 0.85,
        "halo_ratio": _LARGER_HALO,
        "tints": _MATURE_TINTS,
        "nucleus_aspect": Spread(1.3, 0.14, 1, 2.2),
    }
    dark: Look = {"darkness": Spread(0.8, 0.25, 0.4, 1.5)}
    dense: Look = dark | {"tints": _DENSE_TINTS}
    return [
        CohortKind(
            _like("superficial", nucleus_um2=Spread(24, 0.3, 10, 50), **halo | dark),
            "normal", 26, _ANY,
        ),
        CohortKind(
            _like("intermediate", nucleus_um2=Spread(38, 0.25, 20, 62), **halo | dark),
            "normal", 46, _ANY,
        ),
        CohortKind(
            _like("parabasal", nucleus_aspect=Spread(1.3, 0.14, 1, 2.2),
                  cell_um=Spread(16, 0.16, 12, 26), nucleus_um2=Spread(38, 0.2, 22, 58), **dense),
            "normal", 0.4, _ANY,
        ),
        CohortKind(
            _like("metaplastic_mature", nucleus_um2=Spread(40, 0.2, 24, 60), **dense),
            "normal", 2, _ANY,
        ),
        CohortKind(
            _like("endocervical", nucleus_um2=Spread(44, 0.2, 26, 62), vacuoles=0.2,
                  nucleus_aspect=Spread(1.4, 0.16, 1, 2.4), **dark),
            "normal", 0.6, _ANY,
        ),
    ]  # fmt: skip


def _mimics() -> list[CohortKind]:
    mature: Look = {"tints": _MATURE_TINTS, "darkness": _DARK, "cell_um": _MATURE_CELL,
                    "nucleus_um2": _LARGER, "halo": 0.85, "halo_ratio": _LARGER_HALO}  # fmt: skip
    halo: Look = mature | {"halo": 1.0}
    small: Look = {"tints": _DENSE_TINTS, "darkness": _DARKER}
    high_nc: Look = small | {"nucleus_um2": _LARGER_SMALL_CELL, "cell_um": _SMALL_CELL}
    glandular: Look = {"darkness": _DARK, "nucleus_um2": _LARGER_SMALL_CELL}
    return [
        CohortKind(_like("enlarged_bland", **mature), "mimic", 14, _NEVER_BOTH),
        CohortKind(_like("reactive", nucleoli=0.4, **mature), "mimic", 10, _NEVER_BOTH),
        CohortKind(_like("pseudo_koilocyte", **halo), "mimic", 12, _NEVER_BOTH),
        CohortKind(
            _like("navicular", **halo | {"nucleus_um2": Spread(88, 0.15, 62, 130)}),
            "mimic", 4, _NEVER_BOTH,
        ),
        CohortKind(
            _like("multinucleated_reactive", **mature | {"nucleus_um2": Spread(84, 0.2, 60, 140)}),
            "mimic", 3, _NEVER_BOTH,
        ),
        CohortKind(
            _like("multinucleated_reactive", "herpes", nuclei=(0, 0.3, 0.5, 0.2), **mature),
            "mimic", 2, (0.5, 0.0, 0.5, 0.0),
        ),
        CohortKind(
            _like("intermediate", "folded", folds=5.0,
                  **mature | {"nucleus_um2": Spread(88, 0.15, 62, 130)}),
            "mimic", 3, _NEVER_BOTH,
        ),
        CohortKind(
            _like("intermediate", "overlap", **mature | {"nucleus_um2": Spread(60, 0.2, 40, 100)}),
            "mimic", 3, _BLAND, laid_over="cell",
        ),
        CohortKind(_like("enlarged_bland", "out_of_focus", **mature), "mimic", 3, _NEVER_BOTH,
                   focus=False),
        CohortKind(_like("metaplastic_immature", **high_nc), "mimic", 16, _NEVER_BOTH),
        CohortKind(_like("atrophic", **high_nc), "mimic", 16, _NEVER_BOTH),
        CohortKind(
            _like("histiocyte", nucleus_um2=Spread(84, 0.18, 60, 140), **small),
            "mimic", 3, _NEVER_BOTH,
        ),
        CohortKind(_like("lymphocyte", **small), "mimic", 1, _ANY),
        CohortKind(_like("parabasal", "under_neutrophils", **small), "mimic", 2, _BLAND,
                   laid_over="neutrophils"),
        CohortKind(_like("degenerated", **high_nc), "mimic", 6, _NEVER_BOTH),
        CohortKind(
            _like("parakeratosis", nucleus_um2=Spread(50, 0.25, 20, 66), darkness=_DARKER,
                  tints={"orange": 0.7, "pink": 0.3}),
            "mimic", 3, _ANY,
        ),
        CohortKind(_like("tubal", **glandular), "mimic", 7, _NEVER_BOTH),
        CohortKind(_like("endometrial", nucleus_um2=Spread(52, 0.15, 30, 66), darkness=_DARK),
                   "mimic", 1, _ANY),
        CohortKind(
            _like("tubal", "lower_segment", nucleus_aspect=Spread(1.4, 0.16, 1, 2.4), **glandular),
            "mimic", 6, _NEVER_BOTH,
        ),
    ]  # fmt: skip


def _lesions() -> list[CohortKind]:
    mature: Look = {"tints": _MATURE_TINTS, "darkness": _DARK, "nucleus_um2": _LARGE,
                    "cell_um": _MATURE_CELL, "halo_ratio": _HALO}  # fmt: skip
    small: Look = {"tints": _DENSE_TINTS, "darkness": _DARKER, "cell_um": _SMALL_CELL,
                   "nucleus_um2": _LARGE_SMALL_CELL}  # fmt: skip
    glandular: Look = {"darkness": _DARK, "nucleus_um2": _LARGE_SMALL_CELL}
    keratin: Look = {"tints": {"orange": 0.7, "pink": 0.3}, "darkness": _DARKER,
                     "nucleus_um2": _LARGE_SMALL_CELL}  # fmt: skip
    plain: Look = {"cytoplasm": Spread(0.22, 0.3, 0.08, 0.8), "extra": {}}
    lower: Look = {"cell_um": Spread(23, 0.16, 16, 36)}
    return [
        CohortKind(_like("ascus", **mature | {"halo": 0.35}), "lesion", 1, _BOTH),
        CohortKind(
            _like(
                "koilocyte",
                **mature
                | {"nuclei": (0.75, 0.25), "nucleus_um2": Spread(114, 0.17, 86, 200)}
                | plain,
            ),
            "lesion",
            1,
            _BOTH,
        ),
        CohortKind(_like("asch", **small | lower), "lesion", 1, _BOTH),
        CohortKind(
            _like("hsil", group="small", cytoplasm=Spread(0.3, 0.3, 0.08, 0.8), **small),
            "lesion",
            1,
            _BOTH,
        ),
        CohortKind(_like("scc_keratinising", **keratin), "lesion", 0.45, _BOTH),
        CohortKind(
            _like("scc_nonkeratinising", **small | {"nucleoli": 0.5}), "lesion", 0.55, _BOTH
        ),
        CohortKind(
            _like("agc_endocervical", nucleus_aspect=Spread(1.4, 0.16, 1, 2.6), **glandular),
            "lesion",
            0.6,
            _BOTH,
        ),
        CohortKind(
            _like("ais", nucleus_aspect=Spread(1.6, 0.16, 1, 2.8), **glandular),
            "lesion",
            0.4,
            _BOTH,
        ),
    ]


COHORT_KINDS: dict[str, CohortKind] = {
    kind.name: kind for kind in (*_normal(), *_mimics(), *_lesions())
}
NAMES = tuple(COHORT_KINDS)
NORMAL = tuple(name for name in NAMES if COHORT_KINDS[name].role == "normal")
MIMICS = tuple(name for name in NAMES if COHORT_KINDS[name].role == "mimic")
LESIONS = tuple(name for name in NAMES if COHORT_KINDS[name].role == "lesion")
