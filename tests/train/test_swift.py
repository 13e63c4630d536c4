"""One SWIFT step: which loss reaches what, who follows whom, and that chunks change nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError, TrainingError
from koilo.train import LoopConfig, Progress, fit
from koilo.train.joint import Classes, JointBatch, JointSampler
from koilo.train.recipes.swift import COLOURS, SwiftRecipe, SwiftSettings, _Colours
from koilo.train.stages import colour_stage, restart_at_better
from koilo.train.swift_model import SwiftModel, build_swift_model, judge_slides
from tests.train.conftest import assert_same_bits, weights_of
from tests.train.toy_store import make_toy_store

CLASSES = Classes()
TOY = SwiftSettings(n_cells=6, n_slides=2, top_k=6, teacher_decay=0.9)
LOOP = LoopConfig(
    steps=4, optimizer="adam", weight_decay=1e-3, device="cpu", threads=1, log_every=1
)
START = Progress(step=0, steps=4, epoch=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("store"))


def make_recipe(
    store: CropStore,
    settings: SwiftSettings = TOY,
    *,
    drop_path: float = 0.0,
    head: str = "dense_attention",
) -> SwiftRecipe:
    torch.manual_seed(0)
    config = {"widths": (4, 6, 8, 8), "depths": (1, 1, 1, 1), "drop_path": drop_path}
    model = build_swift_model(CLASSES, encoder_config=config, head=head, head_config={"hidden": 8})
    sampler = JointSampler(store, CLASSES, n_cells=settings.n_cells, n_slides=settings.n_slides,
                           top_k=settings.top_k, labels=settings.labels)  # fmt: skip
    return SwiftRecipe(model, sampler, settings)


def step(recipe: SwiftRecipe, batch: JointBatch | None = None) -> tuple[Mapping[str, Tensor], dict]:
    """Losses and gradients of one step in training mode, always from the same chance."""
    recipe.model.train()
    recipe.model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    losses = recipe.losses(recipe.batches(0)[0] if batch is None else batch, START)
    sum(loss for loss in losses.values() if loss.requires_grad).backward()
    return losses, {name: p.grad for name, p in recipe.model.named_parameters()}


def parts_reached(gradients: dict[str, Tensor | None]) -> set[str]:
    return {
        name.split(".")[0] + "." + name.split(".")[1] if name.startswith("student") else "head"
        for name, gradient in gradients.items()
        if gradient is not None and gradient.abs().max() > 0
    }


@pytest.mark.parametrize(
    ("terms", "reached"),
    [
        (("cell",), {"student.trunk", "student.head"}),
        (("slide",), {"student.trunk", "head"}),
        (("semi",), {"student.trunk", "student.head"}),
        (("cell", "slide", "semi"), {"student.trunk", "student.head", "head"}),
    ],
)
def test_each_loss_reaches_its_own_parts(
    store: CropStore, terms: tuple[str, ...], reached: set[str]
) -> None:
    losses, gradients = step(make_recipe(store, replace(TOY, terms=terms)))
    assert {name for name, loss in losses.items() if loss.requires_grad} == set(terms)
    assert parts_reached(gradients) == reached


def test_a_head_that_learns_from_more_than_the_slides_class_does_so_here_too(
    store: CropStore,
) -> None:
    losses, gradients = step(make_recipe(store, head="clam_sb"))
    assert losses["cells"].requires_grad
    assert gradients["head.cells.weight"].abs().max() > 0


@pytest.mark.parametrize("colour", ["none", "adversarial"])
def test_chunks_give_the_plain_steps_losses_and_gradients(store: CropStore, colour: str) -> None:
    settings = replace(TOY, colour=colour)
    plain, gradients = step(make_recipe(store, settings))
    chunked, same = step(make_recipe(store, replace(settings, chunk=5)))
    for name, loss in plain.items():
        assert float(chunked[name].detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, gradient in gradients.items():
        if gradient is not None:
            assert torch.allclose(gradient, same[name], atol=1e-6), name


@pytest.mark.parametrize("colour", COLOURS)
def test_mixed_precision_gives_nearly_the_plain_steps_losses(store: CropStore, colour: str) -> None:
    settings = replace(TOY, colour=colour, chunk=5)
    plain, _ = step(make_recipe(store, settings))
    with torch.autocast("cpu", torch.bfloat16):
        halved, gradients = step(make_recipe(store, settings))
    assert parts_reached(gradients) == {"student.trunk", "student.head", "head"}
    for name in {"cell", "slide"} & set(plain):
        assert halved[name].dtype == torch.float32
        assert float(halved[name].detach()) == pytest.approx(float(plain[name].detach()), rel=0.02)


def test_padding_takes_no_part(store: CropStore) -> None:
    settings = replace(TOY, terms=("slide", "semi"))
    recipe = make_recipe(store, settings)
    batch = recipe.batches(0)[0]
    wider = JointBatch(
        batch.cells,
        batch.cell_labels,
        torch.cat([batch.bags, torch.full_like(batch.bags[:, :2], 255)], 1),
        torch.cat([batch.valid, torch.zeros(2, 2, dtype=torch.bool)], 1),
        batch.slide_labels,
        torch.cat([batch.truth, torch.full((2, 2), -1)], 1),
    )
    recipe.model.head.dropout.p = 0.0  # its mask depends on the width
    losses, padded = step(recipe)[0], step(recipe, wider)[0]
    for name, loss in losses.items():
        assert float(padded[name].detach()) == pytest.approx(float(loss.detach()), rel=1e-5), name


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_option_steps_and_those_that_move_add_a_loss(
    store: CropStore, colour: str
) -> None:
    losses, _ = step(make_recipe(store, replace(TOY, colour=colour)))
    assert ("colour" in losses) == (colour in ("random", "adversarial", "adversarial_stain"))
    assert all(torch.isfinite(loss).all() for loss in losses.values())


@pytest.mark.parametrize(("share", "spaces"), [(0.0, {False}), (1.0, {True})])
def test_the_space_of_the_shift_is_drawn_for_each_slide_by_its_share(
    share: float, spaces: set[bool]
) -> None:
    settings = replace(TOY, colour="adversarial", hsv_share=share)
    chance = torch.Generator().manual_seed(0)
    colours = _Colours.draw(settings, 20, torch.device("cpu"), chance)
    assert set(colours.in_hsv.tolist()) == spaces


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_the_adversarial_pass_starts_from_the_clean_one(store: CropStore, drop_path: float) -> None:
    settings = replace(TOY, colour="adversarial", colour_radius=0.0)
    recipe = make_recipe(store, settings, drop_path=drop_path)
    with torch.no_grad():
        for name, weight in recipe.model.named_parameters():
            if "layer_scale" in name:
                weight.fill_(1.0)  # at 1e-6, where it begins, a skipped block is not missed
    losses, _ = step(recipe)
    # Same dropout mask, same blocks skipped and no shift: the two passes are one.
    assert float(losses["colour"].detach()) == pytest.approx(
        float(losses["slide"].detach()), rel=1e-4
    )


def test_the_teacher_follows_the_student_and_is_never_trained(store: CropStore) -> None:
    recipe = make_recipe(store)
    model = recipe.model
    assert isinstance(model, SwiftModel)
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for p in model.student.parameters():
            p += 1.0
        recipe.after_step(Progress(step=1, steps=4, epoch=0))  # the first update: keep 1/10
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.9, atol=1e-5)
        assert not new.requires_grad
    model.train()
    assert not model.teacher.training
    assert not model.head_average.training


def test_labels_are_counted_by_rule_and_class(store: CropStore) -> None:
    losses, _ = step(make_recipe(store, replace(TOY, tau_teacher=0.0)))
    by_class = {
        rule: sum(float(losses[f"{rule}_{name}"]) for name in CLASSES.cells)
        for rule in ("cam", "teacher")
    }
    assert by_class["cam"] + by_class["teacher"] == 2 * 6  # every cell is sure at 0
    shares = sum(float(losses[f"cam_share_{kind}"]) for kind in ("positive", "nilm"))
    assert by_class["cam"] == pytest.approx(6 * shares)


def test_every_cell_of_a_nilm_slide_can_be_made_nilm(store: CropStore) -> None:
    settings = replace(TOY, nilm_all=True, tau_teacher=0.0)
    losses, _ = step(make_recipe(store, settings))
    assert float(losses["cam_share_nilm"]) == 1.0
    assert float(losses["teacher_share_nilm"]) == 0.0
    assert float(losses["cam_right_nilm"]) == float(losses["cam_judged_nilm"]) == 6
    without, _ = step(make_recipe(store, replace(TOY, cam="none")))
    assert float(without["cam_share_positive"]) == 0.0


def test_a_run_resumes_to_the_same_bits(store: CropStore, tmp_path: Path) -> None:
    settings = replace(TOY, colour="adversarial")
    fit(make_recipe(store, settings), LOOP, tmp_path / "whole", settings=settings)

    class StoppedError(Exception):
        pass

    recipe = make_recipe(store, settings)
    follow = recipe.after_step

    def stop_at_three(progress: Progress) -> None:
        if progress.step == 3:
            raise StoppedError
        follow(progress)

    recipe.after_step = stop_at_three  # type: ignore[method-assign]
    loop = replace(LOOP, checkpoint_every=2)
    with pytest.raises(StoppedError):
        fit(recipe, loop, tmp_path / "killed", settings=settings)
    fit(make_recipe(store, settings), loop, tmp_path / "killed", settings=settings)
    assert_same_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_checkpoint_whole(
    store: CropStore, tmp_path: Path
) -> None:
    recipe = make_recipe(store)
    loop = replace(LOOP, checkpoint_every=1)
    fit(recipe, replace(loop, steps=4), tmp_path)
    state = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        recipe.model.head.classify.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="slide is nan"):
        fit(recipe, loop, tmp_path / "again")
    assert (tmp_path / "checkpoint.pt").read_bytes() == state
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"cell", "slide", "semi", "cam_share_positive", "teacher_right_nilm"} <= set(log[0])


def test_slides_are_judged_by_student_and_head_or_by_both_averages(store: CropStore) -> None:
    model = make_recipe(store).model
    assert isinstance(model, SwiftModel)
    slides = store.of_split("validation")
    own = judge_slides(*model.parts(averaged=False), store, slides, top_k=4)
    averaged = judge_slides(*model.parts(averaged=True), store, slides, top_k=4)
    assert own.shape == (10, 6)
    assert np.allclose(own.sum(1), 1, atol=1e-5)
    assert np.allclose(own, averaged)  # before the first step they are copies


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        ({"student_auc": 0.8, "average_auc": 0.9}, "average"),
        ({"student_auc": 0.9, "average_auc": 0.8}, "student"),
        ({}, "student"),  # a validation split of one kind has no AUC
    ],
)
def test_a_further_stage_begins_at_whichever_validation_prefers(
    store: CropStore, metrics: dict[str, float], chosen: str
) -> None:
    model = make_recipe(store).model
    assert isinstance(model, SwiftModel)
    slides = store.of_split("validation")
    with torch.no_grad():
        for part in (model.teacher, model.head_average):
            for weight in part.parameters():
                weight.mul_(0.5)
    wanted = judge_slides(*model.parts(averaged=chosen == "average"), store, slides, top_k=4)
    restart_at_better(model, metrics)
    for averaged in (False, True):
        p = judge_slides(*model.parts(averaged=averaged), store, slides, top_k=4)
        np.testing.assert_array_equal(p, wanted)


def test_the_averages_of_a_colour_stage_go_on_from_what_they_began_as(store: CropStore) -> None:
    settings = colour_stage(replace(TOY, young=4.0), "random")
    recipe = make_recipe(store, settings)
    assert settings.colour == "random"
    model = recipe.model
    assert isinstance(model, SwiftModel)
    before = [p.clone() for p in model.head_average.parameters()]
    with torch.no_grad():
        for p in model.head.parameters():
            p += 1.0
    recipe.after_step(Progress(step=1, steps=4, epoch=0))
    for old, new in zip(before, model.head_average.parameters(), strict=True):
        assert torch.allclose(new, old + (1.0 - TOY.teacher_decay), atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"cam": "grad"},
        {"colour": "hue"},
        {"terms": ()},
        {"terms": ("cells",)},
        {"n_slides": 0},
        {"terms": ("cell",), "n_cells": 0},
        {"teacher_decay": 1.0},
        {"chunk": -1},
        {"tau_cam": -0.1},
        {"batches_per_epoch": 0},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="settings of swift"):
        replace(TOY, **values)
