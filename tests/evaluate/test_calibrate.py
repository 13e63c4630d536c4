"""koilo calibrate: a new bundle with the threshold of the laboratory's own slides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.bundle import Bundle, load_bundle, write_bundle
from koilo.cli import main
from koilo.errors import BundleError, ConfigError, KoiloError, ManifestError, OutputError
from koilo.evaluate.calibrate import CalibrateConfig, calibrate
from koilo.evaluate.conformal import lock_bounds, read_bounds
from koilo.evaluate.operating_point import lock_threshold
from koilo.evaluate.proportions import share_interval
from koilo.files import sha256_file
from koilo.models import describe
from koilo.types import SlideResult
from tests.evaluate.results_folder import failed, result, toy_bundle, write_results, write_truth

RANDOM = np.random.default_rng(6)
TRUTH = np.repeat([True, False], [40, 50])
P = np.clip(RANDOM.normal(np.where(TRUTH, 0.6, 0.35), 0.15), 0.01, 0.99)


def laboratory(
    folder: Path, *, n: int = 90, **facts: object
) -> tuple[Bundle, list[SlideResult], dict[str, str | None]]:
    bundle = toy_bundle(folder / "toy")
    made = [
        result(f"s{i:02}", float(P[i]), **{"sha256": bundle.sha256, **facts})  # type: ignore[arg-type]
        for i in range(n)
    ]
    labels = {f"s{i:02}": "LSIL" if TRUTH[i] else "NILM" for i in range(n)}
    return bundle, made, dict(labels)


def config(folder: Path, made: list[SlideResult], labels: dict[str, str | None]) -> CalibrateConfig:
    return CalibrateConfig(
        write_results(folder / "results", made),
        write_truth(folder / "truth.csv", labels),
        folder / "ours",
        model=str(folder / "toy"),
    )


def test_the_new_bundle_is_the_old_one_with_the_threshold_of_these_slides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, made, labels = laboratory(tmp_path, centre="Lab A")
    settings = config(tmp_path, [*made, failed("bad")], {**labels, "bad": "HSIL", "s00": None})
    command = ["calibrate", str(settings.results), "--truth", str(settings.truth), "--out",
               str(settings.out), "--model", settings.model]  # fmt: skip
    assert main(command) == 0
    new = load_bundle(settings.out)  # verifies every hash
    assert new.sha256 != old.sha256
    point = new.operating_point("sens95")
    judged = slice(1, None)
    assert point["threshold"] == lock_threshold(TRUTH[judged], P[judged])
    assert (point["n"], point["n_positive"]) == (89, 39)
    hits = int((P[judged][TRUTH[judged]] >= point["threshold"]).sum())
    interval = share_interval(hits, 39, method="clopper-pearson")
    assert point["sensitivity_interval"] == [interval.low, interval.high]
    assert "Lab A" in point["set"]
    bounds = read_bounds(point)
    assert bounds == lock_bounds(TRUTH[judged], P[judged], point["set"])
    assert bounds.low <= point["threshold"]
    assert f"ruled out below {bounds.low:.4f}" in new.card
    assert new.operating_point("sens95_field") == old.operating_point("sens95_field")
    for stage in ("detector", "cells", "head"):
        np.testing.assert_array_equal(new.tensors(stage)["weight"], old.tensors(stage)["weight"])
    source = new.spec["provenance"]["calibrated"]
    assert source["from_sha256"] == old.sha256
    assert source["truth_sha256"] == sha256_file(settings.truth)
    assert (source["n_judged"], source["n_without_result"], source["n_unlabelled"]) == (89, 1, 1)
    assert new.spec["provenance"]["commit"] == "abc"
    assert (new.name, old.name) == ("ours", "toy")
    assert "Only 39 positives" in new.card
    assert "# Card" in new.card
    assert f"({interval.low:.1%} to {interval.high:.1%})" in describe(new)
    said = capsys.readouterr().err
    for words in ("only 39 positives", "positives are needed; this set has 39", "bad (HSIL)"):
        assert words in said


def test_what_lies_beside_the_stages_goes_into_the_new_bundle(tmp_path: Path) -> None:
    old = toy_bundle(tmp_path / "plain")
    tensors = {part: old.tensors(part) for part in old.parts}
    spec = {k: v for k, v in old.spec.items() if k not in ("format", "sha256")}
    more = write_bundle(tmp_path / "toy", spec, tensors | {"likeness": {"mean": np.ones(3)}}, "#")
    made = [result(f"s{i:02}", float(P[i]), sha256=more.sha256) for i in range(90)]
    labels: dict[str, str | None] = {f"s{i:02}": "LSIL" if TRUTH[i] else "NILM" for i in range(90)}
    settings = config(tmp_path, made, labels)
    calibrate(settings)
    np.testing.assert_array_equal(load_bundle(settings.out).tensors("likeness")["mean"], np.ones(3))


def test_calibrating_twice_gives_the_same_bundle(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path)
    settings = config(tmp_path, made, labels)
    calibrate(settings)
    again = CalibrateConfig(settings.results, settings.truth, tmp_path / "twice" / "ours",
                            model=settings.model)  # fmt: skip
    calibrate(again)
    assert load_bundle(again.out).sha256 == load_bundle(settings.out).sha256


def test_fields_lock_the_fields_point_and_temperature_is_stored(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path, kind="field", threshold=0.3)
    base = config(tmp_path, made, labels)
    calibrate(CalibrateConfig(base.results, base.truth, base.out, base.model, name="ours 2026",
                              temperature=True, prevalence=0.05))  # fmt: skip
    new = load_bundle(base.out)
    assert new.name == "ours 2026"
    point = new.operating_point("sens95_field")
    assert point["threshold"] == lock_threshold(TRUTH, P)
    assert new.operating_point("sens95")["threshold"] == 0.4
    assert (point["prevalence"], point["set_prevalence"]) == (0.05, round(40 / 90, 6))
    assert point["temperature"] > 0


def split_up(folder: Path, split: str | None, names: dict[str, str]) -> CalibrateConfig:
    """A laboratory's slides, each of the split ``names`` gives it."""
    _, made, labels = laboratory(folder)
    truth = write_truth(folder / "truth.csv", labels, split=names)
    return CalibrateConfig(write_results(folder / "results", made), truth, folder / "ours",
                           model=str(folder / "toy"), split=split)  # fmt: skip


