"""The scores that runs/stride.sh left, as arrays: what every table of the comparison is made of."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore
from koilo.errors import ManifestError
from koilo.files import atomic_path
from stride import METHODS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RunScores:
    """What one trained model says of one split, slides (N,) in the order of their ids."""

    slide_ids: tuple[str, ...]
    centres: tuple[str, ...]
    labels: tuple[str, ...]
    p_positive: Floats
    p: Floats
    """(N, C) of the slide classes"""
    threshold: float
    """locked on validation"""

    @property
    def slides(self) -> tuple[tuple[str, ...], ...]:
        """What is the same for all runs on one cohort."""
        return self.slide_ids, self.centres, self.labels


class Table:
    """Scores of every method, seed and split, as read from the CSV files."""

    def __init__(self, folders: list[Path]) -> None:
        """Read ``scores/<method>_<seed>.csv`` of several OUT folders of one cohort.

        Raises:
            ManifestError: there is no such file, or one is damaged or does not fit the others.
        """
        self.runs: dict[tuple[str, int, str], RunScores] = {}
        self.classes: tuple[str, ...] = ()
        for folder in folders:
            for path in sorted((folder / "scores").glob("*.csv")):
                self._read(path)
        if not self.runs:
            raise ManifestError(
                f"No scores in {', '.join(map(str, folders))}. Needed: OUT/scores/<method>_<seed>"
                ".csv. Run runs/stride.sh first."
            )
        found = {method for method, _, _ in self.runs}
        self.methods = [name for name in METHODS if name in found]

    @property
    def all_seeds(self) -> list[int]:
        """The seeds that any method ran with."""
        return sorted({seed for _, seed, _ in self.runs})

    @property
    def splits(self) -> set[str]:
        """The splits that the cohort has; a composed one has no unseen centres."""
        return {split for _, _, split in self.runs}

    def seeds(self, method: str) -> list[int]:
        """The seeds that a method ran with."""
        return sorted({seed for name, seed, _ in self.runs if name == method})

    def of(self, method: str, split: str) -> list[RunScores]:
        """The runs of a method on a split, one a seed."""
        return [self.runs[method, seed, split] for seed in self.seeds(method)]

    def scores(self, method: str, split: str) -> Floats:
        """(seeds, slides), slides in the order of their ids."""
        return np.stack([run.p_positive for run in self.of(method, split)])

    def common_seeds(self, first: str, second: str) -> list[int]:
        """The seeds that two methods both ran with: differences are of these alone."""
        return [seed for seed in self.seeds(first) if seed in self.seeds(second)]

    def scores_of_both(self, first: str, second: str, split: str) -> tuple[Floats, Floats]:
        """Scores (seeds, slides) of two methods on the seeds that both ran with."""
        seeds = self.common_seeds(first, second)
        own, other = (
            np.stack([self.runs[name, seed, split].p_positive for seed in seeds])
            for name in (first, second)
        )
        return own, other

    def margins(self, method: str, split: str) -> Floats:
        """Scores less each seed's locked threshold: at 0 and above is called positive."""
        return np.stack([run.p_positive - run.threshold for run in self.of(method, split)])

    def labels(self, split: str) -> list[str]:
        """Slide labels of a split, in the order of the scores."""
        return list(self._any(split).labels)

    def positive(self, split: str) -> NDArray[np.bool_]:
        """(slides,) whether the label is another than NILM."""
        return np.array([label != "NILM" for label in self._any(split).labels])

    def centres(self, split: str) -> list[str]:
        """Centres of a split's slides, in the order of the scores."""
        return list(self._any(split).centres)

    def write(self, path: Path) -> None:
        """All scores in one Parquet, from which anyone can recompute the tables."""
        tables = [
            pa.table(
                {
                    "method": [method] * len(run.slide_ids),
                    "seed": [seed] * len(run.slide_ids),
                    "slide_id": run.slide_ids,
                    "split": [split] * len(run.slide_ids),
                    "centre": run.centres,
                    "label": run.labels,
                    "p_positive": run.p_positive,
                    "threshold": [run.threshold] * len(run.slide_ids),
                }
            )
            for (method, seed, split), run in self.runs.items()
        ]
        with atomic_path(path) as temporary:
            pq.write_table(pa.concat_tables(tables), temporary, compression="zstd")

    def refuse_other_slides(self, store: CropStore) -> None:
        """Refuse scores that are not of every slide of the cohort: a file cut short, or another's.

        Raises:
            ManifestError: slides, centres or labels of a split differ.
        """
        for method, seed, split in self.runs:
            own = sorted((s.slide_id, s.centre, s.label) for s in store.of_split(split))
            found = list(zip(*self.runs[method, seed, split].slides, strict=True))
            if found != own:
                raise ManifestError(
                    f"{method}_{seed}.csv has {len(found)} slides of split {split}, not the "
                    f"{len(own)} of {store.folder} with their centres and labels. It is of another "
                    "cohort or cut short: name its own cohort, or remove it and give the command "
                    "of runs/stride.sh again."
                )
        for method, seed in {key[:2] for key in self.runs}:
            lacking = {s.split for s in store.slides if (method, seed, s.split) not in self.runs}
            if lacking:
                raise ManifestError(
                    f"{method}_{seed}.csv lacks split {', '.join(sorted(lacking))} of "
                    f"{store.folder}. It is of another cohort or cut short: name its own cohort, "
                    "or remove it and give the command of runs/stride.sh again."
                )

    def _any(self, split: str) -> RunScores:
        return self.of(self.methods[0], split)[0]

    def _read(self, path: Path) -> None:
        method, _, seed = path.stem.rpartition("_")
        if method not in METHODS or not seed.isdigit():
            raise ManifestError(
                f"{path}: a file of scores is named <method>_<seed>.csv, the method one of "
                f"{', '.join(METHODS)}. Move it elsewhere."
            )
        try:
            self._take(path, method, int(seed))
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise ManifestError(
                f"{path} is no whole file of scores ({error}). Remove it and give the command of "
                "runs/stride.sh again: nothing is trained twice."
            ) from error

    def _take(self, path: Path, method: str, seed: int) -> None:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = sorted(csv.DictReader(handle), key=lambda row: row["slide_id"])
        if not rows:
            raise ValueError("it has no slide")
        if len({row["threshold"] for row in rows}) != 1:
            raise ValueError("its threshold is not the same in all rows")
        names = [name for name in rows[0] if name.startswith("p_") and name != "p_positive"]
        self.classes = tuple(name.removeprefix("p_") for name in names)
        for split in sorted({row["split"] for row in rows}):
            run = _run([row for row in rows if row["split"] == split], names)
            other = next((r for (_, _, s), r in self.runs.items() if s == split), run)
            # Cohorts of two seeds name their slides alike.
            if other.slides != run.slides:
                raise ManifestError(
                    f"{path} is of another cohort than the files before it, or cut short: its "
                    f"slides of {split} differ. One table is made of one cohort's files."
                )
            if (method, seed, split) in self.runs:
                raise ManifestError(
                    f"{path}: another folder has scores of {method}, seed {seed}. One run a method "
                    "and seed: leave one of the folders out."
                )
            self.runs[method, seed, split] = run


def _run(rows: Sequence[dict[str, str]], names: Sequence[str]) -> RunScores:
    """One split's rows of a file; ``names`` are its columns of classes."""
    run = RunScores(
        *(tuple(row[key] for row in rows) for key in ("slide_id", "centre", "label")),
        p_positive=np.array([float(row["p_positive"]) for row in rows]),
        p=np.array([[float(row[name]) for name in names] for row in rows]),
        threshold=float(rows[0]["threshold"]),
    )
    every = np.column_stack([run.p_positive, run.p])
    if not ((every >= 0) & (every <= 1)).all():
        raise ValueError(f"a probability of {rows[0]['split']} is not between 0 and 1")
    return run
