"""The trial record: what is read, and what is refused with row, column and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.errors import ManifestError
from koilo.study.record import COLUMNS, PAPER_COLUMNS, Reading, read_record, write_record
from koilo.study.words import read_call
from koilo.taxonomy import CYTOLOGY

GOOD = Reading(
    slide_id="s1", group="A", first_review="LSIL", second_review="NILM", ai_result="positive",
    gold="LSIL", panel_1="LSIL", panel_2="LSIL", hospital="H1", reader="anna", first_ai=False,
    second_ai=True, first_on=date(2026, 3, 1), second_on=date(2026, 4, 1), first_seconds=120.0,
    second_seconds=31.5,
)  # fmt: skip
HEADER = ",".join(PAPER_COLUMNS)


def refused(tmp_path: Path, *readings: Reading) -> str:
    path = tmp_path / "record.csv"
    write_record(path, readings)
    with pytest.raises(ManifestError) as error:
        read_record(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "record.csv"
    rows = (GOOD, replace(GOOD, slide_id="s2", second_review="", second_on=None, first_ai=None))
    write_record(path, rows)
    assert read_record(path) == rows
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_the_nine_columns_of_the_paper_are_enough_also_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "record.csv"
    text = f"{HEADER}\n01127,A,ASC-H,hsil,Positive,ASC-H+LSIL,ASC-H,lsil + asc-h,ASC-H+LSIL\n"
    path.write_text("\ufeff" + text.replace(",", ";"), encoding="utf-8")
    (reading,) = read_record(path)
    assert (reading.second_review, reading.gold) == ("HSIL", "LSIL+ASC-H")
    assert reading.gold == reading.panel_2
    assert reading.first_ai is None


def test_gold_comes_from_the_panel_where_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "record.csv"
    rows = ["s1,A,NILM,NILM,NILM,,LSIL,LSIL,", "s2,B,NILM,NILM,NILM,,LSIL,NILM,NILM"]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    assert [reading.gold for reading in read_record(path)] == ["LSIL", "NILM"]


def test_missing_gold_unknown_classes_and_wrong_dates_are_named_by_row_and_column(tmp_path):
    message = refused(
        tmp_path,
        replace(GOOD, slide_id="a", gold="", panel_2="NILM"),
        replace(GOOD, slide_id="b", first_review="CIN2"),
        replace(GOOD, slide_id="c", second_on=date(2026, 2, 1)),
        replace(GOOD, slide_id="d", gold="HSIL"),
        replace(GOOD, slide_id="e", first_ai=True),
        replace(GOOD, slide_id="f", group="C"),
        replace(GOOD, slide_id="g", first_seconds=-3.0),
    )
    for said in (
        "row 2, gold: it is empty and the panel does not give it",
        "row 3, first_review: 'CIN2' is no class (allowed: NILM, ASC-US",
        "row 4, second_on: 2026-02-01 lies before the first review, 2026-03-01",
        "row 5, gold: it is HSIL, but the panel's word is LSIL",
        "row 6, second_ai: both reviews are with AI",
        "row 7, group: 'C' is no arm (allowed: A or B)",
        "row 8, first_seconds: '-3.0' is no reading time",
    ):
        assert said in message


def test_a_slide_twice_with_one_reader_or_with_two_golds_is_refused(tmp_path: Path) -> None:
    assert "row 3, slide_id: reader anna has slide s1 twice (first in row 2" in refused(
        tmp_path, GOOD, GOOD
    )
    other = replace(GOOD, reader="bo", gold="HSIL", panel_1="HSIL", panel_2="HSIL")
    assert "row 3, gold: slide s1 has 'HSIL' here and 'LSIL' in row 2" in refused(
        tmp_path, GOOD, other
    )


def test_an_empty_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.csv"
    path.write_text(HEADER + "\n\n")
    with pytest.raises(ManifestError, match="holds no reading"):
        read_record(path)
    path.write_text("slide_id,gold\n")
    with pytest.raises(ManifestError, match="has no column group, first_review"):
        read_record(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="cannot be read as a trial record"):
        read_record(path)


@given(st.sets(st.sampled_from(CYTOLOGY[1:]), min_size=1), st.randoms())
def test_a_call_of_several_classes_is_the_same_in_every_order_and_spelling(names, random):
    words = [random.choice([name, name.lower(), f" {name} "]) for name in names]
    random.shuffle(words)
    assert read_call("+".join(words)) == read_call("+".join(sorted(names)))


def test_negative_stands_alone():
    with pytest.raises(ValueError, match="NILM stands alone"):
        read_call("NILM+LSIL")
