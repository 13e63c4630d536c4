r"""Read phantom slides with the shipped models, so that the slide head learns what they look like.

    koilo phantom cytology --out PHANTOMS --slides 24 --centres 6 --seed 501 \
        --size-px 6000 --cells 750
    python runs/phantom_bags.py --manifest PHANTOMS/manifest.csv --detector D --cells C --out FILE

D and C are folders with model.safetensors; FILE joins the training in `cric_fields.py` as
WORK/phantoms.npz. The seed is neither the demo's nor that of any figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from cric_field_cells import load_readers, save, stack
from koilo.manifest import read_manifest
from koilo.progress import progress, start_logging
from koilo.slides import open_slide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start_logging()
    readers = load_readers(args.detector / "model.safetensors", args.cells / "model.safetensors")
    entries = read_manifest(args.manifest)
    parts = []
    with progress("phantom slides", len(entries)) as advance:
        for number, entry in enumerate(entries):
            with open_slide(entry.path, mpp=entry.mpp) as slide:
                rows = readers.read(slide)
            kept = {key: rows[key] for key in ("p", "score")}
            parts.append(kept | {"slide": np.full(len(rows["score"]), number)})
            advance(1)
    save(args.out, stack(parts) | {"labels": np.array([entry.label for entry in entries])})


if __name__ == "__main__":
    main()
