"""Slide heads by features on a toy cohort: every row is there, and none is made twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from transformers import ResNetConfig, ResNetModel

from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError
from koilo.mil import HEADS
from koilo.mil.cheng import ChengSettings
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_features
import stride_heads
import stride_page

OWN_HEADS = sorted({*HEADS} - stride_heads.NOT_OF_FEATURES)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


def test_each_head_and_rival_has_a_row_on_each_kind_of_features_and_is_not_made_again(
    store: CropStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ChengSettings(steps=2, lengths=(2,), weights=1, width=8)
    monkeypatch.setattr(stride_heads, "ChengSettings", lambda **_: small)
    monkeypatch.setattr(stride_page, "cpu_plan", lambda **_: PLAN)
    kinds = [*stride_heads.SMOKE_FEATURES]
    page = out / "page.json"
    arguments = [str(store.folder), str(out), "--smoke", "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["stride_heads.py", *arguments])
    stride_heads.main()
    told = json.loads(page.read_text())
    (table,) = told["tables"].values()
    names = [*OWN_HEADS, "Cheng 2021", "Zhu 2021"]
    assert [row[:2] for row in table["rows"]] == [[kind, name] for kind in kinds for name in names]
    assert len(table["columns"]) == 2 + 2 * len(stride.JUDGED)
    assert all(0 <= value <= 1 for row in table["rows"] for value in row[2:])
    assert told["notes"][-1].startswith("Not run: fixmatch, flexmatch, crest, moco, dino")
    monkeypatch.setattr(stride_heads, "read_features", None)
    stride_heads.main()
    assert json.loads(page.read_text())["tables"] == told["tables"]


def test_an_encoder_of_ones_own_is_a_row_without_rivals_known_by_its_weights(
    store: CropStore, out: Path, tmp_path: Path
) -> None:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
    folder = tmp_path / "mine"
    ResNetModel(ResNetConfig(**sizes, layer_type="basic")).save_pretrained(folder)
    study = stride.Study(store, PLAN, out, 1, {})
    rows = stride_heads.rows_of(study, str(folder), ChengSettings())["rows"]
    assert [row[:2] for row in rows] == [["mine", head] for head in OWN_HEADS]
    known_by = stride_features.key_of(str(folder))
    (folder / "model.safetensors").write_bytes(b"other")
    assert stride_features.key_of(str(folder)) != known_by


def test_a_folder_called_like_a_method_is_not_taken_for_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "swift").mkdir()  # what `koilo train swift` leaves
    monkeypatch.chdir(tmp_path)
    assert stride_features.known_features("swift") == ["swift"]
    assert stride_features.key_of("swift") == "swift"
    assert stride_features.tells_classes("swift")


def test_unknown_features_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"'resnet9000' is unknown. Allowed: two_stage.*folder"):
        stride_features.known_features("swift,resnet9000")
