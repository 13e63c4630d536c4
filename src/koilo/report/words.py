"""How numbers and abbreviations are written in a report: one place, so that no two disagree."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def probability(value: float | None, decimals: int = 3) -> str:
    """A probability; never rounded to a certainty that nobody has.

    >>> probability(0.12345), probability(0.99999), probability(0.0), probability(None)
    ('0.123', '>0.999', '<0.001', '–')
    """
    if value is None:
        return "–"
    step = 10.0**-decimals
    if value < step / 2:
        return f"<{step:.{decimals}f}"
    if value > 1 - step / 2:
        return f">{1 - step:.{decimals}f}"
    return f"{value:.{decimals}f}"


def told_apart(value: float, limit: float) -> tuple[str, str]:
    """Two probabilities with as many decimals as it takes to see which is the larger.

    >>> told_apart(0.21744, 0.21736), told_apart(0.99999, 0.3)
    (('0.21744', '0.21736'), ('>0.999', '0.300'))
    """
    decimals = 3
    while decimals < 6 and value != limit and round(value, decimals) == round(limit, decimals):
        decimals += 1
    return probability(value, decimals), probability(limit, decimals)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as a percentage; ``–`` where it is not defined.

    >>> percent(0.9523), percent(0.00041), percent(1.0), percent(0.99999), percent(None)
    ('95.2 %', '<0.1 %', '100 %', '>99.9 %', '–')
    """
    if share is None:
        return "–"
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    step = 10.0**-decimals
    value = 100 * share
    if value < step / 2:
        return f"<{step:.{decimals}f} %"
    if value > 100 - step / 2:
        return f">{100 - step:.{decimals}f} %"
    return f"{value:.{decimals}f} %"


def count(value: float | None) -> str:
    """A whole number with thousands set apart.

    >>> count(12400.4), count(None)
    ('12,400', '–')
    """
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration a person reads at a glance.

    >>> seconds(0.044), seconds(41.26), seconds(3725)
    ('0.04 s', '41.3 s', '1 h 02 min')
    """
    if value < 1:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain(value: Any) -> str:
    """Any JSON value as one line of text."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(part) for part in value)
    return str(value)


def flat_rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested mappings as ``(name, text)``; underscores of the names become spaces."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flat_rows(value, f"{name} · ")
        elif value not in (None, ""):
            yield name, plain(value)


def css_string(text: str, longest: int = 60) -> str:
    r"""A text as the inside of a CSS string: everything but ASCII letters and digits as ``\hex``.

    >>> css_string('a"</style>')
    'a\\000022\\00003c\\00002fstyle\\00003e'
    """
    shown = "".join(c for c in text if unicodedata.category(c) != "Cc")
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    return "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in shown)
