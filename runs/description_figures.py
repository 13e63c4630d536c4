"""The tables of `descriptions.py`: controls, texts, paraphrases, morphometry, agreement on CRIC."""

from __future__ import annotations

from typing import Any

import numpy as np

from cric_cells import MPP
from description_cells import TEXTS
from koilo.cells.morphometry import measure_cells
from koilo.evaluate.descriptions import choose_thresholds, score_texts, text_macro_f1
from koilo.evaluate.scores import auc
from koilo.language.model import AlignedTexts
from koilo.language.predict import text_similarity
from koilo.pipeline.reasons import contradictions
from koilo.taxonomy import CYTOLOGY, NEGATIVE, load_table, outside_queries, read_vocabulary
from koilo.train.recipes.alignment import score_cells

NORMAL = CYTOLOGY.index(NEGATIVE)
CHECKED = {  # the measure that a text speaks of; the sign says which way
    "normal cell": ("nucleus_ratio", -1),
    "nuclear enlargement 2.5-3x": ("nucleus_ratio", 1),
    "nuclear enlargement >3x": ("nucleus_ratio", 1),
    "irregular nuclear membrane or contour": ("contour", 1),
    "mild hyperchromasia": ("darkness_ratio", 1),
    "hyperchromasia": ("darkness_ratio", 1),
    "perinuclear halo or cytoplasmic vacuolisation": ("halo_ratio", 1),
    "high N/C ratio": ("nc_area", 1),
}


