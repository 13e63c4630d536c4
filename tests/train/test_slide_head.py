"""The recipe slide_head: bags it draws, what it learns, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koilo.cli import main
from koilo.errors import ConfigError, ManifestError, TrainingError
from koilo.mil import HEADS, Bag, BagSet, write_bags
from koilo.train.loop import fit
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.slide_head import (
    SlideHeadConfig,
    SlideHeadRecipe,
    predict_bags,
    score_bags,
    train_slide_head,
)

CLASSES = ("NILM", "LSIL", "HSIL+SCC")
LOOP = LoopConfig(steps=20, lr=5e-2, device="cpu", ema=0.5, log_every=5)


def make_bags(path: Path, **changes: Any) -> Path:
    """Sixty bags of 6 to 30 cells; the first cells of a positive bag are lesion cells."""
    rng = np.random.default_rng(0)
    labels = [CLASSES[i % 3] for i in range(60)]
    p, rows, start = [], [], 0
    for label in labels:
        n = int(rng.integers(6, 31))
        odds = np.ones((n, 3)) * (6, 0.3, 0.3)
        if label != "NILM":
            odds[:3] = np.where(np.arange(3) == CLASSES.index(label), 8, 0.3)
        p.append(np.stack([rng.dirichlet(row) for row in odds]))
        rows.append(np.arange(start, start + n))
        start += n
    bags = BagSet(
        features=np.zeros((start, 0), np.float16),
        probabilities=np.concatenate(p),
        rows=tuple(rows),
        bag_ids=tuple(f"bag {i}" for i in range(60)),
        labels=tuple(labels),
        splits=tuple("train" if i < 45 else "validation" for i in range(60)),
        groups=tuple(f"case {i // 3}" for i in range(60)),
    )
    write_bags(path, replace(bags, **changes))
    return path


def config(tmp_path: Path, **changes: Any) -> SlideHeadConfig:
    base = SlideHeadConfig(tmp_path / "bags.npz", tmp_path / "run", classes=CLASSES, loop=LOOP)
    return replace(base, **changes)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_every_head_learns_on_bags_whose_signal_is_plain(tmp_path: Path, head: str) -> None:
    make_bags(tmp_path / "bags.npz")
    rate = 2e-3 if head == "transmil" else LOOP.lr
    train_slide_head(config(tmp_path, head=head, loop=replace(LOOP, lr=rate)))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert metrics["auc"] > 0.8, metrics
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["settings"]["head"] == head
    assert list(run["data_sha256"]) == [str(tmp_path / "bags.npz")]


def test_a_head_learns_by_the_ordinal_loss_too(tmp_path: Path) -> None:
    make_bags(tmp_path / "bags.npz")
    train_slide_head(config(tmp_path, head="abmil", loss="ordinal"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert metrics["auc"] > 0.8, metrics


def test_the_losses_that_a_head_adds_are_trained_and_logged(tmp_path: Path) -> None:
    make_bags(tmp_path / "bags.npz")
    train_slide_head(config(tmp_path, head="clam_sb", head_config={"width": 16, "hidden": 8}))
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    cells = [line["cells"] for line in steps if "cells" in line]
    assert len(cells) >= 3
    assert cells[-1] < cells[0]


def test_cells_without_what_a_head_should_read_are_refused(tmp_path: Path) -> None:
    make_bags(tmp_path / "bags.npz")
    with pytest.raises(TrainingError, match="nothing that inputs 'features' reads"):
        train_slide_head(config(tmp_path, inputs="features"))


def test_the_command_line_trains_and_refuses_an_unknown_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = make_bags(tmp_path / "bags.npz")
    settings = tmp_path / "head.yaml"
    settings.write_text(
        f"bags: {bags}\nclasses: [NILM, LSIL, HSIL+SCC]\nloop:\n  steps: 3\n  device: cpu\n"
    )
    command = ["train", "slide_head", "--config", str(settings), "--out", str(tmp_path / "cli")]
    assert main([*command, "--head", "mean", "--loop.steps", "2"]) == 0
    run = json.loads((tmp_path / "cli" / "run.json").read_text())
    assert run["config"]["loop"]["steps"] == 2
    assert main(["train", "slide_heat"]) == 2
    assert "slide_head" in capsys.readouterr().err


def test_a_case_in_both_splits_is_refused(tmp_path: Path) -> None:
    make_bags(tmp_path / "bags.npz", groups=("one case",) * 60)
    with pytest.raises(ManifestError, match="one case in train and validation"):
        train_slide_head(config(tmp_path))


def test_bags_of_one_class_are_refused(tmp_path: Path) -> None:
    make_bags(tmp_path / "bags.npz", labels=("NILM",) * 60)
    with pytest.raises(TrainingError, match="fewer than two classes"):
        train_slide_head(config(tmp_path))


def test_all_wrong_settings_are_named_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"inputs is 'pixels'.*loss is 'L2'.*NILM first.*batch is 0"
    ):
        config(tmp_path, inputs="pixels", loss="L2", classes=("LSIL", "NILM"), batch=0)


def drawn(settings: SlideHeadConfig, n_cells: int = 40) -> list[torch.Tensor]:
    """The real cells of many training bags drawn from two; cell k holds the number k."""
    x = np.arange(n_cells, dtype=np.float32)[:, None]
    recipe = SlideHeadRecipe(settings, [Bag("n", x, 0), Bag("p", x, 1)], [])
    batches = (batch for epoch in range(3) for batch in recipe.batches(epoch))
    return [row[real, 0] for x, mask, _ in batches for row, real in zip(x, mask, strict=True)]


def test_bags_are_cut_to_their_best_cells_five_at_least(tmp_path: Path) -> None:
    rows = drawn(config(tmp_path, cut_share=0.5, batches_per_epoch=10, top_k=30))
    sizes = np.array([len(row) for row in rows])
    assert all(torch.equal(row, torch.arange(len(row)).float()) for row in rows)
    assert (sizes.min(), sizes.max()) == (5, 30)
    assert 0.4 < (sizes == 30).mean() < 0.65
    assert (sizes <= 12).mean() > 0.15


def test_a_shift_is_common_to_all_cells_of_a_bag(tmp_path: Path) -> None:
    for row in drawn(config(tmp_path, shift=1.0, cut_share=0, batches_per_epoch=2)):
        shift = row[0]
        torch.testing.assert_close(row, torch.arange(len(row)) + shift)
        assert shift != 0


def test_rare_classes_are_drawn_more_often_than_they_occur(tmp_path: Path) -> None:
    bags = [Bag(str(i), np.zeros((6, 2), np.float32), int(i >= 90)) for i in range(100)]
    share = {}
    for balance in (0.0, 1.0):
        settings = config(tmp_path, balance=balance, batches_per_epoch=40)
        labels = torch.cat([y for _, _, y in SlideHeadRecipe(settings, bags, []).batches(0)])
        share[balance] = float(labels.float().mean())
    assert share == pytest.approx({0.0: 0.1, 1.0: 0.5}, abs=0.08)


def test_measures_are_those_of_the_probabilities() -> None:
    p = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.1, 0.3], [0.7, 0.2, 0.1]])
    values = score_bags(p, [0, 1, 2, 0], CLASSES)
    assert values["auc"] == 1.0
    assert values["spec@sens95"] == 1.0
    assert values["cross_entropy"] == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.7]).mean())
    assert score_bags(p[:1], [0], CLASSES).keys() == {"cross_entropy", "macro_f1"}


def test_a_fit_without_validation_measures_nothing_and_still_gives_a_head(tmp_path: Path) -> None:
    bags = [Bag(str(i), np.full((6, 2), i % 2, np.float32), i % 2) for i in range(8)]
    recipe = SlideHeadRecipe(config(tmp_path, head="mean"), bags, [])
    assert fit(recipe, replace(LOOP, lr=0.3), tmp_path / "run").metrics == {}
    p = predict_bags(recipe.model, bags, top_k=4)
    assert (p.argmax(axis=1) == [bag.label for bag in bags]).all()


def test_the_table_of_recipes_shows_without_torch() -> None:
    code = (
        "import sys; from koilo.cli import main; main(['train']); sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(name in shown.stdout for name in ("detector", "slide_head", "supervised"))
