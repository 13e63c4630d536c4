"""A bundle's descriptions, ready to say what a cell shows and which cells a text fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from koilo.bundle import Bundle
from koilo.errors import BundleError, ConfigError
from koilo.language.encoders import build_text_encoder
from koilo.language.model import AlignedTexts
from koilo.taxonomy import read_vocabulary

STAGE = "descriptions"


@dataclass(frozen=True)
class Meaning:
    """What the vocabulary makes of a query.

    ``text`` is the description nearest to it, ``similarity`` how near: the best cosine with any
    wording of it, times the share of the query's words that are known.
    """

    text: str
    similarity: float
    known: bool
    threshold: float
    """cosine over which a cell looks like it"""


class Describer:
    """Aligned texts with the thresholds that were chosen for them; eval mode.

    Args:
        model: the aligned text encoder.
        texts: the options that are said of cells.
        thresholds: cosine over which each is said.
        query_threshold: similarity under which a query is not in the vocabulary.
    """

    def __init__(
        self,
        model: AlignedTexts,
        *,
        texts: Sequence[str],
        thresholds: Sequence[float],
        query_threshold: float,
    ) -> None:
        self.model = model.eval().float()
        self.texts, self.query_threshold = tuple(texts), query_threshold
        self.thresholds = np.asarray(thresholds, np.float32)  # (T,)
        if self.thresholds.shape != (len(self.texts),):
            raise ValueError(f"{len(self.texts)} texts have {self.thresholds.size} thresholds")
        wordings = [
            (row, text)
            for row, own in enumerate(_wordings(self.texts))
            for text in (self.texts[row], *own)
        ]
        with torch.no_grad():
            self._directions = self.model.text_direction(self.texts).numpy()  # (T, W + 1)
            self._wordings = self.model.embed([text for _, text in wordings])  # (M, D)
        self._row_of_wording = [row for row, _ in wordings]

    @torch.no_grad()
    def place(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Cell features (N, D) in text space (N, W + 1): all that any text's cosine depends on."""
        x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        return np.asarray(self.model.text_space(x).numpy(), np.float32)

    def describe(self, places: NDArray[np.floating]) -> list[tuple[str, ...]]:
        """The texts of each cell in text space (N, W + 1): those whose cosine is over theirs."""
        said = places @ self._directions.T > self.thresholds  # (N, T)
        return [tuple(self.texts[column] for column in np.flatnonzero(row)) for row in said]

    @torch.no_grad()
    def understand(self, query: str) -> Meaning:
        """Which description a query is nearest to, and whether it is near enough."""
        cosines = (self.model.embed([query]) @ self._wordings.T)[0].numpy()  # (M,)
        best = int(cosines.argmax())
        row = self._row_of_wording[best]
        similarity = float(cosines[best]) * self.model.encoder.known_share(query)
        return Meaning(
            self.texts[row],
            similarity,
            similarity >= self.query_threshold,
            float(self.thresholds[row]),
        )

    @torch.no_grad()
    def match(self, query: str, places: NDArray[np.floating]) -> NDArray[np.float32]:
        """Cosines (N,) of a query with cells in text space (N, W + 1)."""
        direction = self.model.text_direction([query]).numpy()[0]
        return np.asarray(np.asarray(places, np.float32) @ direction, np.float32)


def load_descriptions(bundle: Bundle) -> Describer:
    """The descriptions of a bundle, on the CPU, which is faster than the way to a device.

    Raises:
        BundleError: the bundle has none, or they do not fit together or to its cell model.
    """
    stage = bundle.stage(STAGE)
    try:
        tensors = {name: torch.from_numpy(v) for name, v in bundle.tensors(STAGE).items()}
        model = build_aligned(stage, tensors["feature_mean"])
        model.load_state_dict(tensors)
        return Describer(
            model,
            texts=stage["texts"],
            thresholds=stage["thresholds"],
            query_threshold=float(stage["query_threshold"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise BundleError(
            f"The descriptions of bundle {bundle.name} do not fit together "
            f"({' '.join(str(error).split())[:200]}). Texts, thresholds and weights must be those "
            "of one training. Take the bundle again from where it came."
        ) from error


def build_aligned(stage: Mapping[str, Any], feature_mean: torch.Tensor) -> AlignedTexts:
    """The model that a stage states (encoder, words, config, temperature), with random weights.

    Raises:
        KeyError: the stage is incomplete.
        ConfigError: its encoder is not there.
    """
    encoder = build_text_encoder(
        str(stage["encoder"]), tuple(stage.get("words", ())), **dict(stage.get("config", {}))
    )
    return AlignedTexts(encoder, feature_mean, temperature=bool(stage["temperature"]))


def choose_query_threshold(
    model: AlignedTexts, texts: Sequence[str], outside: Sequence[str]
) -> float:
    """The similarity that best parts the vocabulary's own wordings from queries outside it.

    Each wording is compared with all others but itself; the middle of the best stretch is taken.
    """
    own = [(row, text) for row, words in enumerate(_wordings(texts)) for text in words]
    phrases = [text for _, text in own]
    with torch.no_grad():
        embedded = model.embed(phrases)
        among = (embedded @ embedded.T).fill_diagonal_(-1.0).max(1).values.numpy()
        strange = (model.embed(outside) @ embedded.T).max(1).values.numpy()
    strange *= np.array([model.encoder.known_share(text) for text in outside])
    levels = np.unique(np.concatenate([among, strange]))
    right = np.array([(among >= t).mean() + (strange < t).mean() for t in levels])
    best = levels[right >= right.max() - 1e-9]
    below = strange[strange < best.max()]
    return float((best.max() + (below.max() if below.size else best.min())) / 2)


def text_similarity(model: AlignedTexts, a: Sequence[str], b: Sequence[str]) -> NDArray[np.float32]:
    """Cosines (len(a), len(b)) of texts with texts."""
    with torch.no_grad():
        return np.asarray((model.embed(a) @ model.embed(b).T).numpy(), np.float32)


def _wordings(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The learnt wordings of each text; none for a text that is not in koilo's vocabulary."""
    learnt = {option.text: option.learnt for option in read_vocabulary()}
    return [learnt.get(text, ()) for text in texts]
