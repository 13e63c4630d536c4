"""How cells of one kind lie together: sheets, strips, rosettes, balls, files, loose clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIZES = {  # group: probability of a cell alone, median size of a group, largest
    "single": (0.7, 3, 14),
    "small": (0.55, 4, 9),
    "syncytium": (0.5, 7, 60),
    "file": (0.6, 4, 12),
    "loose": (0.35, 5, 30),
    "glandular": (0.15, 9, 60),
    "ball": (0.0, 22, 60),
    "sheet": (0.3, 9, 60),
    "cobblestone": (0.35, 6, 30),
}


@dataclass(frozen=True, slots=True)
class Seat:
    """One cell's place in a group: offset in µm, turn in radians, departure from its order."""

    dx_um: float
    dy_um: float
    angle: float
    arrangement: str
    lift_um: float = 0.0
    tilt: float = 0.0


def seats(
    rng: np.random.Generator, group: str, n: int, cell_um: float, *, disordered: bool
) -> list[Seat]:
    """Places for ``n`` cells of about ``cell_um`` across, for a `koilo.phantom.kinds.Kind.group`.

    ``disordered`` groups (lesions) crowd, tilt and push cells out of line more than ordered ones;
    the amounts overlap.
    """
    if n == 1 and group != "glandular":
        return [Seat(0, 0, rng.uniform(0, 2 * np.pi), "single")]
    if group == "glandular":
        return _glandular(rng, n, cell_um, disordered=disordered)
    if group == "file":
        return _file(rng, n, cell_um)
    spacing = {
        "single": 0.78, "loose": 1.7, "sheet": 0.92, "cobblestone": 1.0, "small": 0.95,
        "syncytium": 0.84, "ball": 0.62,
    }[group]  # fmt: skip
    jitter = 0.22 if disordered or group == "single" else 0.1
    name = {"single": "overlap", "small": "cluster"}.get(group, group)
    return [
        Seat(float(x), float(y), rng.uniform(0, 2 * np.pi), name)
        for x, y in _packed(rng, n, spacing * cell_um, jitter)
    ]


def group_size(rng: np.random.Generator, group: str, cluster_share: float) -> int:
    """How many cells lie together in the next group of this name."""
    alone, median, largest = _SIZES[group]
    if group == "single":
        alone = 1 - cluster_share
    if rng.random() < alone:
        return 1
    return int(np.clip(round(rng.lognormal(np.log(median), 0.5)), 2, largest))


def _packed(
    rng: np.random.Generator, n: int, spacing_um: float, jitter: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The n points of a jittered hexagonal lattice nearest to a random, stretched middle (n, 2)."""
    reach = int(np.ceil(np.sqrt(n))) + 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    x = (columns + 0.5 * (rows % 2)).ravel() * spacing_um
    y = rows.ravel() * spacing_um * 0.866
    points = np.stack([x, y], 1) + rng.normal(0, jitter * spacing_um, (x.size, 2))
    stretch = rng.uniform(0.6, 1.6)
    order = np.argsort(np.hypot(points[:, 0] * stretch, points[:, 1] / stretch))
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    return points[order[:n]] @ np.array([[c, s], [-s, c]])


def _file(rng: np.random.Generator, n: int, cell_um: float) -> list[Seat]:
    turn, x, y, out = rng.uniform(0, 2 * np.pi), 0.0, 0.0, []
    for _ in range(n):
        out.append(Seat(x, y, rng.uniform(0, 2 * np.pi), "file"))
        turn += rng.normal(0, 0.3)
        step = cell_um * rng.uniform(0.85, 1.2)
        x, y = x + step * np.cos(turn), y + step * np.sin(turn)
    return out


def _glandular(rng: np.random.Generator, n: int, cell_um: float, *, disordered: bool) -> list[Seat]:
    """A strip (palisade), a rosette or a honeycomb sheet of columnar cells.

    In strips and rosettes a cell's long axis stands on the line, its free end outwards in a strip
    and inwards in a rosette; disordered groups are pseudostratified and may feather at the edge.
    """
    lift = rng.uniform(0.8, 3.6) if disordered else rng.uniform(0.2, 1.8)
    tilt = rng.uniform(0.1, 0.5) if disordered else rng.uniform(0.05, 0.25)
    width = cell_um * (rng.uniform(0.36, 0.56) if disordered else rng.uniform(0.44, 0.62))
    form = rng.choice(
        ["strip", "rosette", "honeycomb"], p=[0.5, 0.35, 0.15] if disordered else [0.5, 0.08, 0.42]
    )
    if form == "honeycomb" or n < 3:
        spots = _packed(
            rng, n, cell_um * (0.5 if disordered else 0.62), 0.2 if disordered else 0.08
        )
        turn = rng.uniform(0, 2 * np.pi)
        tilts = rng.normal(0, 2 * tilt, n)
        return [Seat(float(x), float(y), turn + float(t), "sheet", 0.0, float(t))
                for (x, y), t in zip(spots, tilts, strict=True)]  # fmt: skip
    return (_rosette if form == "rosette" else _strip)(rng, n, width, lift, tilt)


def _strip(rng: np.random.Generator, n: int, width: float, lift: float, tilt: float) -> list[Seat]:
    turn, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.035)
    x, y, out = 0.0, 0.0, []
    for _ in range(n):
        up = rng.normal(0, lift)
        lean = rng.normal(0, tilt)
        normal = turn + np.pi / 2
        out.append(
            Seat(x + up * np.cos(normal), y + up * np.sin(normal), normal + lean, "strip", up, lean)
        )
        turn += bend + rng.normal(0, 0.02)
        x, y = x + width * np.cos(turn), y + width * np.sin(turn)
    return out


def _rosette(
    rng: np.random.Generator, n: int, width: float, lift: float, tilt: float
) -> list[Seat]:
    radius = max(n * width / (2 * np.pi), 5.0) + rng.uniform(2, 6)
    start, out = rng.uniform(0, 2 * np.pi), []
    feathered = rng.random() < 0.6
    for i in range(n):
        at = start + 2 * np.pi * i / n + rng.normal(0, 0.06)
        up = rng.normal(0, lift)
        if feathered and rng.random() < 0.35:
            up -= rng.uniform(2, 7)  # basal end and nucleus reach out of the edge
        lean = rng.normal(0, tilt)
        r = radius - up
        out.append(Seat(r * np.cos(at), r * np.sin(at), at + np.pi + lean, "rosette", up, lean))
    return out
