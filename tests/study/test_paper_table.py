"""The paper's own record, Extended Data Table 1 as typed in: its key points, counted by hand."""

from __future__ import annotations

from koilo.study.compared import BY_STAGE, compare
from koilo.study.key_points import key_points
from koilo.study.record import read_record
from tests.conftest import ROOT

PATH = ROOT / "runs" / "trial_table" / "hospital_01.csv"


def test_the_papers_key_points_are_reproduced():
    readings = read_record(PATH)
    assert len(readings) == 71
    assert sum(reading.truly_positive for reading in readings) == 62
    points = key_points(readings)
    assert points["missed_above_limit"] == {
        "limit": "ASC-US",
        "n_slides": 35,
        "by_ai": [],
        "by_a_person": [],
        "by_both": [],
        "by_one_review": [],
        "holds": True,
    }
    assert points["missed_at_limit"]["by_ai"] == ["01458", "01545", "01745", "01905", "01912"]
    cleared = points["arbitrated_to_negative"]
    assert cleared["n_slides"] == 8
    assert cleared["suspected_by_both"] == ["01224", "01486"]
    assert set(cleared["suspected_in_a_review"]) == {"01029", "01061", "01484"}


def test_what_the_scan_does_not_show_is_left_out_of_comparisons_by_name():
    compared = compare(PATH, read_record(PATH), 28)
    assert compared.conditions == BY_STAGE
    assert [name for name, _ in compared.left_out] == ["01665", "01905", "01928"]
    assert any("01321" in notice for notice in compared.notices)
    assert any("does not say which review" in notice for notice in compared.notices)


def test_a_missed_lesion_breaks_the_key_point():
    from dataclasses import replace

    first, *others = [r for r in read_record(PATH) if r.gold == "HSIL"]
    missed = replace(first, ai_result="NILM", first_review="NILM", second_review="NILM")
    found = key_points([missed, *others])["missed_above_limit"]
    assert not found["holds"]
    assert found["by_both"] == [first.slide_id]
    seen = key_points([replace(missed, second_review="LSIL")])["missed_above_limit"]
    assert seen["holds"]
    assert seen["by_one_review"] == [first.slide_id]
