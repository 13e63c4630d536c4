"""Why a cell was kept: what is measured of it, what is said of it, and where the two disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.cells.morphometry import measure_cells
from koilo.language import Describer
from koilo.pipeline.reference import Reference
from koilo.pipeline.workers import Workers
from koilo.taxonomy import load_table
from koilo.types import Cell

HALO_WITHOUT_ATYPIA = "halo without nuclear atypia: LSIL not supported"

_CHUNK = 64


def explain_cells(
    cells: Sequence[Cell],
    crops: NDArray[np.uint8],
    features: NDArray[np.float32],
    *,
    mpp: float,
    glass: NDArray[np.floating],
    reference: Reference,
    describer: Describer | None,
    workers: Workers,
) -> tuple[Cell, ...]:
    """The cells with their measures, texts and flags, in their order.

    Args:
        cells: N kept cells.
        crops: uint8 RGB (N, P, P, 3).
        features: (N, D) of the cell model.
        mpp: µm per pixel of the crops.
        glass: grey levels (3,) of the slide's clear glass.
        reference: the slide's intermediate nuclei.
        describer: the bundle's descriptions; None where it has none.
        workers: threads that compute.
    """
    columns = _measured(crops, mpp, glass, reference, workers)
    places = None if describer is None else describer.place(features)
    texts = None if describer is None or places is None else describer.describe(places)
    explained = []
    for index, cell in enumerate(cells):
        measures = {
            name: float(values[index])
            for name, values in columns.items()
            if np.isfinite(values[index])
        }
        said = None if texts is None else texts[index]
        explained.append(
            replace(
                cell,
                measures=measures,
                descriptions=said,
                flags=contradictions(cell.label, said or (), measures),
                text_space=() if places is None else tuple(places[index].tolist()),
            )
        )
    return tuple(explained)


def _measured(
    crops: NDArray[np.uint8],
    mpp: float,
    glass: NDArray[np.floating],
    reference: Reference,
    workers: Workers,
) -> dict[str, NDArray[np.float32]]:
    """Measures (N,) by name, with the ratios to the slide's intermediate nuclei."""
    chunks = [crops[start : start + _CHUNK] for start in range(0, max(len(crops), 1), _CHUNK)]
    parts = list(workers.map_in_order(lambda chunk: measure_cells(chunk, mpp, glass), chunks))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["nucleus_ratio"] = columns["nucleus_um2"] / np.float32(reference.nucleus_um2)
    if reference.nuclear_od is not None:
        columns["darkness_ratio"] = columns["nuclear_od"] / np.float32(reference.nuclear_od)
    return columns


def contradictions(
    label: str, texts: Sequence[str], measures: Mapping[str, float]
) -> tuple[str, ...]:
    """Where a cell's measures belie what is said of it, beyond the table's tolerance.

    >>> contradictions("LSIL", ["nuclear enlargement >3x"], {"nucleus_ratio": 1.2})
    ('nuclear enlargement >3x: measured nuclear area, times an intermediate nucleus, is 1.2',)
    >>> contradictions("LSIL", ["nuclear enlargement >3x"], {"nucleus_ratio": 2.8})
    ()
    """
    table = load_table("descriptions")["contradicted"]
    tolerance = float(table["tolerance"])
    flags = [
        f"{text}: measured {table['names'][name]} is {measures[name]:.2g}"
        for text in texts
        for name, bounds in table["texts"].get(text, {}).items()
        if name in measures and not _within(measures[name], bounds, tolerance)
    ]
    if "LSIL" in label.split("+") and _halo_alone(table, measures):
        flags.append(HALO_WITHOUT_ATYPIA)
    return tuple(flags)


def _within(value: float, bounds: Mapping[str, float], tolerance: float) -> bool:
    low, high = bounds.get("at_least", -np.inf), bounds.get("below", np.inf)
    return bool(low * (1 - tolerance) <= value < high * (1 + tolerance))


def _halo_alone(table: Mapping[str, Any], measures: Mapping[str, float]) -> bool:
    """A halo is there, and nothing that could be measured is atypical."""
    (halo, bounds), *_ = table["halo"].items()
    if halo not in measures or not _within(measures[halo], bounds, 0.0):
        return False
    return not any(
        name in measures and _within(measures[name], own, 0.0)
        for name, own in table["atypia"].items()
    )
