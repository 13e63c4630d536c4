"""How fast tiles are read: koilo's reader, OpenSlide's read_region and the limit, raw decoding.

Run ``python benchmarks/reading.py`` for a slide made on the spot, or name slide files. All three
read the same level-0 squares of the same file with the same threads, in turns, so that a busy
machine slows each alike; the ratios within one run are what counts. The file is in the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openslide

from koilo.slides import open_slide, write_pyramid
from koilo.slides.jpeg_tiles import decode_tile
from koilo.slides.tiff_index import TiffIndex, read_tiff_index
from record import leave

SQUARE_PX = 512
BAR = 5.0
Read = Callable[[tuple[int, int]], object]


@dataclass(frozen=True)
class Row:
    """One line of the table: megapixels a second, best of the rounds.

    ``cpu_ratio`` compares koilo with OpenSlide's RGB in CPU time, which a busy machine blurs less.
    """

    file: str
    tile_px: int
    threads: int
    openslide: float
    openslide_rgb: float
    koilo: float
    raw_decode: float
    cpu_ratio: float
    mean_difference: float

    @property
    def ratio(self) -> float:
        """Times as fast as OpenSlide's read_region, without its conversion to RGB."""
        return self.koilo / self.openslide

    @property
    def ratio_rgb(self) -> float:
        """Times as fast as OpenSlide's read_region with its RGBA made RGB, which koilo gives."""
        return self.koilo / self.openslide_rgb


