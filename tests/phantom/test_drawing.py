from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from koilo.phantom import Bank
from koilo.phantom.drawing import draw_cell
from koilo.phantom.kinds import KINDS, LESIONS, MIMICS
from koilo.phantom.outlines import area
from koilo.phantom.sprite import DYE_STEP, SPRITE_MPP, Sprite
from koilo.phantom.truth import mask

PER_LESION, PER_MIMIC = 30, 12


def test_measures_are_those_of_the_outlines(bank: Bank) -> None:
    for sprite in bank:
        if sprite.cytoplasm is None or not sprite.label:
            continue
        areas = [area(outline) for outline in sprite.nuclei]
        assert sprite.measured["nucleus_um2"] == pytest.approx(max(areas))
        assert sprite.measured["n_nuclei"] == len(areas)
        assert sprite.measured["cell_um2"] == pytest.approx(area(sprite.cytoplasm))
        assert sprite.measured["nc_area"] == pytest.approx(sum(areas) / area(sprite.cytoplasm))


def test_nuclei_lie_within_their_cell(bank: Bank) -> None:
    for sprite in bank:
        if sprite.cytoplasm is None or not sprite.label:
            continue
        contour = sprite.cytoplasm.reshape(-1, 1, 2)
        for outline in sprite.nuclei:
            inside = [
                cv2.pointPolygonTest(contour, (float(x), float(y)), False) > 0 for x, y in outline
            ]
            assert np.mean(inside) > 0.9, sprite.kind


def test_dye_is_where_the_outlines_say(bank: Bank) -> None:
    for kind in ("intermediate", "hsil", "agc_endocervical"):
        sprite = bank.of_kind(kind)[0]
        size = sprite.dyes.shape[0]
        cells = mask(_in_pixels(sprite, (sprite.cytoplasm,)), (size, size))
        nuclei = mask(_in_pixels(sprite, sprite.nuclei), (size, size))
        amount = sprite.dyes.astype(float).sum(-1) * DYE_STEP
        rim = cv2.dilate((cells | nuclei).astype(np.uint8), np.ones((5, 5))) > 0
        assert amount[~rim].max(initial=0.0) == 0.0
        assert amount[cells].min() >= 0.0
        haematoxylin = sprite.dyes[..., 0] * DYE_STEP
        assert haematoxylin[nuclei].mean() > 4 * haematoxylin[cells & ~nuclei].mean()


def test_coarser_rasters_hold_the_same_dye(bank: Bank) -> None:
    sprite = bank.of_kind("koilocyte")[0]
    full = sprite.dyes.astype(float).mean((0, 1))
    assert np.allclose(sprite.half.astype(float).mean((0, 1)), full, atol=0.6)
    assert np.allclose(sprite.quarter.astype(float).mean((0, 1)), full, atol=0.9)


def test_a_koilocyte_is_clear_around_its_nucleus() -> None:
    rng = np.random.default_rng(4)
    sprites = [draw_cell(rng, "koilocyte") for _ in range(6)]
    assert all(sprite.measured["halo_um2"] > 0 for sprite in sprites)
    cleared = []
    for sprite in sprites:
        size = sprite.dyes.shape[0]
        nuclei = mask(_in_pixels(sprite, sprite.nuclei), (size, size)).astype(np.uint8)
        cell = mask(_in_pixels(sprite, (sprite.cytoplasm,)), (size, size)).astype(np.uint8)
        near = (cv2.dilate(nuclei, np.ones((9, 9))) > 0) & ~(
            cv2.dilate(nuclei, np.ones((3, 3))) > 0
        )
        rim = (cell > 0) & ~(cv2.erode(cell, np.ones((25, 25))) > 0)
        body = sprite.dyes[..., 1:].astype(float).sum(-1)
        cleared.append(body[near].mean() / body[rim & (nuclei == 0)].mean())
    assert np.median(cleared) < 0.6


@pytest.fixture(scope="module")
def measures() -> dict[str, list[dict[str, float]]]:
    rng = np.random.default_rng(20)
    return {
        kind: [draw_cell(rng, kind).measured for _ in range(n)]
        for kinds, n in ((LESIONS, PER_LESION), (MIMICS, PER_MIMIC))
        for kind in kinds
    }


@pytest.mark.parametrize("label", ["ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC"])
def test_no_single_attribute_tells_a_lesion_from_its_mimics(
    label: str, measures: dict[str, list[dict[str, float]]]
) -> None:
    lesions = [kind for kind in LESIONS if KINDS[kind].label == label]
    mimics = [kind for kind in MIMICS if label in KINDS[kind].mimic_of]
    rows = [(1, KINDS[k].weight, m) for k in lesions for m in measures[k]]
    rows += [(0, 1.0, m) for k in mimics for m in measures[k]]
    truth, weights = [r[0] for r in rows], [r[1] for r in rows]
    for name in measures[lesions[0]][0]:
        auc = roc_auc_score(truth, [r[2][name] for r in rows], sample_weight=weights)
        auc = max(auc, 1 - auc)
        assert auc - 1.64 * _standard_error(auc, sum(truth), len(truth) - sum(truth)) <= 0.85, name


def test_lesions_differ_from_normal_cells_as_bethesda_says(
    measures: dict[str, list[dict[str, float]]],
) -> None:
    def median(kind: str, name: str) -> float:
        return float(np.median([m[name] for m in measures[kind]]))

    assert median("koilocyte", "nucleus_um2") > 2 * 35
    assert median("hsil", "nc_area") > 3 * median("lsil", "nc_area")
    assert median("hsil", "nuclear_density") > median("ascus", "nuclear_density")
    assert median("ais", "elongation") > median("hsil", "elongation")


def _standard_error(auc: float, n: int, m: int) -> float:
    """Hanley and McNeil's: a few dozen cells a kind must not fail by chance what holds for many."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (n - 1) * (q1 - auc * auc) + (m - 1) * (q2 - auc * auc)
    return float(np.sqrt(spread / (n * m)))


def _in_pixels(sprite: Sprite, outlines: tuple) -> tuple:  # type: ignore[type-arg]
    return tuple(outline / SPRITE_MPP + sprite.dyes.shape[0] / 2 for outline in outlines)
