"""The loop: what it steps, averages, refuses and leaves behind."""

from __future__ import annotations

import json
import math
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from koilo.errors import ConfigError, KoiloError, TrainingError
from koilo.train import LoopConfig, Progress, fit
from tests.train.conftest import N_BATCHES, ToyRecipe, assert_same_bits, weights_of

SHORT = LoopConfig(steps=12, lr=1e-2, ema=0.9, device="cpu", checkpoint_every=4, log_every=1)


def log_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_learns_and_leaves_its_records(toy: ToyRecipe, tmp_path: Path) -> None:
    data = tmp_path / "cells.csv"
    data.write_text("a,b\n")
    config = LoopConfig(steps=150, lr=2e-2, device="cpu", log_every=10, clip=0)
    result = fit(toy, config, tmp_path / "run", settings={"width": 8}, data=[data])
    losses = [line["mse"] for line in log_lines(tmp_path / "run") if "mse" in line]
    assert losses[-1] < 0.5 * losses[0]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["loop"]["steps"] == 150
    assert run["config"]["settings"] == {"width": 8}
    assert len(run["data_sha256"][str(data)]) == 64
    assert run["environment"]["versions"]["torch"]
    assert run["git"]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["metrics"] == result.metrics == toy.evaluate()
    assert_same_bits(weights_of(tmp_path / "run"), toy.model.state_dict())


def test_batches_come_in_order_and_accumulation_takes_several_an_update(
    toy: ToyRecipe, tmp_path: Path
) -> None:
    fit(toy, replace(SHORT, steps=4, accumulation=2), tmp_path)
    assert toy.seen == [(n // N_BATCHES, n % N_BATCHES) for n in range(8)]


def test_accumulation_over_equal_batches_is_one_batch(tmp_path: Path) -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 1)
            nn.init.ones_(self.model.weight)

        def batches(self, epoch: int) -> list[Tensor]:
            return [torch.ones(3, 2)] * 4

        def losses(self, batch: Tensor, progress: Progress) -> dict[str, Tensor]:
            return {"square": self.model(batch).square().mean()}

        def after_step(self, progress: Progress) -> None: ...

        def evaluate(self) -> dict[str, float]:
            return {"w": self.model.weight.sum().item()}

    torch.manual_seed(0)
    once = Same()
    torch.manual_seed(0)
    twice = Same()
    config = replace(SHORT, steps=3, ema=0)
    assert fit(once, config, tmp_path / "a").metrics == pytest.approx(
        fit(twice, replace(config, accumulation=2), tmp_path / "b").metrics
    )


def test_modes_and_gradients_are_the_loops_business(toy: ToyRecipe, tmp_path: Path) -> None:
    fit(toy, replace(SHORT, steps=2, evaluate_every=1), tmp_path)
    step, measure = (True, False), (False, False)
    assert toy.modes == [step, measure, step, measure]


def test_the_average_follows_its_definition_buffers_too(tmp_path: Path) -> None:
    class Watching(ToyRecipe):
        def __init__(self) -> None:
            super().__init__()
            self.states: list[dict[str, Tensor]] = []

        def after_step(self, progress: Progress) -> None:
            self.states.append({k: v.clone() for k, v in self.model.state_dict().items()})

    recipe = Watching()
    expected = {k: v.clone() for k, v in recipe.model.state_dict().items()}
    fit(recipe, replace(SHORT, steps=6), tmp_path)
    for step, state in enumerate(recipe.states):
        d = min(0.9, (1 + step) / (10 + step))
        for name, value in state.items():
            whole = not value.is_floating_point()
            expected[name] = value if whole else d * expected[name] + (1 - d) * value
    saved = weights_of(tmp_path)
    assert not torch.equal(saved["1.running_mean"], recipe.states[-1]["1.running_mean"])
    for name, value in expected.items():
        torch.testing.assert_close(saved[name], value, rtol=1e-5, atol=1e-6)


def test_measuring_on_the_average_gives_the_model_its_own_weights_back(tmp_path: Path) -> None:
    fit(ToyRecipe(), replace(SHORT, evaluate_every=3), tmp_path / "measured")
    fit(ToyRecipe(), SHORT, tmp_path / "plain")
    assert [line["step"] for line in log_lines(tmp_path / "measured") if "evaluate" in line] == [
        3, 6, 9, 12,
    ]  # fmt: skip
    # evaluate_every is a setting of the run, yet it must not touch the weights.
    assert_same_bits(weights_of(tmp_path / "measured"), weights_of(tmp_path / "plain"))


def test_bf16_and_fp32_both_train_and_differ(tmp_path: Path) -> None:
    full = fit(ToyRecipe(), SHORT, tmp_path / "fp32").metrics["sum"]
    half = fit(ToyRecipe(), replace(SHORT, precision="bf16"), tmp_path / "bf16").metrics["sum"]
    assert half == pytest.approx(full, abs=0.3)
    assert half != full


class Failing(ToyRecipe):
    """Its loss is NaN from update 6 on."""

    def losses(self, batch: Any, progress: Progress) -> dict[str, Tensor]:
        losses = super().losses(batch, progress)
        factor = math.nan if progress.step >= 6 else 1.0
        return {name: value * factor for name, value in losses.items()}


def test_a_nan_loss_stops_the_run_names_the_step_and_keeps_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainingError, match=r"step 6.*mse is nan"):
        fit(Failing(), SHORT, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    assert all(torch.isfinite(v).all() for v in state["model"].values())
    assert not (tmp_path / "model.safetensors").exists()


def test_an_infinite_gradient_stops_the_run_before_it_reaches_the_weights(tmp_path: Path) -> None:
    class Steep(ToyRecipe):
        def losses(self, batch: Any, progress: Progress) -> dict[str, Tensor]:
            w = self.model[0].weight  # sqrt at 0: finite loss, infinite slope
            return {"root": (w - w.detach()).abs().sum().sqrt()}

    recipe = Steep()
    with pytest.raises(TrainingError, match=r"step 0.*gradient norm is"):
        fit(recipe, SHORT, tmp_path)
    assert all(torch.isfinite(p).all() for p in recipe.model.parameters())


@pytest.mark.parametrize(
    "change",
    [{"lr": 2e-2}, {"steps": 13}, {"ema": 0.5}, {"seed": 1}, {"precision": "bf16"}, {"clip": 2.0}],
)
def test_a_checkpoint_of_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    fit(ToyRecipe(), replace(SHORT, steps=4), tmp_path)
    with pytest.raises(TrainingError, match="another configuration"):
        fit(ToyRecipe(), replace(SHORT, **{"steps": 4, **change}), tmp_path)


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "cells.csv"
    data.write_text("one")
    config, out = replace(SHORT, steps=2), tmp_path / "run"
    fit(ToyRecipe(), config, out, settings={"width": 8}, data=[data])
    with pytest.raises(TrainingError, match="another configuration"):
        fit(ToyRecipe(), config, out, settings={"width": 9}, data=[data])
    data.write_text("two")
    with pytest.raises(TrainingError, match="data"):
        fit(ToyRecipe(), config, out, settings={"width": 8}, data=[data])


def test_a_checkpoint_of_another_model_under_the_same_settings_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    fit(ToyRecipe(), replace(SHORT, steps=4), tmp_path)
    wider = ToyRecipe()
    wider.model = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 1))
    with pytest.raises(TrainingError, match="does not fit the model"):
        fit(wider, replace(SHORT, steps=4), tmp_path)


