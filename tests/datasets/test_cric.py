"""CRIC is read in both layouts, and its folds never part a case that they could know of."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from koilo.datasets.cric import BOX_UM, CLASSES, convert_cric, cric_folds, read_cric
from koilo.errors import ManifestError
from koilo.manifest import read_manifest

CELLS = [(70, "a", "HSIL", 50.5, 40.0), (70, "b", "NILM", 20.0, 30.0), (2, "c", "SCC", 9.0, 9.0)]
LONG = {"NILM": "Negative for intraepithelial lesion"}


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("2.png", "70.png"):
        cv2.imwrite(str(folder / name), np.full((60, 80, 3), 200, np.uint8))


def own_layout(root: Path) -> Path:
    write_images(root / "fields")
    lines = ["field,field_id,cell_id,bethesda,x_px,y_px,mpp"]
    lines += [f"fields/{f}.png,{f},{c},{label},{x},{y},0.25" for f, c, label, x, y in CELLS]
    (root / "cells.csv").write_text("\n".join(lines) + "\n")
    return root


def official_csv(root: Path) -> Path:
    write_images(root)
    names = "image_id,image_filename,image_doi,cell_id,bethesda_system,nucleus_x,nucleus_y"
    lines = [names] + [
        f"{f},{f}.png,doi,{c},{LONG.get(label, label)},{x},{y}" for f, c, label, x, y in CELLS
    ]
    (root / "classifications.csv").write_text("\n".join(lines) + "\n")
    return root


def official_json(root: Path) -> Path:
    write_images(root / "images")
    images = [
        {
            "image_id": field,
            "image_name": f"{field}.png",
            "classifications": [
                {
                    "cell_id": c,
                    "bethesda_system": LONG.get(label, label),
                    "nucleus_x": x,
                    "nucleus_y": y,
                }
                for f, c, label, x, y in CELLS
                if f == field
            ],
        }
        for field in (70, 2)
    ]
    (root / "classifications.json").write_text(json.dumps(images))
    return root


@pytest.mark.parametrize(
    ("layout", "mpp"), [(own_layout, 0.25), (official_csv, 0.228), (official_json, 0.228)]
)
def test_every_layout_gives_the_same_cells(tmp_path: Path, layout, mpp: float) -> None:
    fields = read_cric(layout(tmp_path))
    assert [field.field_id for field in fields] == [2, 70]
    assert {field.mpp for field in fields} == {mpp}
    assert all(field.path.is_file() for field in fields)
    cells = [(cell.cell_id, cell.label, cell.x_px0, cell.y_px0) for cell in fields[1].cells]
    assert cells == [("a", "HSIL", 50.5, 40.0), ("b", "NILM", 20.0, 30.0)]


def test_converting_boxes_points_and_keeps_block_and_fold(tmp_path: Path) -> None:
    manifest = convert_cric(own_layout(tmp_path / "in"), tmp_path / "out")
    entries = {entry.slide_id: entry for entry in read_manifest(manifest)}
    block, fold = cric_folds()[70]
    assert entries["cric-070"].split == f"fold-{fold}"
    assert entries["cric-070"].case_id == f"cric-block-{block}"
    assert entries["cric-070"].mpp == 0.25
    assert entries["cric-070"].path.is_file()
    rows = list(csv.DictReader((manifest.parent / "cells.csv").read_text().splitlines()))
    row = next(row for row in rows if row["label"] == "HSIL")
    assert float(row["w_px0"]) == float(row["h_px0"]) == pytest.approx(BOX_UM / 0.25, abs=0.05)
    assert float(row["x_px0"]) + float(row["w_px0"]) / 2 == pytest.approx(50.5, abs=0.1)
    assert row["block"] == str(block)


def test_a_field_outside_our_copy_has_no_fold(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "2.png").rename(tmp_path / "900.png")
    (tmp_path / "classifications.csv").write_text(
        "image_id,image_filename,image_doi,cell_id,bethesda_system,nucleus_x,nucleus_y\n"
        "900,900.png,doi,1,LSIL,5,5\n"
    )
    field = read_cric(tmp_path)[0]
    assert field.fold is None
    assert field.block is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HSIL", "CIN3", "CIN3"),
        ("50.5", "left", "left"),
        ("field_id", "number", "field_id"),
        ("fields/2.png", "fields/3.png", "3.png is not in"),
    ],
)
def test_what_is_not_cric_is_refused_and_named(tmp_path: Path, old, new, message) -> None:
    path = own_layout(tmp_path) / "cells.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ManifestError, match=message):
        read_cric(tmp_path)


def test_a_folder_without_a_list_of_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not CRIC"):
        read_cric(tmp_path)


def test_folds_hold_whole_contiguous_blocks() -> None:
    folds = cric_folds()
    blocks = defaultdict(list)
    for field_id, (block, fold) in sorted(folds.items()):
        blocks[block].append((field_id, fold))
    assert len(folds) == 189
    previous = 0
    for members in (blocks[number] for number in sorted(blocks)):
        assert len({fold for _, fold in members}) == 1
        assert members[0][0] > previous
        previous = members[-1][0]


def test_folds_part_the_high_grade_blocks_and_keep_overlapping_fields_together() -> None:
    fold = {field_id: value[1] for field_id, value in cric_folds().items()}
    assert len({fold[70], fold[90], fold[95]}) == 3
    for low, high in ((69, 72), (89, 93), (94, 101)):
        assert len({fold[f] for f in fold if low <= f <= high}) == 1
    overlapping = [(26, 30), (162, 163), (19, 27), (249, 250), (69, 70), (21, 23), (127, 131)]
    assert all(fold[a] == fold[b] for a, b in overlapping)


def test_real_cric_has_the_cells_that_figures_are_made_on(data_dir: Path) -> None:
    fields = read_cric(data_dir / "cric")
    labels = [cell.label for field in fields for cell in field.cells]
    counts = [labels.count(name) for name in CLASSES]
    assert counts == [3739, 298, 394, 44, 209, 58]
    assert all(field.fold is not None for field in fields)
