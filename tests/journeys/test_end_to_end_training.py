"""From raw slides to a bundle trained on them that screens them: what a laboratory would do."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from koilo.cli import main


@pytest.mark.journey
def test_raw_slides_become_a_bundle_that_screens_them(tmp_path: Path) -> None:
    def koilo(*words: object) -> None:
        assert main([str(word) for word in words]) == 0

    koilo("phantom", "cytology", "--out", tmp_path / "raw", "--slides", 4, "--seed", 3,
          "--size-px", 1500, "--cells", 60)  # fmt: skip
    manifest = tmp_path / "raw" / "manifest.csv"
    rows = list(csv.DictReader(manifest.open()))
    for row, split in zip(rows, ("train", "train", "validation", "validation"), strict=True):
        row |= {"split": split}
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0] | {"split": ""}))
        writer.writeheader()
        writer.writerows(rows)
    koilo("data", "bags", manifest, "--out", tmp_path / "store", "--top-k", 16, "--crop-px", 32,
          "--mpp", 1.0, "--device", "cpu")  # fmt: skip
    settings = tmp_path / "swift.yaml"
    settings.write_text(_SETTINGS)
    koilo("train", "swift", "--config", settings, "--store", tmp_path / "store",
          "--out", tmp_path / "run")  # fmt: skip
    koilo("screen", tmp_path / "raw" / "slides", "--model", tmp_path / "run" / "bundle",
          "--out", tmp_path / "results", "--device", "cpu")  # fmt: skip
    table = list(csv.DictReader((tmp_path / "results" / "slides.csv").open(encoding="utf-8")))
    assert [row["status"] for row in table] == ["done"] * 4
    assert all(0 <= float(row["p_positive"]) <= 1 for row in table)
    assert {row["n_cells"] for row in table} == {"16"}


_SETTINGS = """
net:
  encoder: convnext_twin
  encoder_config: {widths: [4, 6, 8, 8], depths: [1, 1, 1, 1], drop_path: 0.0}
  head_config: {hidden: 8}
cells: {steps: 3, device: cpu, threads: 1}
head: {steps: 3, device: cpu, threads: 1}
loop: {steps: 3, optimizer: adam, device: cpu, threads: 1}
settings: {n_cells: 4, n_slides: 2, top_k: 16}
"""