def test_settings_that_cannot_touch_the_result_do_not_part_runs(tmp_path: Path) -> None:
    fit(ToyRecipe(), replace(SHORT, steps=4), tmp_path)
    other = replace(SHORT, steps=4, checkpoint_every=2, log_every=3, threads=1)
    assert fit(ToyRecipe(), other, tmp_path).steps == 4


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        fit(ToyRecipe(), SHORT, tmp_path)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    fit(ToyRecipe(), SHORT, tmp_path / "whole")
    size = (tmp_path / "whole" / "checkpoint.pt").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fills(ToyRecipe):
        limit = size // 2

        def after_step(self, progress: Progress) -> None:
            if progress.step == 6:  # after the checkpoint of 4, before that of 8
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, hard))

    try:
        with pytest.raises(KoiloError, match=r"checkpoint\.pt.*exceed"):
            fit(Fills(), SHORT, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.load(tmp_path / "full" / "checkpoint.pt", weights_only=True)["step"] == 4
    assert [p.name for p in (tmp_path / "full").glob(".*part")] == []
    Fills.limit = soft
    fit(Fills(), SHORT, tmp_path / "full")
    assert_same_bits(weights_of(tmp_path / "full"), weights_of(tmp_path / "whole"))


def test_a_recipe_without_a_gradient_or_without_batches_is_refused(tmp_path: Path) -> None:
    class Flat(ToyRecipe):
        def losses(self, batch: Any, progress: Progress) -> dict[str, Tensor]:
            return {"constant": torch.zeros(())}

    class Empty(ToyRecipe):
        def batches(self, epoch: int) -> list[Any]:
            return []

    with pytest.raises(TrainingError, match="no loss of constant"):
        fit(Flat(), SHORT, tmp_path / "flat")
    with pytest.raises(TrainingError, match="has no batch"):
        fit(Empty(), SHORT, tmp_path / "empty")


def test_a_learning_rate_for_no_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trunk"):
        fit(ToyRecipe(), replace(SHORT, lr_scales={"trunk": 0.1}), tmp_path)


def test_all_wrong_settings_are_named_in_one_error() -> None:
    with pytest.raises(ConfigError, match=r"steps is 0.*accumulation is 0.*ema is 1.*schedule"):
        LoopConfig(steps=0, accumulation=0, ema=1.0, schedule="staircase")


def test_only_one_run_may_write_into_a_folder(toy: ToyRecipe, tmp_path: Path) -> None:
    class Inner(ToyRecipe):
        def after_step(self, progress: Progress) -> None:
            fit(toy, SHORT, tmp_path)

    with pytest.raises(KoiloError, match="in use"):
        fit(Inner(), SHORT, tmp_path)
