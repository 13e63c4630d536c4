"""The verb demo: draw a phantom slide, screen it with the built-in bundle, point to its report."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from koilo.errors import OutputError
from koilo.files import ensure_folder, output_errors, write_text
from koilo.results import REPORT
from koilo.screen.run import ScreenConfig, screen

_MARK = ".koilo-demo"
_SLIDES, _RESULTS = "phantom", "results"
_SEED = 7


@dataclass(frozen=True)
class DemoConfig:
    """Where `koilo demo` works."""

    out: Path = field(default=Path("demo"), metadata={"result": False})
    """folder for the phantom slide and its results; an earlier demo in it is replaced"""


def demo(config: DemoConfig) -> int:
    """Make a phantom slide, screen it with the built-in bundle and print the report's path.

    Returns:
        exit status: 0, or 1 where the slide failed.

    Raises:
        OutputError: the folder holds something that is no demo, or cannot be written.
    """
    _start_afresh(config.out)
    return run_demo(config.out, model="cytology", size_px=12_000, cells=3_000)


def run_demo(out: Path, *, model: str, size_px: int, cells: int) -> int:
    """Draw one slide into ``out``, screen it with ``model`` and print where the report is.

    Args:
        out: an existing folder without an earlier demo.
        model: a built-in bundle's name, or a bundle's folder.
        size_px: side of the slide in pixels.
        cells: epithelial cells on it.

    Returns:
        exit status: 0, or 1 where the slide failed.
    """
    from koilo.manifest import read_manifest
    from koilo.phantom.verb import PhantomConfig, phantom

    slides = out / _SLIDES
    phantom(PhantomConfig("cytology", slides, size_px=size_px, cells=cells, seed=_SEED))
    manifest = slides / "manifest.csv"
    status = screen(ScreenConfig((manifest,), out / _RESULTS, model=model))
    if status == 0:
        slide_id = read_manifest(manifest)[0].slide_id
        print((out / _RESULTS / slide_id / REPORT).resolve())
    return status


def _start_afresh(out: Path) -> None:
    """Remove an earlier demo; refuse a folder that holds anything else."""
    ensure_folder(out)
    if any(out.iterdir()) and not (out / _MARK).is_file():
        raise OutputError(
            f"{out} is not empty and holds no earlier demo. An empty or new folder is needed. "
            "Choose another with --out."
        )
    with output_errors(out):
        for name in (_SLIDES, _RESULTS):
            if (out / name).exists():
                shutil.rmtree(out / name)
    write_text(out / _MARK, "This folder was made by `koilo demo`, which replaces it.\n")
