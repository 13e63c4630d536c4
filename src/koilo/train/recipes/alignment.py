"""Recipe "alignment": texts of the description vocabulary brought to the features of a cell model.

STRIDE's Algorithm 2: the cell model is frozen, so its features are computed once; at every step all
texts are encoded with gradient, each in one of its eleven wordings, and the symmetric binary
cross-entropy pulls each to the cells that it is true of. The other variant of the paper, a plain
head on the features, is the same recipe with another model. `koilo train alignment` learns from
drawn cells, whose texts are exact: how it does on real cells, no figure of it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.bundle import load_bundle
from koilo.cells.predict import CellClassifier, load_classifier
from koilo.errors import ConfigError, TrainingError
from koilo.evaluate.descriptions import choose_one_threshold, choose_thresholds, text_macro_f1
from koilo.language.encoders import WORDS, build_text_encoder
from koilo.language.model import AlignedTexts, DescriptionHead
from koilo.language.words import collect_words
from koilo.phantom import draw_cells, draw_centre, training_bank
from koilo.progress import log, progress
from koilo.runtime import choose_device, seed_all
from koilo.taxonomy import collapse, read_vocabulary
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.loop import fit
from koilo.train.losses.alignment import alignment_loss
from koilo.train.recipe import LoopConfig, Progress

VARIANTS = ("texts", "head")
TEXTS = tuple(option.text for option in read_vocabulary())
WORDINGS = tuple((option.text, *option.learnt) for option in read_vocabulary())

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class AlignmentSettings:
    """What is aligned with what, and in which batches."""

    variant: str = "texts"
    """texts: a text encoder (Algorithm 2); head: one linear layer in its stead"""
    encoder: str = WORDS
    """words: a small encoder trained from nothing; else a folder of transformers (RoBERTa-base)"""
    width: int = 64
    """width of the small encoder"""
    temperature: bool = False
    """learn a scale and an offset of the cosines; off in the paper"""
    batch: int = 256
    """cells a batch"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = []
        if self.variant not in VARIANTS:
            problems.append(f"variant is {self.variant!r} (allowed: {', '.join(VARIANTS)})")
        if self.width < 4 or self.width % 4:
            problems.append(f"width is {self.width} (allowed: a multiple of 4)")
        if self.batch < 1:
            problems.append(f"batch is {self.batch} (allowed: 1 or more)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of alignment.")


