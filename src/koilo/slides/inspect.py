"""The verb ``inspect``: what a slide is and says of itself, before any model has seen it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo.errors import SlideError
from koilo.slides.adequacy import sample_tiles
from koilo.slides.foreground import Foreground, foreground
from koilo.slides.quality import judge_image_quality, measure_tile
from koilo.slides.slide import Slide, open_slide
from koilo.slides.tiles import stream_tiles, tile_grid

_TILES_JUDGED = 64


@dataclass(frozen=True)
class InspectConfig:
    """What to inspect, and how to say it."""

    slide: Path = field(metadata={"positional": "one"})
    """a slide file, a DICOM folder or a plain image"""
    mpp: float | None = None
    """µm per pixel of level 0, instead of what the file says"""
    json: bool = field(default=False, metadata={"result": False})
    """print JSON instead of text"""
    workers: int = field(default=2, metadata={"result": False})
    """reader threads"""


def inspect(config: InspectConfig) -> int:
    """Say what a slide is: format, levels, pixel size, foreground and quality.

    Returns:
        0, or 1 where the slide cannot be opened or read: then one line says why.
    """
    facts: dict[str, Any] = {"path": str(config.slide), "status": "done", "error": None}
    try:
        with open_slide(Path(config.slide), mpp=config.mpp) as slide:
            facts.update(file_facts(slide))
            facts.update(picture_facts(slide, config.workers))
    except SlideError as error:
        facts.update(status="failed", error=str(error))
    if config.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    elif "format" in facts:
        print("\n".join(_lines(facts)))
    if facts["error"]:
        print(f"koilo: {facts['error']}", file=sys.stderr)
    return int(facts["status"] == "failed")


def file_facts(slide: Slide) -> dict[str, Any]:
    """What the file says of itself, as plain JSON values; no pixel of a level is read."""
    size_mm = None
    if slide.mpp is not None:
        size_mm = [round(side * slide.mpp / 1000, 3) for side in slide.dimensions]
    return {
        "format": slide.format,
        "vendor": slide.vendor,
        "kind": slide.kind,
        "synthetic": slide.synthetic,
        "backend": slide.backend,
        "reader_note": slide.reader_note,
        "dimensions": list(slide.dimensions),
        "size_mm": size_mm,
        "bounds_px0": list(slide.bounds_px0),
        "levels": [
            {"width": width, "height": height, "downsample": downsample}
            for (width, height), downsample in zip(
                slide.level_dimensions, slide.level_downsamples, strict=True
            )
        ],
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "mpp_origin": slide.mpp_origin,
        "file_mpp": slide.file_mpp,
        "mpp_mismatch": slide.mpp_mismatch,
        "objective": slide.objective,
        "objective_origin": slide.objective_origin,
        "associated_images": {name: _associated(slide, name) for name in slide.associated_images},
    }


def picture_facts(slide: Slide, threads: int) -> dict[str, Any]:
    """Foreground and image quality, as plain JSON values, from an overview and a few tiles.

    Raises:
        SlideReadError: pixels cannot be decoded.
    """
    found = foreground(slide)
    width, height = slide.dimensions
    return {
        "foreground": {
            "kind": found.kind,
            "reason": found.reason,
            "share": round(found.area_px0 / (width * height), 4),
            "area_mm2": _rounded(found.area_mm2),
            "excluded_shares": {
                kind: round(area.area / (width * height), 4)
                for kind, area in found.excluded.items()
            },
        },
        "image_quality": _quality(slide, found, threads),
    }


def _quality(slide: Slide, found: Foreground, threads: int) -> dict[str, Any]:
    if slide.mpp is None:
        return {"verdict": "not assessable: no pixel size", "flags": [], "measures": {}}
    grid = tile_grid(slide, found)
    tiles = [grid[index] for index in sample_tiles(len(grid), most=_TILES_JUDGED)]
    measured = [measure_tile(pixels) for _, pixels in stream_tiles(slide, tiles, threads=threads)]
    flags = ("mpp mismatch",) if slide.mpp_mismatch else ()
    quality = judge_image_quality(measured, found, flags=flags)
    return {
        "verdict": quality.verdict,
        "flags": list(quality.flags),
        "measures": {name: _rounded(value) for name, value in quality.measures.items()},
    }


def _associated(slide: Slide, name: str) -> dict[str, Any]:
    try:
        height, width = slide.associated_images[name].shape[:2]
    except SlideError as error:  # a broken label does not cost the slide
        return {"error": str(error)}
    return {"width": width, "height": height}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """The facts as text a person reads, one subject a line."""
    width, height = facts["dimensions"]
    size = f"{width:,} x {height:,} px"
    if facts["size_mm"]:
        size += f", {facts['size_mm'][0]:.2f} x {facts['size_mm'][1]:.2f} mm"
    note = f" ({facts['reader_note']})" if facts["reader_note"] else ""
    rows = [
        ("format", f"{facts['format']} {facts['kind']}, read by {facts['backend']}{note}"),
        ("size", size),
        ("pixel size", _pixel_size(facts)),
        ("objective", _objective(facts)),
        *(
            (f"level {number}", f"{at['width']:,} x {at['height']:,} px, 1/{at['downsample']:.4g}")
            for number, at in enumerate(facts["levels"])
        ),
        ("associated", _associated_text(facts["associated_images"])),
    ]
    if facts["synthetic"]:
        rows.insert(0, ("SYNTHETIC", f"{facts['synthetic']}: a made slide, of no patient"))
    if "foreground" in facts:
        rows.append(("foreground", _foreground_text(facts["foreground"])))
        rows += _quality_rows(facts["image_quality"])
    return [facts["path"], *(f"  {name:<12}{text}" for name, text in rows)]


def _pixel_size(facts: Mapping[str, Any]) -> str:
    if facts["mpp"] is None:
        return f"unknown: {facts['mpp_source'].removeprefix('none: ')}; give it with --mpp"
    if facts["mpp_source"] == "file":
        return f"{facts['mpp']:.4g} µm ({facts['mpp_origin']})"
    of_file = "none" if facts["file_mpp"] is None else f"{facts['file_mpp']:.4g} µm"
    differs = ", over 5 % apart" if facts["mpp_mismatch"] else ""
    return f"{facts['mpp']:.4g} µm (given; the file's own: {of_file}{differs})"


def _objective(facts: Mapping[str, Any]) -> str:
    if facts["objective"] is None:
        return f"unknown: {facts['objective_origin']}"
    return f"{facts['objective']:g}x ({facts['objective_origin']})"


def _associated_text(images: Mapping[str, Mapping[str, Any]]) -> str:
    texts = [
        f"{name} unreadable" if "error" in at else f"{name} {at['width']} x {at['height']}"
        for name, at in images.items()
    ]
    return ", ".join(texts) or "none"


def _foreground_text(found: Mapping[str, Any]) -> str:
    if found["reason"]:
        return f"none: {found['reason']}"
    area = "" if found["area_mm2"] is None else f", {found['area_mm2']:.4g} mm²"
    left_out = [f"{kind} {share:.1%}" for kind, share in found["excluded_shares"].items()]
    return f"{found['kind']}, {found['share']:.1%} of the slide{area}" + (
        f"; left out: {', '.join(left_out)}" if left_out else ""
    )


def _quality_rows(quality: Mapping[str, Any]) -> list[tuple[str, str]]:
    measures = [
        f"{name} {value:.3g}" for name, value in quality["measures"].items() if value is not None
    ]
    rows = [("quality", quality["verdict"])]
    if quality["flags"]:
        rows.append(("flags", ", ".join(quality["flags"])))
    return rows + ([("measures", ", ".join(measures))] if measures else [])