def thirds(i: int) -> str:
    return ("train", "validation", "test")[i % 3]


def test_split_all_leaves_out_the_slides_the_model_learnt_from_and_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = split_up(tmp_path, "all", {f"s{i:02}": thirds(i) for i in range(90)})
    command = ["calibrate", str(settings.results), "--truth", str(settings.truth), "--out",
               str(settings.out), "--model", settings.model, "--split", "all"]  # fmt: skip
    assert main(command) == 0
    point = load_bundle(settings.out).operating_point("sens95")
    kept = np.arange(90) % 3 != 0
    assert point["n"] == 60
    assert point["threshold"] == lock_threshold(TRUTH[kept], P[kept])
    assert "split all but train" in point["set"]
    assert "30 slides of split train left out" in capsys.readouterr().err


def test_training_slides_lock_a_threshold_only_by_their_name(tmp_path: Path) -> None:
    settings = split_up(tmp_path, None, {f"s{i:02}": "train" for i in range(90)})
    for split in (None, "all"):
        assert "all 90 slides are of split train" in refused(replace(settings, split=split))
    calibrate(replace(settings, split="train"))
    assert load_bundle(settings.out).operating_point("sens95")["n"] == 90


def refused(settings: CalibrateConfig) -> str:
    with pytest.raises(KoiloError) as caught:
        calibrate(settings)
    assert "\n" not in str(caught.value)
    assert not (settings.out / "bundle.json").exists()
    return f"{type(caught.value).__name__}: {caught.value}"


def test_results_of_another_bundle_are_refused(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path, sha256="f" * 64)
    said = refused(config(tmp_path, made, labels))
    assert said.startswith(BundleError.__name__)
    assert "toy (ffffffffffff) (90 slides)" in said


def test_one_foreign_slide_among_many_is_seen(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path)
    made[7] = result("s07", 0.5, sha256="e" * 64)
    assert "(1 slides)" in refused(config(tmp_path, made, labels))


def test_fields_mixed_with_slides_are_refused(tmp_path: Path) -> None:
    bundle, made, labels = laboratory(tmp_path)
    made[3] = result("s03", 0.5, sha256=bundle.sha256, kind="field")
    assert "mixes 89 slides and 1 fields" in refused(config(tmp_path, made, labels))


@pytest.mark.parametrize("label", ["NILM", "HSIL"])
def test_a_set_without_positives_or_negatives_is_refused(tmp_path: Path, label: str) -> None:
    _, made, labels = laboratory(tmp_path, n=12)
    said = refused(config(tmp_path, made, dict.fromkeys(labels, label)))
    assert said.startswith(ManifestError.__name__)
    assert "positives and negatives" in said


def test_labels_of_other_slides_are_not_taken_for_another_bundle(tmp_path: Path) -> None:
    _, made, _ = laboratory(tmp_path, n=3)
    said = refused(config(tmp_path, made, {"x": "HSIL", "y": "NILM"}))
    assert "none of the 2 labelled slides has a result" in said


def test_no_temperature_is_stored_where_the_fit_runs_to_its_bound(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path)
    made = [replace(r, p_positive=0.9 if labels[r.slide_id] != "NILM" else 0.1) for r in made]
    base = config(tmp_path, made, labels)
    assert "no temperature fits" in refused(replace(base, temperature=True))


def test_few_slides_rule_nothing_out_and_let_none_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = toy_bundle(tmp_path / "toy")
    made = [result(name, p, sha256=bundle.sha256) for name, p in (("a", 0.2), ("b", 0.4))]
    settings = config(tmp_path, made, {"a": "HSIL", "b": "NILM"})
    command = ["calibrate", str(settings.results), "--truth", str(settings.truth), "--out",
               str(settings.out), "--model", settings.model, "--prevalence", "0.05"]  # fmt: skip
    assert main(command) == 0
    assert "5.0 % positive, – negative" in capsys.readouterr().err
    card = load_bundle(settings.out).card
    assert "Positive is ruled out at no score, for too few" in card
    assert "negative at no score, for too few" in card


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path)
    settings = config(tmp_path, made, labels)
    before = json.loads((tmp_path / "toy" / "bundle.json").read_text())
    with pytest.raises(OutputError, match="holds a bundle already"):
        calibrate(CalibrateConfig(settings.results, settings.truth, tmp_path / "toy",
                                  model=settings.model))  # fmt: skip
    assert json.loads((tmp_path / "toy" / "bundle.json").read_text()) == before


def test_a_scores_csv_says_not_which_bundle_made_it_and_is_refused(tmp_path: Path) -> None:
    _, made, labels = laboratory(tmp_path)
    settings = config(tmp_path, made, labels)
    table = CalibrateConfig(settings.results / "slides.csv", settings.truth, settings.out,
                            model=settings.model)  # fmt: skip
    assert "name the results folder" in refused(table)


def test_settings_that_mean_nothing_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"half_width is 3.*prevalence is 5"):
        CalibrateConfig(tmp_path, tmp_path, tmp_path, half_width=3, prevalence=5)
