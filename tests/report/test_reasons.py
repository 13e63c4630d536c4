"""What a report says of the reasons behind a call, and the line drawn in a cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koilo.report import render_index
from koilo.report.gallery import build_gallery, shown_cells
from koilo.report.language import load_language
from koilo.report.outline import OUTLINE_AT, outline_path
from koilo.report.reasons import build_reasons
from koilo.types import Disagreement, Removal

from .conftest import CELL_CLASSES, Page, make_cells, make_crops, render_report


@pytest.fixture
def doubted(positive):
    return replace(
        positive,
        needs_human=True,
        needs_human_why=("neither negative nor positive can be ruled out", "rescan: blurred"),
        ood_score=0.413,
        removal=Removal(True, (0, 2), 0.2, 32),
        disagreement=Disagreement("graver cells", "LSIL", "HSIL+SCC", 5, 0.91),
    )


def lines(result, numbers=None) -> dict[str, str]:
    return {
        reason.title: reason.text
        for reason in build_reasons(result, numbers or {}, load_language("en"))
    }


def test_each_reason_is_one_clear_line(doubted):
    said = lines(doubted, {0: 7, 2: 3})
    assert said == {
        "Needs a human": "yes: neither negative nor positive can be ruled out; rescan: blurred",
        "Like the training data": "of the reference pictures 41.3 % lie nearer to the training "
        "data than this slide",
        "What the call hangs on": "without these 2 cells the slide is below its threshold "
        "(in the gallery: 3, 7)",
        "Slide and cells": "called LSIL, but 5 of its cells are most like HSIL+SCC (p up to 0.910)",
    }


def test_nothing_is_said_where_nothing_is_known(positive):
    assert build_reasons(positive, {}, load_language("en")) == ()
    html = render_report(positive, bundle_spec={})
    assert "What carries the call" not in Page(html).text


def test_a_call_that_hangs_on_no_few_cells_says_so(doubted):
    said = lines(replace(doubted, removal=Removal(False, (), 0.6, 32)))
    assert said["What the call hangs on"].startswith("no set of up to 32 cells turns it")


def test_one_cell_is_one_cell(doubted):
    said = lines(replace(doubted, removal=Removal(True, (4,), 0.2, 32)))
    assert said["What the call hangs on"] == "without this 1 cell the slide is below its threshold"


@pytest.fixture
def like_yeast(positive):
    cells = tuple(
        replace(cell, organisms={"candida": 0.99 if row == 1 else 0.1, "herpes": 0.2})
        for row, cell in enumerate(positive.cells)
    )
    found = {
        "candida": {"threshold": 0.9, "n_cells": 1},
        "herpes": {"threshold": 0.9, "n_cells": 0},
    }
    return replace(positive, cells=cells, organisms=found)


def test_cells_that_look_like_an_organism_are_named_with_what_that_is_worth(like_yeast):
    said = lines(like_yeast, {0: 4, 1: 9})["Kept cells that look like an organism"]
    assert said.startswith("Candida: 1 (in the gallery: 9). ")
    assert "drawn organisms" in said
    assert "silence says nothing" in said
    crops = make_crops(len(like_yeast.cells))
    page = Page(render_report(like_yeast, bundle_spec={}, crops=crops))
    assert page.text.count("looks like: Candida") == 1
    assert "looks like: herpes" not in page.text


def test_a_head_that_saw_no_organism_says_that_this_says_nothing(like_yeast):
    none = {name: found | {"n_cells": 0, "threshold": 1.0} for name, found in
            like_yeast.organisms.items()}  # fmt: skip
    said = lines(replace(like_yeast, organisms=none))["Kept cells that look like an organism"]
    assert said.startswith("none. A hint")


def test_a_slide_that_needs_nobody_says_no(positive):
    assert lines(replace(positive, needs_human=False))["Needs a human"] == "no"


def test_a_positive_slide_that_needs_a_human_is_still_shown_as_positive(doubted):
    page = Page(render_report(doubted, bundle_spec={}))
    assert "review advised" in page.text
    assert "Needs a human:" in page.text
    index = Page(render_index([doubted]))
    assert "review advised" in index.text
    assert "needs a human : neither" in index.text or "needs a human: neither" in index.text


def test_the_line_runs_round_what_reaches_the_threshold_and_nothing_else():
    seen = np.zeros((96, 96))
    seen[20:40, 50:70] = OUTLINE_AT
    seen[60:70, 10:20] = OUTLINE_AT - 0.01
    path = outline_path(seen)
    numbers = [float(part) for part in path.strip("MZ").replace("L", " ").split()]
    x, y = np.array(numbers[::2]) * 96, np.array(numbers[1::2]) * 96
    assert path.count("M") == 1
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [50, 70, 20, 40], atol=0.6)


def test_nothing_is_drawn_where_nothing_speaks_for_a_lesion():
    assert outline_path(np.zeros((32, 32))) == ""


def test_only_the_cells_of_the_gallery_need_a_map_and_theirs_are_drawn():
    cells = make_cells(60)
    crops = [np.zeros((32, 32, 3), np.uint8)] * 60
    rows = shown_cells(cells, 60)
    assert len(rows) == 48
    seen = np.zeros((32, 32))
    seen[4:9, 4:9] = 1
    groups = build_gallery(cells, crops, CELL_CLASSES, {row: seen for row in rows[:3]})
    drawn = {s.rank - 1 for group in groups for s in group.cells if s.outline}
    assert drawn == set(rows[:3])
    assert {s.rank - 1 for group in groups for s in group.cells} == set(rows)


def test_the_page_states_the_lines_threshold_only_where_a_line_is_drawn(positive):
    crops = [np.full((32, 32, 3), 200, np.uint8)] * len(positive.cells)
    seen = np.zeros((32, 32))
    seen[4:9, 4:9] = 1
    plain = render_report(positive, bundle_spec={}, crops=crops)
    drawn = render_report(positive, bundle_spec={}, crops=crops, lesion_maps={0: seen})
    assert "yellow line" not in Page(plain).text
    assert "at least 50 % as much" in Page(drawn).text
    assert Page(drawn).text.count("yellow line") == 1