def make_slide(path: Path, side_px: int, tile_px: int) -> None:
    """A slide of blurred noise in stain colours, about 1.2 bits a pixel."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1024 + 512, 1024 + 512, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.5) * 33 + cv2.GaussianBlur(noise, (0, 0), 6) * 260
    rgb = np.clip(texture + np.array([200, 170, 205], dtype=np.float32), 0, 255).astype(np.uint8)

    def tile(x_px0: int, y_px0: int, w_px: int, h_px: int) -> np.ndarray:
        left, top = (x_px0 * 7 + y_px0) % 1000, (y_px0 * 5 + x_px0) % 1000
        return rgb[top : top + h_px, left : left + w_px]

    write_pyramid(path, (side_px, side_px), 0.25, tile, quality=80, tile_px=tile_px)


def squares_of(size: tuple[int, int], tile_px: int, most: int) -> list[tuple[int, int]]:
    """Corners on the tile grid of squares inside the slide, evenly picked, at most ``most``."""
    step = -(-SQUARE_PX // tile_px) * tile_px
    corners = [
        (x, y)
        for y in range(0, size[1] - SQUARE_PX + 1, step)
        for x in range(0, size[0] - SQUARE_PX + 1, step)
    ]
    return corners[:: max(1, len(corners) // most)][:most]


def measure(path: Path, threads: int, most: int, rounds: int) -> Row:
    """Time all readers on one file, in turns; the best round of each."""
    index = read_tiff_index(path)
    if not isinstance(index, TiffIndex):
        raise SystemExit(f"{path} has no raw JPEG tiles: {index}")
    level0 = index.levels[0]
    squares = squares_of(
        (level0.level.width_px, level0.level.height_px), level0.tile_width_px, most
    )
    size = (SQUARE_PX, SQUARE_PX)
    with openslide.OpenSlide(path) as reference, open_slide(path) as slide:
        tiles = _tiles_in_memory(path, index, squares)
        readers: dict[str, Read] = {
            "openslide": lambda at: reference.read_region(at, 0, size),
            "openslide_rgb": lambda at: np.asarray(
                reference.read_region(at, 0, size).convert("RGB")
            ),
            "koilo": lambda at: slide.read_region(at, 0, size),
            "raw_decode": lambda at: [decode_tile(data, level0) for data in tiles[at]],
        }
        difference = _mean_difference(readers, squares[:: max(1, len(squares) // 8)])
        best, cpu = dict.fromkeys(readers, 0.0), dict.fromkeys(readers, 0.0)
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(rounds):
                for name, read in readers.items():
                    wall_rate, cpu_rate = _megapixels_a_second(pool, read, squares)
                    best[name], cpu[name] = max(best[name], wall_rate), max(cpu[name], cpu_rate)
    cpu_ratio = cpu["koilo"] / cpu["openslide_rgb"]
    return Row(path.name, level0.tile_width_px, threads, **best, cpu_ratio=cpu_ratio,
               mean_difference=difference)  # fmt: skip


def _tiles_in_memory(
    path: Path, index: TiffIndex, squares: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[bytes]]:
    """The bytes of the tiles under each square."""
    at = index.levels[0]
    per_side = -(-SQUARE_PX // at.tile_width_px)
    tiles = {}
    with open(path, "rb") as handle:
        for x, y in squares:
            tiles[x, y] = []
            for number in range(per_side * per_side):
                row = y // at.tile_height_px + number // per_side
                column = x // at.tile_width_px + number % per_side
                handle.seek(int(at.offsets[row * at.columns + column]))
                tiles[x, y].append(handle.read(int(at.lengths[row * at.columns + column])))
    return tiles


def _mean_difference(readers: dict[str, Read], squares: Sequence[tuple[int, int]]) -> float:
    """Mean absolute difference between koilo's pixels and OpenSlide's, grey levels."""
    pairs = [(readers["koilo"](at), readers["openslide_rgb"](at)) for at in squares]
    return float(np.mean([np.abs(np.subtract(a, b, dtype=np.int16)).mean() for a, b in pairs]))


def _megapixels_a_second(
    pool: ThreadPoolExecutor, read: Read, squares: Sequence[tuple[int, int]]
) -> tuple[float, float]:
    """Megapixels a second by the clock, and by CPU time of all threads."""
    start, start_cpu = time.perf_counter(), time.process_time()
    for _ in pool.map(read, squares):
        pass
    megapixels = len(squares) * SQUARE_PX * SQUARE_PX / 1e6
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return megapixels / wall, megapixels / max(cpu, 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("slides", nargs="*", type=Path, help="slide files; none: one is made")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--squares", type=int, default=40, help="512 px squares a reader and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="leave the table in docs/results/")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        slides = list(options.slides)
        for tile_px in () if slides else (256, 512):
            slides.append(Path(folder) / f"made-{tile_px}.tiff")
            make_slide(slides[-1], 10_240, tile_px)
        rows = [
            measure(path, threads, options.squares, options.rounds)
            for path in slides
            for threads in options.threads
        ]
    print(
        "MP/s, level 0, 512 px squares on the tile grid | OpenSlide | with RGB | koilo | raw decode"
    )
    for row in rows:
        print(
            f"{row.file}, {row.tile_px} px tiles, {row.threads} thread(s): {row.openslide:.0f} | "
            f"{row.openslide_rgb:.0f} | {row.koilo:.0f} | {row.raw_decode:.0f}; koilo is "
            f"{row.ratio:.1f} x OpenSlide's read_region ({row.ratio_rgb:.1f} x with RGB, "
            f"{row.cpu_ratio:.1f} x by CPU time), "
            f"{100 * row.koilo / row.raw_decode:.0f} % of the limit; "
            f"pixels differ by {row.mean_difference:.3f} grey levels"
        )
    worst = min(min(row.ratio, row.ratio_rgb) for row in rows)
    print(
        f"bar: {BAR:g} x OpenSlide; worst here {worst:.1f} x: {'met' if worst >= BAR else 'MISSED'}"
    )
    if options.record:
        record(rows, time.monotonic() - started, "--record")


def record(rows: Sequence[Row], seconds: float, flags: str) -> None:
    """Leave the table for the results page."""
    columns = ["file", "threads", "OpenSlide", "with RGB", "koilo", "raw decode", "times OpenSlide"]
    body = [
        [row.file, row.threads, round(row.openslide), round(row.openslide_rgb), round(row.koilo),
         round(row.raw_decode), round(row.ratio, 1)]
        for row in rows
    ]  # fmt: skip
    leave(
        "reading",
        title="Reading JPEG tiles on the grid",
        command=f"python benchmarks/reading.py {flags}",
        data="slides made on the spot, level 0, 512 px squares, megapixels a second",
        seconds=seconds,
        figures={
            "least times OpenSlide's read_region (bar 5)": min(row.ratio for row in rows),
            "largest mean pixel difference, grey levels": max(r.mean_difference for r in rows),
        },
        tables={"megapixels a second": {"columns": columns, "rows": body}},
    )


if __name__ == "__main__":
    main()
