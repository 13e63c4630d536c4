"""Kinds of normal cells of the cervix, by spec/cytology.md ("Normal cells")."""

from __future__ import annotations

from koilo.phantom.kind import Kind, Spread

_BLUE = {"cyan": 0.72, "pink": 0.2, "mixed": 0.08}
_PINK = {"pink": 0.62, "orange": 0.16, "cyan": 0.1, "mixed": 0.12}
_DENSE = {"cyan": 0.72, "mixed": 0.18, "pink": 0.1}

NORMAL_KINDS = (
    Kind(
        "superficial",
        "NILM",
        Spread(44, 0.13, 30, 62),
        Spread(16, 0.3, 8, 34),
        {"polygon": 1},
        _PINK,
        darkness=Spread(1.2, 0.16, 0.6, 1.9),
        smudge=0.8,
        granules=0.5,
        folds=1.6,
        dome=0.05,
        weight=26,
        nuclei=(0.985, 0.015),
    ),
    Kind(
        "intermediate",
        "NILM",
        Spread(46, 0.15, 30, 66),
        Spread(38, 0.25, 22, 75),
        {"polygon": 0.85, "round": 0.15},
        _BLUE,
        groove=0.2,
        vesicular=0.6,
        folds=1.5,
        dome=0.1,
        weight=46,
        nuclei=(0.975, 0.025),
    ),
    Kind(
        "parabasal",
        "NILM",
        Spread(23, 0.2, 14, 36),
        Spread(50, 0.22, 28, 95),
        {"round": 0.9, "ragged": 0.1},
        _DENSE,
        darkness=Spread(0.85, 0.17, 0.4, 1.6),
        coarseness=Spread(0.2, 0.35, 0.04, 1),
        cytoplasm=Spread(0.4, 0.25, 0.12, 0.9),
        dome=0.6,
        weight=3.5,
    ),
    Kind(
        "metaplastic_mature",
        "NILM",
        Spread(34, 0.15, 22, 50),
        Spread(48, 0.22, 28, 90),
        {"round": 0.65, "ragged": 0.35},
        _DENSE,
        cytoplasm=Spread(0.4, 0.25, 0.12, 0.9),
        darkness=Spread(0.88, 0.17, 0.4, 1.6),
        pale_centre=0.35,
        dome=0.5,
        weight=3,
        nucleoli=0.12,
    ),
    Kind(
        "endocervical",
        "NILM",
        Spread(19, 0.13, 13, 28),
        Spread(52, 0.22, 28, 95),
        {"column": 1},
        {"cyan": 0.75, "mixed": 0.25},
        cell_aspect=Spread(2.1, 0.18, 1.3, 3.4),
        cytoplasm=Spread(0.26, 0.25, 0.08, 0.6),
        vacuoles=0.45,
        nucleoli=0.3,
        offset=0.5,
        dome=0.4,
        squamous=False,
        group="glandular",
        weight=1.6,
    ),
)
