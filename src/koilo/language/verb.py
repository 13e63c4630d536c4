"""The verb find: the kept cells of screened slides that look like a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from koilo.bundle import load_bundle
from koilo.errors import BundleError, ConfigError, OutputError
from koilo.language.predict import STAGE, Describer, load_descriptions
from koilo.progress import log
from koilo.results import RESULT, read_slide_result
from koilo.types import Cell, SlideResult

NOT_IN_VOCABULARY = "not in the vocabulary"


@dataclass(frozen=True)
class FindConfig:
    """Where `koilo find` looks, and for what."""

    results: Path = field(metadata={"positional": "one"})
    """a results folder, or the folder of one slide in it"""
    query: str = field(metadata={"positional": "one"})
    """what the cells look like, in words, such as: perinuclear halo"""
    model: str | None = None
    """the bundle that the slides were screened with, where it lies elsewhere now"""
    most: int = 20
    """cells listed, best first"""

    def __post_init__(self) -> None:
        """Refuse a list of nothing and an empty query."""
        if self.most < 1 or not self.query.strip():
            raise ConfigError(
                f"most is {self.most}, query {self.query!r}. Allowed: 1 or more, and some words. "
                'Ask for something, as `koilo find results "perinuclear halo"`.'
            )


@dataclass(frozen=True)
class FoundCell:
    """A cell that looks like the query: its slide, its place among the kept cells, how alike."""

    slide_id: str
    number: int
    cell: Cell
    cosine: float


def find(config: FindConfig) -> int:
    """List the kept cells of screened slides that look like a text.

    Prints what the query was taken for and one line a cell, parted by tabs; or that the query is
    not in the vocabulary. Nothing is read but what the screening left.

    Returns:
        exit status: 0, or 1 where the query is not in the vocabulary.

    Raises:
        ConfigError: there is no screened slide, or none with descriptions.
        BundleError: the bundle is missing, has no descriptions, or is not the one of the screening.
        OutputError: a result cannot be read.
    """
    results = list(_screened(config.results))
    describer = _describer(config, results)
    meaning = describer.understand(config.query)
    nearest = f"nearest description: {meaning.text} (similarity {meaning.similarity:.2f}, bound "
    nearest += f"{describer.query_threshold:.2f})"
    if not meaning.known:
        print(f"{config.query}: {NOT_IN_VOCABULARY}; {nearest}")
        return 1
    found = find_cells_like(config.query, results, describer)
    print(f"{config.query}: {len(found)} cells look like it; {nearest}")
    print("slide_id", "cell", "x_px0", "y_px0", "label", "cosine", "descriptions", sep="\t")
    for one in found[: config.most]:
        x, y = one.cell.centre_px0
        texts = "; ".join(one.cell.descriptions or ())
        print(one.slide_id, one.number, round(x), round(y), one.cell.label, f"{one.cosine:.3f}",
              texts, sep="\t")  # fmt: skip
    return 0


def find_cells_like(
    query: str, results: Sequence[SlideResult], describer: Describer
) -> list[FoundCell]:
    """Kept cells whose cosine with the query is over its description's threshold, best first."""
    threshold = describer.understand(query).threshold
    found = []
    for result in results:
        cells = [(i, cell) for i, cell in enumerate(result.cells) if cell.text_space]
        if not cells:
            continue
        cosines = describer.match(query, np.array([cell.text_space for _, cell in cells]))
        found += [
            FoundCell(result.slide_id, number, cell, float(cosine))
            for (number, cell), cosine in zip(cells, cosines, strict=True)
            if cosine > threshold
        ]
    return sorted(found, key=lambda one: (-one.cosine, one.slide_id, one.number))


def _screened(folder: Path) -> Iterator[SlideResult]:
    """The done slides of a results folder, or the one whose folder it is."""
    own = folder / RESULT
    paths = [own] if own.is_file() else sorted(folder.glob(f"*/{RESULT}"))
    if not paths:
        raise ConfigError(
            f"{folder} holds no screened slide. A results folder of `koilo screen`, or one slide's "
            "folder in it, is needed. Screen first."
        )
    for path in paths:
        try:
            result = read_slide_result(path.parent)
        except OutputError as error:
            log.warning("%s", error)
            continue
        if result.status == "done":
            yield result


def _describer(config: FindConfig, results: Sequence[SlideResult]) -> Describer:
    """The descriptions of the bundle that made the results; another one's would lie."""
    with_texts = [result for result in results if any(cell.text_space for cell in result.cells)]
    if not with_texts:
        raise ConfigError(
            f"No cell in {config.results} was screened with descriptions. A bundle that has them "
            "is needed. Screen the slides again with the present bundle."
        )
    provenance = with_texts[0].provenance
    used = dict(provenance.get("settings", {})).get("model") or provenance.get("bundle", "")
    bundle = load_bundle(config.model or str(used))
    made = {str(result.provenance.get("bundle_sha256")) for result in with_texts}
    if made != {bundle.sha256}:
        raise BundleError(
            f"The slides were screened with bundle {' and '.join(sorted(m[:12] for m in made))}, "
            f"and {bundle.folder} is {bundle.sha256[:12]}. Texts and cells must be of one bundle. "
            f"Name it with --model, or screen again (its {STAGE} are part of its identity)."
        )
    return load_descriptions(bundle)