def controls(
    p_cells: dict[str, np.ndarray], classes: tuple[str, ...], cells: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """What the class alone would have said of the test cells (N, T), in two ways.

    The texts that are true of most cells of the predicted class; and the expected share of each
    text under the class probabilities, over a threshold of its own chosen on the validation cells.
    """
    train = cells["train"]
    rates = np.stack(
        [train["said"][train["label"] == CYTOLOGY.index(name)].mean(0) for name in classes]
    )  # (C, T)
    commonest = (rates > 0.5)[p_cells["test"].argmax(1)]
    each = choose_thresholds(p_cells["validation"] @ rates, cells["validation"]["said"])
    return commonest, p_cells["test"] @ rates > each


def text_table(
    called: np.ndarray, by_class: np.ndarray, by_odds: np.ndarray, said: np.ndarray
) -> dict[str, Any]:
    """Precision, recall and F1 of each description beside the controls' F1."""
    others = zip(score_texts(by_class, said, TEXTS), score_texts(by_odds, said, TEXTS), strict=True)
    rows = [
        [own.text, own.n, own.precision, own.recall, own.f1, commonest.f1, odds.f1]
        for own, (commonest, odds) in zip(score_texts(called, said, TEXTS), others, strict=True)
    ]
    columns = ["description", "cells", "precision", "recall", "F1"]
    return {
        "columns": [*columns, "F1, commonest of class", "F1, class probabilities"],
        "rows": rows,
    }


def paraphrase_figures(
    model: AlignedTexts,
    thresholds: np.ndarray,
    features: np.ndarray,
    said: np.ndarray,
    query_threshold: float,
) -> dict[str, float]:
    """Held-out wordings: found again, used in the text's place, and told from what is outside."""
    vocabulary = read_vocabulary()
    learnt = [(row, text) for row, o in enumerate(vocabulary) for text in (o.text, *o.learnt)]
    held_out = [(row, text) for row, o in enumerate(vocabulary) for text in o.held_out]
    outside = list(outside_queries().held_out)

    def near(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        cosines = text_similarity(model, texts, [text for _, text in learnt])
        shares = np.array([model.encoder.known_share(text) for text in texts])
        rows = np.array([row for row, _ in learnt])[cosines.argmax(1)]
        return rows, cosines.max(1) * shares

    rows, similarity = near([text for _, text in held_out])
    truth = np.array([row for row, _ in held_out])
    in_place = [
        text_macro_f1(
            score_cells(model, features, tuple(o.held_out[k] for o in vocabulary)) > thresholds,
            said,
        )
        for k in range(5)
    ]
    return {
        "held-out wordings (70) whose nearest description is their own": float(
            (rows == truth).mean()
        ),
        "macro-F1 with a held-out wording in each text's place, mean of five": float(
            np.mean(in_place)
        ),
        "held-out wordings that a query finds in the vocabulary": float(
            (similarity >= query_threshold).mean()
        ),
        "queries outside it (12, held out) answered 'not in the vocabulary'": float(
            (near(outside)[1] < query_threshold).mean()
        ),
    }


def measured(cells: dict[str, Any]) -> dict[str, np.ndarray]:
    """Measures (N,) of crops, each picture with its own glass."""
    whites, own = np.unique(cells["white"], axis=0, return_inverse=True)
    values: dict[str, np.ndarray] = {}
    for number, white in enumerate(whites):
        rows = np.flatnonzero(own.ravel() == number)
        for name, column in measure_cells(cells["crop"][rows], MPP, white).items():
            values.setdefault(name, np.full(len(own.ravel()), np.nan))[rows] = column
    return values


def with_ratios(values: dict[str, np.ndarray], normal: np.ndarray) -> dict[str, np.ndarray]:
    """The ratios to the median of normal cells (N, bool), as on a slide."""
    return values | {
        "nucleus_ratio": values["nucleus_um2"] / np.nanmedian(values["nucleus_um2"][normal]),
        "darkness_ratio": values["nuclear_od"] / np.nanmedian(values["nuclear_od"][normal]),
    }


def morphometry_table(cells: dict[str, Any]) -> dict[str, Any]:
    """Median error of each measure against what was drawn, in cells with one nucleus."""
    values = measured(cells)
    single = (cells["n_nuclei"] == 1) & np.isfinite(values["nucleus_um2"])
    rows = []
    for name in ("nucleus_um2", "nc_area"):
        for label in ("all", *CYTOLOGY):
            use = single if label == "all" else single & (cells["label"] == CYTOLOGY.index(label))
            use = use & np.isfinite(values[name])
            rows.append(_ratio_row(name, label, values[name][use] / cells[name][use]))
    rows.append(
        _ratio_row("nuclear_od over the centre's normal", "all", _darkness(values, cells, single))
    )
    off = np.abs(values["contour"][single] - cells["contour"][single])
    rows.append(["contour, difference", "all", len(off), float(np.median(off)), *[None] * 3])
    drawn = cells["halo_um2"] / cells["nucleus_um2"]
    halo, called = drawn >= _least_halo(), values["halo_ratio"] >= _least_halo()
    use = single & halo
    rows.append(_ratio_row("halo_ratio where drawn", "all", values["halo_ratio"][use] / drawn[use]))
    for name, own in (("halo drawn: share found", use), ("no halo: share found", single & ~halo)):
        rows.append([name, "all", int(own.sum()), float(called[own].mean()), *[None] * 3])
    columns = ["measure", "class", "cells", "median error, or share", "ratio, 10 %", "50 %", "90 %"]
    return {"columns": columns, "rows": rows}


def _ratio_row(name: str, label: str, ratio: np.ndarray) -> list[Any]:
    spread = np.percentile(ratio, (10, 50, 90)).tolist()
    return [name, label, len(ratio), float(np.median(np.abs(ratio - 1))), *spread]


def _darkness(values: dict[str, np.ndarray], cells: dict[str, Any], use: np.ndarray) -> np.ndarray:
    """Darkness over that of a centre's normal cells, as a ratio to the same of the dye drawn."""
    ratios = []
    for centre in np.unique(cells["centre"]):
        own = use & (cells["centre"] == centre)
        normal = own & (cells["label"] == NORMAL)
        seen = values["nuclear_od"][own] / np.median(values["nuclear_od"][normal])
        drawn = cells["nuclear_density"][own] / np.median(cells["nuclear_density"][normal])
        ratios.append(seen / drawn)
    return np.concatenate(ratios)


def _least_halo() -> float:
    return float(load_table("descriptions")["contradicted"]["halo"]["halo_ratio"]["at_least"])


def agreement_table(
    said: np.ndarray, scores: np.ndarray, cells: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """For each text that a measure can check: the measure where it was said and where not."""
    values = with_ratios(measured(cells), cells["label"] == NORMAL)
    lesion = cells["label"] != NORMAL
    rows, orders = [], []
    for text, (name, sign) in CHECKED.items():
        column, seen = TEXTS.index(text), np.isfinite(values[name])
        own = said[:, column]
        row: list[Any] = [text, name, int(own[seen].sum())]
        row += [_median(values[name][seen & own]), _median(values[name][seen & ~own])]
        for where in (seen, seen & lesion):
            high = sign * values[name][where] > np.median(sign * values[name][where])
            row.append(auc(high, scores[where, column]) if 0 < high.sum() < len(high) else None)
        rows.append(row)
        orders.append(row[-1])
    columns = ["description", "measure", "cells it was said of", "median there", "median elsewhere"]
    columns += [
        "AUC of the cosine for the upper half of the measure",
        "the same, lesion cells only",
    ]
    mean = float(np.mean([value for value in orders if value is not None]))
    figures = {
        "CRIC's held-out lesion cells: mean AUC of texts for the measure they speak of": mean
    }
    return {"columns": columns, "rows": rows}, figures


def contradicted_share(said: np.ndarray, cells: dict[str, Any]) -> dict[str, float]:
    """Share of CRIC's held-out lesion cells with a text whose own measures belie one of them."""
    values = with_ratios(measured(cells), cells["label"] == NORMAL)
    flagged, checked = 0, 0
    for index in np.flatnonzero((cells["label"] != NORMAL) & said.any(1)):
        texts = [text for column, text in enumerate(TEXTS) if said[index, column]]
        taken = {name: float(v[index]) for name, v in values.items() if np.isfinite(v[index])}
        checked += 1
        flagged += bool(contradictions(CYTOLOGY[cells["label"][index]], texts, taken))
    return {
        "CRIC's held-out lesion cells with a text: share with a flag": flagged / max(checked, 1)
    }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
