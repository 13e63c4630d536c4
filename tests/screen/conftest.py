"""One toy bundle, and one screening of a folder with good and bad slides, for all these tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from koilo.screen import ScreenConfig, screen
from tests.pipeline import toys

EMOJI = "🔬 slide 1"


@pytest.fixture(scope="session", autouse=True)
def _toy_models_are_known():
    toys.register()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return toys.write_toy_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    """A small slide with two lesions."""
    folder = tmp_path_factory.mktemp("good")
    return toys.write_slide(folder / "good.tiff", toys.draw_cells((900, 700), 20, 2))


@pytest.fixture(scope="session")
def messy(tmp_path_factory, good) -> Path:
    """A folder with what a night's run may meet."""
    folder = tmp_path_factory.mktemp("messy")
    whole = good.read_bytes()
    for name in (f"{EMOJI}.tiff", "day 1/same.tiff", "day 2/same.tiff"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(good, folder / name)
    (folder / "truncated.tiff").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.svs").write_bytes(b"")
    (folder / "random.ndpi").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "text.svs").write_text("This is a letter, not a slide.\n")
    (folder / "corrupt tile.tiff").write_bytes(corrupt_middle(whole))
    (folder / "notes.txt").write_text("kept apart")
    blank = toys.draw_cells((900, 700), 0, 0)
    toys.write_slide(folder / "blank.tiff", blank)
    toys.write_slide(folder / "no mpp.tiff", blank, mpp=None)
    pen = blank.copy()
    pen[:] = (30, 140, 70)
    toys.write_slide(folder / "all pen.tiff", pen)
    Image.new("RGB", (1, 1)).save(folder / "one pixel.png")
    for path in folder.rglob("*.*"):
        toys.settle(path)
    return folder


def corrupt_middle(whole: bytes) -> bytes:
    """A slide whose first tile's JPEG data are noise; its index is untouched."""
    start = whole.index(b"\xff\xd8\xff")
    noise = np.random.default_rng(1).integers(0, 255, 3000, dtype=np.uint8).tobytes()
    return whole[:start] + noise + whole[start + len(noise) :]


@pytest.fixture(scope="session")
def run(messy, bundle, tmp_path_factory):
    """The messy folder screened once: exit status and results folder."""
    out = tmp_path_factory.mktemp("run") / "results"
    config = ScreenConfig((messy,), out, model=str(bundle.folder), workers=1)
    return SimpleNamespace(status=screen(config), out=out, config=config)
