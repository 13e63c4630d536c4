r"""What a bundle sees of slides and fields that are, and are not, like those it was trained on.

    python runs/doubt_bags.py --data DATA --slides SLIDES/manifest.csv --out BAGS.npz

DATA holds cric/, sipakmed/, he_tiles/ and slides/; SLIDES are validation phantoms. One bag a
picture: the features of its best cells and their colours. Kinds: ``field`` (CRIC), ``phantom``, and
what must stand out: ``stain`` and ``blur`` (the phantoms' own crops, shifted), ``histology``,
``sipakmed`` (single cells of another laboratory), ``csf`` (another organ's cytology).
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from koilo.bundle import load_bundle
from koilo.cells.verb import read_cell_image
from koilo.datasets.cric import read_cric
from koilo.files import write_bytes
from koilo.manifest import SlideEntry, read_manifest
from koilo.mil.likeness import BEST, crop_colours
from koilo.pipeline import Models, ReadSettings, load_models, read_one
from koilo.progress import progress, start_logging

SIPAKMED_MPP = 0.2
TILE_PX, TILES_A_SIDE = 254, 5
UNKNOWN_MPP = 0.25
"""for pictures whose pixel size nobody wrote down"""

Crops = NDArray[np.uint8]
Row = dict[str, Any]


class Bags:
    """Rows of the file, one a picture."""

    def __init__(self, models: Models) -> None:
        self.models, self.rows = models, list[Row]()

    def read(self, kind: str, group: str, label: str, entry: SlideEntry) -> Crops:
        """Read a picture as `koilo screen` would; gives its best crops."""
        reading = read_one(entry, self.models, ReadSettings(mpp=entry.mpp, threads=1))
        crops = reading.crops[:BEST]
        p = reading.result.p_positive
        self.add(kind, group, label, entry.slide_id, crops, float("nan") if p is None else p)
        return crops

    def add(
        self, kind: str, group: str, label: str, bag_id: str, crops: Crops, p: float = np.nan
    ) -> None:
        """Take in the features and colours of these crops; a bag without a cell is left out."""
        if not len(crops):
            return
        features, _ = self.models.classifier.predict(crops)
        self.rows.append(
            {"kind": kind, "group": group, "label": label, "bag_id": bag_id, "p": p,
             "features": features, "colours": crop_colours(crops)}
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write all bags as one .npz; features joined, with their counts."""
        buffer = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {
            name: np.array([row[name] for row in self.rows])
            for name in ("kind", "group", "label", "bag_id", "p", "colours")
        }
        arrays["features"] = np.concatenate([r["features"] for r in self.rows]).astype(np.float16)
        arrays["counts"] = np.array([len(row["features"]) for row in self.rows])
        np.savez(buffer, **arrays)
        write_bytes(path, buffer.getvalue())


def shift_stain(crops: Crops) -> Crops:
    """Another laboratory's stain: haematoxylin's red weaker, eosin's blue and green stronger."""
    density = -np.log((crops.astype(np.float32) + 1) / 256)
    return np.uint8(np.clip(256 * np.exp(-density * (0.6, 1.3, 1.5)) - 1, 0, 255))


def shift_focus(crops: Crops) -> Crops:
    """Two µm of blur at the crops' half µm a pixel."""
    return np.stack([cv2.GaussianBlur(crop, (0, 0), 2.0) for crop in crops])


def mosaics(folder: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """A picture of 5 x 5 H&E tiles a slide."""
    with open(folder / "tiles.csv", encoding="utf-8", newline="") as handle:
        tiles = defaultdict(list)
        for row in csv.DictReader(handle):
            tiles[row["slide"]].append(folder / row["image"])
    for slide, paths in tiles.items():
        sheet = np.full((TILES_A_SIDE * TILE_PX,) * 2 + (3,), 255, np.uint8)
        for place, path in enumerate(paths[: TILES_A_SIDE**2]):
            y, x = (TILE_PX * part for part in divmod(place, TILES_A_SIDE))
            tile = np.asarray(Image.open(path).convert("RGB"))[:TILE_PX, :TILE_PX]
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        path = scratch / f"{slide}.png"
        Image.fromarray(sheet).save(path)
        yield slide, path


def sipakmed(folder: Path, models: Models) -> Iterator[tuple[str, str, Crops]]:
    """Bags of ``BEST`` single cells: class, part, crops; four bags a class."""
    images = defaultdict(list)
    with open(folder / "cells.csv", encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            images[row["label"]].append(folder / row["image"])
    classifier = models.classifier
    for label, paths in images.items():
        for part in range(4):
            own = paths[part * BEST : (part + 1) * BEST]
            cells = [
                read_cell_image(path, SIPAKMED_MPP, classifier.mpp, classifier.input_px)
                for path in own
            ]
            yield label, f"{label}-{part}", np.stack(cells)


def read_all(bags: Bags, data: Path, manifest: Path, scratch: Path) -> None:
    fields = read_cric(data / "cric")
    with progress("fields", len(fields)) as advance:
        for field in fields:
            worst = "NILM" if all(cell.label == "NILM" for cell in field.cells) else "lesion"
            entry = SlideEntry(f"field-{field.field_id}", field.path, mpp=field.mpp)
            bags.read("field", f"block {field.block}", worst, entry)
            advance(1)
    entries = read_manifest(manifest)
    with progress("slides", len(entries)) as advance:
        for entry in entries:
            centre, label = str(entry.centre), str(entry.label)
            crops = bags.read("phantom", centre, label, entry)
            bags.add("stain", centre, label, f"{entry.slide_id} stain", shift_stain(crops))
            bags.add("blur", centre, label, f"{entry.slide_id} blur", shift_focus(crops))
            advance(1)
    for slide, path in mosaics(data / "he_tiles", scratch):
        bags.read("histology", slide, "", SlideEntry(slide, path, mpp=UNKNOWN_MPP))
    for label, part, crops in sipakmed(data / "sipakmed", bags.models):
        bags.add("sipakmed", label, label, part, crops)
    for kind, file, mpp in (
        ("histology", "CMU-1-Small-Region.svs", None),
        ("histology", "histology_lung_scc_he.tiff", UNKNOWN_MPP),
        ("csf", "cytology_csf_pap_penmark.tiff", UNKNOWN_MPP),
    ):
        entry = SlideEntry(Path(file).stem, data / "slides" / file, mpp=mpp)
        bags.read(kind, entry.slide_id, "", entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--slides", type=Path, required=True, help="manifest of the phantoms")
    parser.add_argument("--model", default="cytology", help="a bundle's name or folder")
    parser.add_argument("--out", type=Path, required=True, help="the bags (.npz)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start_logging()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    bags = Bags(load_models(load_bundle(args.model), torch.device("cpu")))
    with tempfile.TemporaryDirectory() as scratch:
        read_all(bags, args.data, args.slides, Path(scratch))
    bags.save(args.out)


if __name__ == "__main__":
    main()
