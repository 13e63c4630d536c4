from __future__ import annotations

import json

import numpy as np
import pytest

from koilo.bundle import add_stage, builtin_names, load_bundle, write_bundle
from koilo.errors import BundleError

SPEC = {
    "name": "toy",
    "task": "cytology",
    "stages": {
        "detector": {"model": "centre", "config": {}, "mpp": 1.0, "tile_px": 512},
        "cells": {"model": "pooled", "config": {}, "classes": ["NILM", "LSIL", "HSIL", "SCC"]},
        "head": {"model": "mean", "config": {}, "classes": ["NILM", "LSIL", "HSIL+SCC"]},
    },
    "operating_points": {"sens95": {"threshold": 0.4}},
    "not_assessed": ["organisms"],
    "trained_on": [],
}


def tensors():
    generator = np.random.default_rng(1)
    return {
        stage: {"weight": generator.normal(size=(2, 3)), "steps": np.arange(3)}
        for stage in ("detector", "cells", "head")
    }


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "toy", SPEC, tensors(), "# Card\n")
    return tmp_path / "toy"


def rewrite(folder, change):
    spec = json.loads((folder / "bundle.json").read_text())
    change(spec)
    (folder / "bundle.json").write_text(json.dumps(spec))


def test_a_bundle_comes_back_as_it_was_written(folder):
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.card) == ("toy", "# Card\n")
    assert bundle.stage("head")["model"] == "mean"
    weight = bundle.tensors("cells")["weight"]
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight, tensors()["cells"]["weight"], rtol=1e-3)
    assert bundle.tensors("cells")["steps"].tolist() == [0, 1, 2]


def test_the_same_content_has_the_same_identity_and_other_weights_another(folder, tmp_path):
    again = write_bundle(tmp_path / "again", SPEC, tensors(), "another card")
    assert again.sha256 == load_bundle(folder).sha256
    other = tensors()
    other["head"]["weight"][0, 0] += 1
    assert write_bundle(tmp_path / "other", SPEC, other, "").sha256 != again.sha256


def test_altered_weights_are_refused(folder):
    path = folder / "cells.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=r"cells\.safetensors was altered"):
        load_bundle(folder)


@pytest.mark.parametrize("file", ["bundle.json", "head.safetensors"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(BundleError, match=file):
        load_bundle(folder)


def test_a_stage_without_a_hash_is_refused(folder):
    rewrite(folder, lambda spec: spec["sha256"].pop("head.safetensors"))
    with pytest.raises(BundleError, match="no hash for head"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("stage", "classes", "reason"),
    [
        ("cells", ["LSIL", "NILM"], "begins with NILM"),
        ("cells", ["NILM", "CIN2"], "'CIN2' is not a class"),
        ("head", ["NILM", "LSIL", "LSIL+HSIL"], "LSIL stands twice"),
        ("head", ["NILM", "LSIL"], "HSIL has no place"),
    ],
)
def test_classes_that_do_not_fit_are_refused_with_the_reason(folder, stage, classes, reason):
    rewrite(folder, lambda spec: spec["stages"][stage].update(classes=classes))
    with pytest.raises(BundleError, match=f"classes do not fit.*{reason}"):
        load_bundle(folder)


def test_a_spec_that_lacks_something_says_what(folder):
    rewrite(folder, lambda spec: (spec.pop("trained_on"), spec["stages"].pop("head")))
    with pytest.raises(BundleError, match=r"lacks trained_on, stages\.head"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({}, "threshold"),
        ({"threshold": "high"}, "high"),
        ({"threshold": 0.4, "sensitivity_interval": [0.9, 0.8]}, "no interval"),
        ({"threshold": 0.4, "temperature": "hot"}, "hot"),
    ],
)
def test_an_operating_point_that_is_none_is_refused(folder, point, reason):
    rewrite(folder, lambda spec: spec["operating_points"].update(sens95=point))
    with pytest.raises(BundleError, match=f"operating points do not fit.*{reason}"):
        load_bundle(folder)


def test_an_operating_point_may_carry_its_intervals_and_calibration(folder):
    point = {"threshold": 0.4, "sensitivity_interval": [0.9, 0.98], "temperature": 1.3}
    rewrite(folder, lambda spec: spec["operating_points"].update(sens95=point))
    assert load_bundle(folder).operating_point("sens95") == point


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 99}'])
def test_what_is_no_description_is_refused(folder, content):
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match="cannot be used"):
        load_bundle(folder)


def test_an_unknown_name_points_to_the_list_of_models():
    with pytest.raises(BundleError, match="koilo models"):
        load_bundle("cytologie")


def test_an_unknown_stage_or_operating_point_names_what_there_is(folder):
    bundle = load_bundle(folder)
    with pytest.raises(BundleError, match="only detector, cells, head"):
        bundle.stage("descriptions")
    with pytest.raises(BundleError, match="It has: sens95"):
        bundle.operating_point("sens99")


@pytest.mark.parametrize("name", builtin_names() or [pytest.param("", marks=pytest.mark.skip(
    reason="this build has no built-in bundle"))])  # fmt: skip
def test_every_built_in_bundle_loads_and_is_small_enough(name):
    bundle = load_bundle(name)
    size = sum(path.stat().st_size for path in bundle.folder.iterdir())
    assert size <= 24_000_000
    assert bundle.card


def test_a_stage_can_be_added_and_replaced_and_the_rest_stays(folder):
    before = load_bundle(folder)
    kept = {name: (folder / f"{name}.safetensors").read_bytes() for name in before.spec["stages"]}
    more = {"w": np.ones(3, np.float32)}
    once = add_stage(folder, "descriptions", {"texts": ["a"]}, more, "# More\n")
    assert once.sha256 != before.sha256
    assert once.card == "# More\n"
    assert once.stage("descriptions") == {"texts": ["a"]}
    assert once.tensors("descriptions")["w"].tolist() == [1, 1, 1]
    twice = add_stage(folder, "descriptions", {"texts": ["b"]}, more, "# More\n")
    assert twice.stage("descriptions") == {"texts": ["b"]}
    assert set(twice.spec["stages"]) == {*kept, "descriptions"}
    assert twice.stage("cells") == before.stage("cells")
    for name, raw in kept.items():
        assert (folder / f"{name}.safetensors").read_bytes() == raw
