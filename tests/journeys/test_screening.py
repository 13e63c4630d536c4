"""Whole stories: a cohort drawn, screened, read by a person and by other programs; the demo."""

from __future__ import annotations

import csv
import json

import pytest

from koilo.cli import main
from koilo.manifest import read_manifest
from tests.pipeline import toys

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    toys.register()
    return str(toys.write_toy_bundle(tmp_path_factory.mktemp("bundle") / "toy").folder)


@pytest.mark.timeout(90)
def test_a_cohort_is_drawn_screened_read_and_not_read_twice(tmp_path, model, capfd):
    drawn = ["phantom", "cytology", "--out", tmp_path / "cohort", "--slides", 2]
    assert main([*map(str, drawn), "--size-px", "1536", "--cells", "40"]) == 0
    out = tmp_path / "results"
    screening = ["screen", str(tmp_path / "cohort/manifest.csv"), "--out", str(out)]
    assert main([*screening, "--model", model]) == 0

    entries = read_manifest(tmp_path / "cohort" / "manifest.csv")
    rows = list(csv.DictReader((out / "slides.csv").read_text("utf-8").splitlines()))
    assert [row["slide_id"] for row in rows] == sorted(entry.slide_id for entry in entries)
    assert {row["status"] for row in rows} == {"done"}
    summary = (out / "summary.md").read_text("utf-8")
    for row in rows:
        folder = out / row["slide_id"]
        report = (folder / "report.html").read_text("utf-8")
        assert "SYNTHETIC" in report
        assert "esearch use only" in report
        features = json.loads((folder / "cells.geojson").read_text())["features"]
        assert len(features) == int(row["n_cells"])
        assert row["slide_id"] in summary
        assert f"{row['slide_id']}/report.html" in (out / "index.html").read_text("utf-8")

    capfd.readouterr()
    assert main([*screening, "--model", model]) == 0
    assert "0 slides read (0 failed), 2 done before" in capfd.readouterr().err


@pytest.mark.timeout(90)
def test_the_demo_leads_to_a_report_and_starts_afresh(tmp_path, model, capsys):
    from koilo.screen import demo

    out = tmp_path / "demo"
    for _ in range(2):
        demo._start_afresh(out)
        assert demo.run_demo(out, model=model, size_px=1536, cells=40) == 0
        (report,) = out.glob("results/*/report.html")
        assert capsys.readouterr().out.strip() == str(report.resolve())
        (out / "results" / "left over").touch()
    demo._start_afresh(out)
    assert [path.name for path in out.iterdir()] == [".koilo-demo"]


def test_the_demo_never_deletes_what_is_not_its_own(tmp_path, capfd):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "years of work.csv").touch()
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "holds no earlier demo" in capfd.readouterr().err
    assert (tmp_path / "results" / "years of work.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["screen"], "paths"),
        (["screen", "x.svs"], "out"),
        (["screen", "x.svs", "--out", "o", "--modle", "m"], "Did you mean 'model'?"),
        (["screen", "x.svs", "--out", "o", "--device", "tpu"], "device"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, said, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_altered_weights_end_the_run_with_status_2_before_any_slide(tmp_path, capfd):
    toys.register()
    folder = toys.write_toy_bundle(tmp_path / "toy").folder
    path = folder / "cells.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    slide = toys.write_slide(tmp_path / "a.tiff", toys.draw_cells((300, 300), 4, 0))
    out = tmp_path / "out"
    assert main(["screen", str(slide), "--out", str(out), "--model", str(folder)]) == 2
    assert "cells.safetensors was altered" in capfd.readouterr().err
    assert not (out / "slides.csv").exists()
