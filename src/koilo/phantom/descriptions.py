"""Which descriptions are true of a drawn cell: the vocabulary's rules applied to its measures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from koilo.taxonomy import load_table

Conditions = Mapping[str, Mapping[str, float]]


def describe(label: str, measured: Mapping[str, float], arrangement: str) -> tuple[str, ...]:
    """Texts of the class's vocabulary that hold for a cell, in the vocabulary's order.

    Args:
        label: Bethesda class; a class without texts gives ``()``.
        measured: as `koilo.phantom.morphometry.measure` gives, with ``halo_um2``, ``vacuoles``,
            ``nucleoli``, ``lift_um`` and ``tilt``.
        arrangement: the group that the cell lies in.
    """
    facts = dict(measured)
    facts["nucleus_ratio"] = measured["nucleus_um2"] / _table()["intermediate_nucleus_um2"]
    facts["halo_ratio"] = measured["halo_um2"] / measured["nuclei_um2"]
    facts["in_rosette"] = float(arrangement == "rosette")
    facts["in_disordered_group"] = float(arrangement in ("syncytium", "cluster"))
    facts["tilt"] = abs(measured["tilt"])
    return tuple(
        row["text"]
        for row in _table()["descriptions"]
        if label in row["classes"] and _holds(row, facts)
    )


def vocabulary(label: str) -> tuple[str, ...]:
    """All texts that may be said of a class."""
    return tuple(row["text"] for row in _table()["descriptions"] if label in row["classes"])


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = load_table("descriptions")
    return table


def _holds(row: Mapping[str, Any], facts: Mapping[str, float]) -> bool:
    choices: list[Conditions] = row.get("any_of") or [row.get("when") or {}]
    return any(
        all(
            bounds.get("at_least", float("-inf")) <= facts[name] < bounds.get("below", float("inf"))
            for name, bounds in conditions.items()
        )
        for conditions in choices
    )
