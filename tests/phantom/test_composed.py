from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from koilo.datasets import LabelledCell, read_cells, write_cells
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry, read_manifest, write_manifest
from koilo.phantom import Bank, Centre, Clutter, draw_field
from koilo.phantom.patch import Patch, lay_over
from koilo.phantom.truth_files import read_truth_parquet
from koilo.phantom.verb import PhantomConfig, phantom
from koilo.slides import open_slide
from koilo.taxonomy import CYTOLOGY

MPP = 0.5
LESIONS: tuple[dict[str, int], ...] = ({"HSIL": 5}, {}, {"HSIL": 4, "LSIL": 2}, {})


@pytest.fixture(scope="module")
def fields(bank: Bank, centre: Centre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields that stand for real ones, two a split, with points for cells as CRIC has them."""
    folder = tmp_path_factory.mktemp("fields")
    entries, cells = [], []
    for i, lesions in enumerate(LESIONS):
        rng = np.random.default_rng(40 + i)
        image, truths = draw_field(
            rng, centre, 400, MPP, lesions=lesions, bank=bank, clutter=Clutter(median=2.0)
        )
        path = folder / f"field{i}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        split = "a" if i < 2 else "b"
        entries.append(SlideEntry(f"field{i}", path, mpp=MPP, split=split))
        inside = [t for t in truths if all(10 < v < 390 for v in t.point_px)]
        cells += [
            LabelledCell(f"field{i}", *t.detection_box_px(MPP), t.label, f"block{i}")
            for t in inside
        ]
    write_manifest(folder / "manifest.csv", entries)
    write_cells(folder / "cells.csv", cells)
    return folder


@pytest.fixture(scope="module")
def composed(fields: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("composed")
    config = PhantomConfig(
        "cytology", out, slides=4, seed=3, size_px=1100, cells=40, composed=fields / "manifest.csv"
    )
    assert phantom(config) == 0
    return out


def test_a_composed_slide_says_so_and_holds_real_cells(composed: Path) -> None:
    for entry in read_manifest(composed / "manifest.csv"):
        with open_slide(entry.path) as slide:
            assert slide.synthetic == "composed"
        truths = read_truth_parquet(composed / "truth" / f"{entry.slide_id}.parquet")
        real = [truth for truth in truths if truth.kind == "real"]
        drawn = [truth for truth in truths if truth.kind != "real"]
        assert len(real) >= 3
        assert {truth.label for truth in drawn} == {"NILM"}
        labels = Counter(truth.label for truth in real)
        if entry.label == "NILM":
            assert set(labels) == {"NILM"}
        else:
            assert labels[str(entry.label)] >= 1


def test_a_source_stays_in_its_split_and_names_its_block(composed: Path) -> None:
    splits = {"field0": "a", "field1": "a", "field2": "b", "field3": "b"}
    seen = set()
    for entry in read_manifest(composed / "manifest.csv"):
        for truth in read_truth_parquet(composed / "truth" / f"{entry.slide_id}.parquet"):
            if truth.kind == "real":
                assert splits[truth.source] == entry.split
                assert truth.block == truth.source.replace("field", "block")
                seen.add(entry.split)
    assert seen == {"a", "b"}


def test_no_real_cell_shows_twice_on_a_slide(composed: Path) -> None:
    for path in (composed / "truth").glob("*.parquet"):
        with_slides = [t for t in read_truth_parquet(path) if t.kind == "real"]
        points = np.array([t.point_px for t in with_slides])
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert (gaps[~np.eye(len(points), dtype=bool)] > 2).all()


def test_the_truth_of_a_real_cell_lies_on_its_nucleus(composed: Path) -> None:
    dark, total = 0, 0
    for entry in read_manifest(composed / "manifest.csv"):
        with open_slide(entry.path) as slide:
            image = slide.read_region((0, 0), 0, slide.dimensions).astype(float).mean(-1)
        glass = np.percentile(image, 90)
        for truth in read_truth_parquet(composed / "truth" / f"{entry.slide_id}.parquet"):
            if truth.kind == "real":
                x, y = (int(v) for v in truth.point_px)
                total += 1
                dark += image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean() < 0.85 * glass
    assert dark / total > 0.85


@pytest.fixture(scope="module")
def of_fields(fields: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("of_fields")
    config = PhantomConfig(
        "cytology",
        out,
        slides=4,
        seed=3,
        size_px=1400,
        cells=40,
        composed=fields / "manifest.csv",
        composed_of="fields",
    )
    assert phantom(config) == 0
    return out


def test_a_whole_field_brings_all_its_cells_but_those_cut_by_its_border(
    of_fields: Path, fields: Path
) -> None:
    mpp_of = {entry.slide_id: entry.mpp for entry in read_manifest(of_fields / "manifest.csv")}
    held = list(read_cells(fields / "cells.csv", [f"field{i}" for i in range(4)]))
    for path in (of_fields / "truth").glob("*.parquet"):
        real = [truth for truth in read_truth_parquet(path) if truth.kind == "real"]
        assert real
        for source in {truth.source for truth in real}:
            here = np.array([t.point_px for t in real if t.source == source])
            cells = [cell for cell in held if cell.slide_id == source]
            there = np.array([(c.x_px0 + c.w_px0 / 2, c.y_px0 + c.h_px0 / 2) for c in cells])
            inside = ((there > 10) & (there < 390)).all(axis=1)  # half of the seam is 4.5 µm
            assert inside.sum() <= len(here) <= len(there)
            # Turned and mirrored as a whole: its cells are as far apart as on the field.
            apart_um = np.linalg.norm(here[:, None] - here[None], axis=-1) * mpp_of[path.stem]
            known_um = np.linalg.norm(there[:, None] - there[None], axis=-1) * MPP
            nearest = np.abs(apart_um.ravel()[:, None] - known_um.ravel()[None]).min(axis=1)
            assert nearest.max() < 0.6


def test_a_slide_of_whole_fields_holds_no_class_graver_than_its_label(of_fields: Path) -> None:
    for entry in read_manifest(of_fields / "manifest.csv"):
        truths = read_truth_parquet(of_fields / "truth" / f"{entry.slide_id}.parquet")
        assert max((t.label for t in truths), key=CYTOLOGY.index) == entry.label
        with open_slide(entry.path) as slide:
            assert slide.synthetic == "composed"


def test_a_slide_for_which_no_lesion_is_left_is_refused_not_mislabelled(
    fields: Path, tmp_path: Path
) -> None:
    config = PhantomConfig(
        "cytology",
        tmp_path,
        size_px=300,
        cells=20,
        composed=fields / "manifest.csv",
        composed_of="fields",
    )
    with pytest.raises(ManifestError, match="No HSIL cell is left for composed slide 1"):
        phantom(config)


def test_glass_upon_glass_leaves_no_seam() -> None:
    rgb = np.full((60, 60, 3), 241, np.uint8)
    clear = Patch(np.full((20, 30, 3), 255, np.uint8), (), 10, 20)
    assert np.array_equal(lay_over(rgb.copy(), 0, 0, [clear]), rgb)
    half = Patch(np.full((20, 30, 3), 128, np.uint8), (), 10, 20)
    laid = lay_over(rgb.copy(), 0, 0, [half])
    assert laid[30, 20].tolist() == [121, 121, 121]
    shifted = lay_over(rgb[:, 15:].copy(), 15, 0, [half])
    assert np.array_equal(shifted, laid[:, 15:])


@pytest.mark.parametrize(
    ("drop", "line"),
    [("mpp", "gives no mpp"), ("clean", "no picture without lesions"), ("lesion", "no lesion")],
)
def test_a_manifest_that_cannot_be_composed_is_refused(
    drop: str, line: str, fields: Path, tmp_path: Path
) -> None:
    entries = list(read_manifest(fields / "manifest.csv"))
    rows = (fields / "cells.csv").read_text().splitlines()
    if drop == "mpp":
        entries = [SlideEntry(e.slide_id, e.path, split=e.split) for e in entries]
    if drop == "clean":
        rows = [row for row in rows if not row.startswith("field1")]
    if drop == "lesion":
        rows = [row for row in rows if "SIL" not in row]
    write_manifest(tmp_path / "manifest.csv", entries)
    (tmp_path / "cells.csv").write_text("\n".join(rows) + "\n")
    config = PhantomConfig(
        "cytology", tmp_path / "out", size_px=1024, cells=20, composed=tmp_path / "manifest.csv"
    )
    with pytest.raises(ManifestError, match=line):
        phantom(config)
