"""Where a page of the comparison goes, what a smoke run says of itself, and how a script ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from koilo.errors import KoiloError

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
SMOKE = "A smoke run: it shows that this runs, and claims nothing."
RANDOM_AUC = {"a score drawn at random: AUC": 0.5}
RANDOM_SCORE = RANDOM_AUC | {"a score drawn at random: spec@sens95": 0.05}
"""The trivial control of every table that holds these measures."""


def page_path(named: Path | None, name: str, out: Path, *, smoke: bool) -> Path:
    """Where a page goes: as named, else to docs/results; a smoke run's stays in OUT."""
    return named or (out if smoke else RESULTS) / f"{name}.json"


def smoke_notes(smoke: bool) -> list[str]:
    """What a page says first where it claims nothing."""
    return [SMOKE] if smoke else []


def run_script(main: Callable[[], None]) -> int:
    """Call ``main``; what it refuses becomes one line and status 2."""
    try:
        main()
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
