"""Real cells judged by models trained on composed slides, beside the shipped recipe."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from koilo.datasets.cric import CLASSES
from koilo.train.stages import build_model
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import composed_cells
import stride

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 6, 60)
SURE = np.eye(6)[LABEL] * 0.9 + 0.1 / 6
CELLS = composed_cells.RealCells(
    np.zeros((60, 16, 16, 3), np.uint8), LABEL, np.repeat(np.arange(6), 10), SURE
)


def test_a_model_that_says_what_the_shipped_one_says_is_no_better() -> None:
    gap = composed_cells.difference(SURE, CELLS)
    assert (gap.estimate, gap.low, gap.high) == (0, 0, 0)
    blind = composed_cells.difference(np.full((60, 6), 1 / 6), CELLS)
    assert blind.high < 0
    assert composed_cells.row_of("it", SURE, CELLS)[1].startswith("1.000")


def test_darkness_in_the_middle_and_not_at_the_rim_ranks_a_cell() -> None:
    crops = np.full((3, 32, 32, 3), 200, np.uint8)
    crops[0, 13:19, 13:19] = 40
    crops[1, :6, :6] = 40
    dark, rim, plain = composed_cells.darkness(crops)
    assert dark[0] < rim[0]
    assert rim.tolist() == plain.tolist()


def test_folded_classes_and_those_cric_lacks_are_judged_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_toy_store(tmp_path / "cohort")
    study = stride.Study(store, PLAN, tmp_path, 1, {})
    model = build_model(PLAN.net, 1)
    monkeypatch.setattr(study, "judged", lambda method: model.parts(averaged=False))
    crops = np.array(store.crops[:5])
    p = composed_cells.judge(study, "swift", store, crops)
    own = composed_cells.CellClassifier(
        model.student,
        outputs=PLAN.net.classes.cells,
        classes=PLAN.net.classes.cells,
        folds={},
        mpp=store.mpp,
        input_px=store.crop_px,
        device=next(model.parameters()).device,
    ).predict(crops)[1]
    by_name = dict(zip(PLAN.net.classes.cells, own.T, strict=True))
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    for name in ("NILM", "ASC-US", "LSIL"):
        np.testing.assert_allclose(p[:, CLASSES.index(name)], by_name[name], atol=1e-6)
    high = p[:, [CLASSES.index(name) for name in ("ASC-H", "HSIL", "SCC")]].sum(1)
    np.testing.assert_allclose(high, by_name["ASC-H+HSIL+SCC"] + by_name["AGC"], atol=1e-6)


def test_the_judged_parts_of_a_run_are_those_that_validation_preferred(tmp_path: Path) -> None:
    store = make_toy_store(tmp_path / "cohort")
    study = stride.Study(store, replace(PLAN), tmp_path, 1, {})
    model = build_model(PLAN.net, 1)
    for method, metrics, chosen in (
        ("swift", '{"average_auc": 0.9, "student_auc": 0.8}', "teacher"),
        ("slide_ft", '{"average_auc": 0.7, "student_auc": 0.8}', "student"),
    ):
        folder = stride.run_folder(tmp_path, 1, method, {})
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(f'{{"metrics": {metrics}}}')
        save_file(model.state_dict(), folder / "model.safetensors")
        study.start = lambda: build_model(PLAN.net, 2)  # type: ignore[method-assign]
        net, _ = study.judged(method)
        wanted = model.teacher if chosen == "teacher" else model.student
        assert type(net) is type(wanted)
        assert next(net.parameters()).requires_grad == (chosen == "student")