@dataclass(frozen=True)
class AlignmentConfig:
    """Align descriptions with a bundle's cell model, on drawn cells."""

    out: Path = field(default=Path("alignment"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json"""
    model: str = "cytology"
    """bundle whose cell classifier gives the features: a built-in name or a folder"""
    train_centres: int = 12
    """phantom centres to learn from"""
    unseen_centres: int = 4
    """phantom centres to measure on, none of them learnt from"""
    crops: int = 250
    """crops a centre"""
    world: int = 0
    """seed of centres and crops"""
    settings: AlignmentSettings = field(default_factory=AlignmentSettings)
    """what is aligned with what"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, lr=1e-4))
    """how the recipe is stepped (the paper: AdamW, 1e-4)"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = [
            f"{name} is {getattr(self, name)} (allowed: 1 or more)"
            for name in ("train_centres", "unseen_centres", "crops")
            if getattr(self, name) < 1
        ]
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of alignment.")


@dataclass(frozen=True)
class DescribedCells:
    """Features (N, D) of cells; which texts are true of each (N, T) and of which that is known.

    ``odds`` (N,) is how often each is drawn, relative to the others.
    """

    features: NDArray[np.float32]
    said: NDArray[np.bool_]
    known: NDArray[np.bool_]
    odds: NDArray[np.float64]


def train_alignment(config: AlignmentConfig) -> None:
    """Align descriptions with a cell model and say what it measures on unseen phantom centres.

    Raises:
        BundleError: the bundle cannot be used.
        ConfigError: there is no text encoder in the folder named.
        TrainingError: training cannot go on.
        OutputError: ``config.out`` cannot be written.
    """
    classifier = load_classifier(load_bundle(config.model), choose_device(config.loop.device))
    first_unseen = config.train_centres
    train = draw_described(classifier, config, range(first_unseen))
    unseen = draw_described(
        classifier, config, range(first_unseen, first_unseen + config.unseen_centres)
    )
    recipe = AlignmentRecipe(config.settings, train, unseen, seed=config.loop.seed)
    result = fit(recipe, config.loop, config.out, settings=config)
    for name, value in result.metrics.items():
        log.info("%s on unseen centres: %.3f", name, value)
    log.info("The weights are in %s.", result.weights)


def draw_described(
    classifier: CellClassifier, config: AlignmentConfig, centres: range
) -> DescribedCells:
    """Crops of phantom centres as a classifier sees them, with the texts that are true of each."""
    bank = training_bank(config.world)
    features, said = [], []
    with progress("drawing cells", len(centres), unit="centres") as advance:
        for index in centres:
            crops, truths = draw_cells(
                np.random.default_rng([config.world, 0x0D, index]),
                draw_centre(config.world, index),
                mpp=classifier.mpp,
                size_px=classifier.input_px,
                n=config.crops,
                bank=bank,
            )
            features.append(classifier.predict(crops)[0])
            said += [said_of(truth.label, truth.descriptions) for truth in truths]
            advance(1)
    table = np.array(said)
    return DescribedCells(np.concatenate(features), table, np.ones_like(table), np.ones(len(table)))


def said_of(label: str, texts: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which options of the vocabulary (T,) a drawn cell's texts are.

    >>> said_of("AGC", ("loss of polarity",)).tolist() == [False] * 13 + [True]
    True
    """
    options = collapse(label, texts)
    return np.array([text in options for text in TEXTS])


class AlignmentRecipe:
    """The five members the loop asks for, over features held in memory."""

    def __init__(
        self,
        settings: AlignmentSettings,
        train: DescribedCells,
        validation: DescribedCells,
        *,
        seed: int = 0,
    ) -> None:
        """Build the text encoder, or the head, with random weights (a pretrained one keeps its).

        Raises:
            TrainingError: there is no cell to learn from.
            ConfigError: there is no text encoder in the folder that the settings name.
        """
        if not len(train.features) or not train.known.any():
            raise TrainingError(
                "No cell with a known description. At least one is needed. Draw some cells."
            )
        self.settings, self.train, self.validation = settings, train, validation
        self.seed = seed
        seed_all(seed)
        mean = torch.from_numpy(np.average(train.features, axis=0, weights=train.odds))
        if settings.variant == "head":
            self._model: nn.Module = DescriptionHead(mean, len(TEXTS))
        else:
            more = {"width": settings.width} if settings.encoder == WORDS else {}
            encoder = build_text_encoder(settings.encoder, known_words(), **more)
            self._model = AlignedTexts(encoder, mean, temperature=settings.temperature)
        self._odds = train.odds / train.odds.sum()

    @property
    def model(self) -> nn.Module:
        """The aligned texts, or the head, in training."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Features (B, D), said and known (B, T), and a wording of each text (T,)."""
        n_batches = max(len(self.train.features) // self.settings.batch, 1)

        def make(index: int) -> Batch:
            rng = batch_rng(self.seed, epoch, index)
            rows = rng.choice(len(self._odds), self.settings.batch, p=self._odds)
            wording = [int(rng.integers(len(options))) for options in WORDINGS]
            return (
                torch.from_numpy(self.train.features[rows]),
                torch.from_numpy(self.train.said[rows]),
                torch.from_numpy(self.train.known[rows]),
                torch.tensor(wording),
            )

        return IndexedBatches(n_batches, make)

    def losses(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The symmetric loss; the plain multi-label loss is half of it, for the head as well."""
        features, said, known, wording = batch
        if isinstance(self._model, DescriptionHead):
            return {"alignment": alignment_loss(self._model(features), said, known)}
        assert isinstance(self._model, AlignedTexts)
        texts = [WORDINGS[row][place] for row, place in enumerate(wording.tolist())]
        cosines = self._model.cosines(features, self._model.embed(texts))  # (B, T)
        return {"alignment": alignment_loss(self._model.logits(cosines), said, known)}

    def after_step(self, progress: Progress) -> None:
        """Nothing: there is no teacher and no queue."""

    def evaluate(self) -> Mapping[str, float]:
        """Macro-F1 on the validation cells, their thresholds chosen there too (an upper bound)."""
        if not len(self.validation.features):
            return {}
        scores = score_cells(self._model, self.validation.features)
        said = self.validation.said
        one, each = choose_one_threshold(scores, said), choose_thresholds(scores, said)
        return {
            "macro_f1": text_macro_f1(scores > each, said),
            "macro_f1_one_threshold": text_macro_f1(scores > one, said),
        }


def known_words() -> tuple[str, ...]:
    """The words of all wordings that may be learnt from."""
    return collect_words(wording for options in WORDINGS for wording in options)


@torch.no_grad()
def score_cells(
    model: nn.Module, features: NDArray[np.float32], texts: tuple[str, ...] = TEXTS
) -> NDArray[np.float32]:
    """Scores (N, T) of a model in eval mode: cosines with ``texts``, or the head's logits."""
    device = next(model.parameters()).device
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(device)
    if isinstance(model, AlignedTexts):
        return np.asarray(model.cosines(x, model.embed(texts)).cpu().numpy(), np.float32)
    return np.asarray(model(x).cpu().numpy(), np.float32)
