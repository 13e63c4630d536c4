"""What descriptions and measures of the kept cells add to the time of one slide.

    python benchmarks/reasons.py --slide SLIDE [--record]

The slide is read three times: without either, with measures, with both. CPU seconds are compared,
for they tell the same on a busy machine. The bar for both is 5 % on the full-size slide of
`screening.py`; a small slide keeps as many cells and has less to search, so its share is larger:
the added seconds are given too, and their share of the recorded full-size screening.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from koilo.bundle import load_bundle
from koilo.manifest import SlideEntry
from koilo.pipeline import load_models, read, read_one
from koilo.pipeline.reference import Reference
from koilo.runtime import choose_device

FULL = Path(__file__).resolve().parents[1] / "docs" / "results" / "screening.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--record", action="store_true", help="leave it in docs/results/")
    arguments = parser.parse_args()
    started = time.monotonic()
    models = load_models(load_bundle("cytology"), choose_device("cpu"))
    entry = SlideEntry("bench", arguments.slide)
    read_one(entry, models)  # what is first read is slower: files, caches
    both, n_cells = cpu_seconds(entry, models)
    measures, _ = cpu_seconds(entry, dataclasses.replace(models, describer=None))
    neither, _ = cpu_seconds_without(entry, models)
    full = json.loads(FULL.read_text(encoding="utf-8"))["figures"]["CPU, s"]
    figures = {
        "CPU seconds, neither": neither,
        "CPU seconds, measures": measures,
        "CPU seconds, measures and descriptions": both,
        "descriptions alone, share added": both / measures - 1,
        "both, CPU seconds added": both - neither,
        "both, share added on this slide": both / neither - 1,
        f"both, share of the full-size screening's {full:.1f} CPU s (bar 0.05)": (both - neither)
        / full,
    }
    for name, value in figures.items():
        print(f"{name}: {value:.3f}")
    if arguments.record:
        from record import leave

        leave(
            "reasons",
            title="What reasons of cells cost",
            command="python benchmarks/reasons.py --slide SLIDE --record",
            data=f"a phantom slide, {n_cells:,} cells kept",
            seconds=time.monotonic() - started,
            figures=figures,
            tables={},
        )


def cpu_seconds(entry: SlideEntry, models: object) -> tuple[float, int]:
    started = time.process_time()
    result = read_one(entry, models).result  # type: ignore[arg-type]
    return time.process_time() - started, result.n_cells


def cpu_seconds_without(entry: SlideEntry, models: object) -> tuple[float, int]:
    """The same with both left out."""
    own = read.find_reference, read.explain_cells
    read.find_reference = lambda *_, **__: Reference(35.0, None, 0)
    read.explain_cells = lambda cells, *_, **__: tuple(cells)
    try:
        return cpu_seconds(entry, models)
    finally:
        read.find_reference, read.explain_cells = own


if __name__ == "__main__":
    main()
