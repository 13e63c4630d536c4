from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon

from koilo.errors import SlideReadError
from koilo.pipeline.find import cut_to_slide, find_cells, in_order, mirrored
from koilo.pipeline.workers import batched, open_workers
from koilo.slides import open_slide, tile_grid
from koilo.types import Tile


def grid(n):
    return [Tile(x, 0, 8, 1.0) for x in range(n)]


def test_tiles_come_in_the_grids_order_whatever_reader_was_first():
    tiles = grid(6)
    arrived = [(tiles[i], np.full((1, 1, 3), i, np.uint8)) for i in (2, 0, 1, 5, 3, 4)]
    assert [int(rgb[0, 0, 0]) for _, rgb in in_order(arrived, tiles)] == [0, 1, 2, 3, 4, 5]


def test_results_come_in_order_and_few_items_are_taken_ahead(monkeypatch):
    monkeypatch.setattr("koilo.pipeline.workers.usable_cores", lambda: 2)
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    with open_workers(torch.device("cpu")) as workers:
        seen = []
        for value in workers.map_in_order(lambda n: n * n, items()):
            seen.append(value)
            assert len(taken) - len(seen) <= 4
    assert seen == [n * n for n in range(50)]


def test_each_worker_computes_on_one_thread_and_the_process_gets_its_own_back():
    before = torch.get_num_threads()
    with open_workers(torch.device("cpu")) as workers:
        assert list(workers.map_in_order(lambda _: torch.get_num_threads(), [0, 1])) == [1, 1]
    assert torch.get_num_threads() == before


def test_batches_hold_all_items_in_order():
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []


def test_a_tile_over_the_edge_is_cut_and_mirrored_not_white(slides):
    with open_slide(slides["lesion"]) as slide:
        tile = Tile(1800, 1500, 512, 1.0)
        inside = cut_to_slide(slide, tile, slide.read_at_mpp((1800, 1500), 1.0, (512, 512)))
    assert inside.shape == (50, 100, 3)
    whole = mirrored(inside, 512)
    assert whole.shape == (512, 512, 3)
    np.testing.assert_array_equal(whole[:50, 100:199], inside[:, -2::-1])


def test_a_cell_on_a_seam_is_one_cell(slides, models):
    with open_slide(slides["lesion"]) as slide, open_workers(torch.device("cpu")) as workers:
        found = {
            overlap: find_cells(
                slide,
                tile_grid(slide, None, size_px=256, mpp=1.0, overlap_px=overlap),
                models.detector,
                workers,
                top_k=500,
                measure=lambda tile, rgb: rgb.shape,
                excluded_px0=Polygon(),
                threads=2,
                advance=lambda _: None,
            )
            for overlap in (40, 60)
        }
    assert {len(each.scores) for each in found.values()} == {120}


def test_a_reading_that_breaks_leaves_no_reader_behind(slides, models):
    def breaks(tile, rgb):
        raise SlideReadError("This tile is broken.")

    before = threading.active_count()
    with open_slide(slides["lesion"]) as slide, open_workers(torch.device("cpu")) as workers:
        tiles = tile_grid(slide, None, size_px=512, mpp=1.0, overlap_px=48)
        with pytest.raises(SlideReadError, match="This tile is broken"):
            find_cells(slide, tiles, models.detector, workers, top_k=5, measure=breaks,
                       excluded_px0=Polygon(), threads=2, advance=lambda _: None)  # fmt: skip
        assert not [t for t in threading.enumerate() if t.name.startswith("koilo-reader")]
    assert threading.active_count() == before
