"""Organisms: drawn by what the specification says of them, labelled by what a crop holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koilo.phantom import Bank, Centre
from koilo.phantom.bank import bank_counts
from koilo.phantom.kinds import KINDS
from koilo.phantom.kinds_organism import ORGANISMS, draw_organism
from koilo.phantom.organisms import ORGANISM_NAMES, draw_organism_crops
from koilo.phantom.outlines import area
from koilo.phantom.scene import Deposit, Scene, fill_scene
from koilo.phantom.sprite import DYE_STEP, SPRITE_MPP, Sprite


def drawn(name: str, n: int = 8) -> list[Sprite]:
    rng = np.random.default_rng(3)
    return [draw_organism(rng, name) for _ in range(n)]


def mean_dyes(sprite: Sprite) -> np.ndarray:
    """Mean amount of each dye (4,) where there is any."""
    dyes = sprite.dyes.astype(float) * DYE_STEP
    return np.asarray(dyes[dyes.sum(-1) > 0.05].mean(0))


@pytest.mark.parametrize("name", sorted(ORGANISMS))
def test_an_organism_is_drawn_the_same_by_the_same_seed_and_fits_its_raster(name: str) -> None:
    first, second = (draw_organism(np.random.default_rng(7), name) for _ in range(2))
    assert np.array_equal(first.dyes, second.dyes)
    assert first.kind == name
    dyed = first.dyes.sum(-1) > 0
    assert dyed.sum() * SPRITE_MPP**2 > 20
    rim = np.concatenate([dyed[0], dyed[-1], dyed[:, 0], dyed[:, -1]])
    assert rim.mean() < 0.1


def test_candida_is_pink_or_brown_and_trichomonas_blue_green() -> None:
    for sprite in drawn("candida"):
        haematoxylin, light_green, eosin, _ = mean_dyes(sprite)
        assert eosin > 2 * light_green
        assert haematoxylin > 0
    for sprite in drawn("trichomonas"):
        haematoxylin, light_green, eosin, orange = mean_dyes(sprite)
        assert light_green > max(haematoxylin, eosin, orange)


def test_a_trichomonas_measures_fifteen_to_thirty_micrometres() -> None:
    sizes = []
    for sprite in drawn("trichomonas", 30):
        dyed = np.argwhere(sprite.dyes.sum(-1) > 6)
        extent = np.ptp(
            dyed @ np.stack([(np.cos(a), np.sin(a)) for a in np.linspace(0, 3, 12)]).T, 0
        )
        sizes.append(extent.min() * SPRITE_MPP)
    assert 7 < np.median(sizes) < 30


def test_a_clue_cell_is_a_squamous_cell_with_more_haematoxylin_over_its_body() -> None:
    for sprite in drawn("clue_cell", 4):
        assert sprite.cytoplasm is not None
        assert len(sprite.nuclei) >= 1
        assert mean_dyes(sprite)[0] > 0.1
        # Rods reach beyond the cell's own edge, which they blur.
        dyed = (sprite.dyes.sum(-1) > 6).sum() * SPRITE_MPP**2
        assert dyed > 1.02 * area(sprite.cytoplasm)


def test_herpes_nuclei_mould_each_other_and_are_darker_at_the_rim() -> None:
    sprites = drawn("herpes", 12)
    assert max(len(sprite.nuclei) for sprite in sprites) >= 3
    for sprite in sprites:
        assert sprite.cytoplasm is not None
        total = sum(area(nucleus) for nucleus in sprite.nuclei)
        assert total < area(sprite.cytoplasm)
        x, y = np.round(sprite.nuclei[0].mean(0) / SPRITE_MPP + sprite.dyes.shape[0] / 2).astype(
            int
        )
        rim = np.round(sprite.nuclei[0] / SPRITE_MPP + sprite.dyes.shape[0] / 2).astype(int)
        inner = sprite.dyes[y - 2 : y + 3, x - 2 : x + 3, 0].mean()
        assert sprite.dyes[rim[:, 1], rim[:, 0], 0].mean() > 1.2 * inner


def test_crops_come_with_what_they_hold(bank: Bank, centre: Centre) -> None:
    crops, holds = draw_organism_crops(
        np.random.default_rng(0), centre, n=40, size_px=64, bank=bank, without=0.5
    )
    assert crops.shape == (40, 64, 64, 3)
    assert holds.shape == (40, len(ORGANISM_NAMES))
    assert 0.3 < holds.any(1).mean() < 0.85
    assert (holds.sum(1) <= 3).all()
    again, held = draw_organism_crops(
        np.random.default_rng(0), centre, n=40, size_px=64, bank=bank, without=0.5
    )
    assert np.array_equal(crops, again)
    assert np.array_equal(holds, held)


def test_no_organism_stands_in_a_bank_or_among_the_kinds() -> None:
    assert not set(ORGANISMS) & (set(KINDS) | set(bank_counts(600)))


def test_a_slide_shows_organisms_only_where_the_centres_rates_say_so(
    bank: Bank, centre: Centre
) -> None:
    def scene(centre: Centre) -> Scene:
        deposit = Deposit(0.0, 0.0, 5000.0)
        return fill_scene(
            np.random.default_rng(4), centre, bank, (800, 800), deposit, 30, {"LSIL": 2}
        )

    plain, with_organisms = scene(centre), scene(replace(centre, organism_rates={"candida": 400.0}))
    kinds = [placement.sprite.kind for placement in plain.placements]
    assert not set(kinds) & set(ORGANISMS)
    more = [placement.sprite.kind for placement in with_organisms.placements]
    assert more[: len(kinds)] == kinds
    assert set(more[len(kinds) :]) == {"candida"}
