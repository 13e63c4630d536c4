from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from koilo.errors import ConfigError, OutputError
from koilo.signatures import (
    Signature,
    add_signature,
    check_signature,
    is_signed,
    read_signatures,
    standing_signature,
)
from koilo.taxonomy import CYTOLOGY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "S-1"
    folder.mkdir()
    (folder / "result.json").write_text('{"a": 1}')
    (folder / "cells.parquet").write_bytes(b"cells")
    return folder


def signed_as(*classes: str, meaning: str = "reviewed", **more) -> Signature:
    values = {"reader": "Dr. A", "signed_at": "", "result_sha256": "", "cells_sha256": ""}
    return Signature(slide_id="S-1", meaning=meaning, interpretation=classes, **(values | more))


def test_an_unsigned_slide_has_no_signature(folder):
    assert read_signatures(folder) == ()
    assert standing_signature(folder) is None
    assert not is_signed(folder)


def test_a_signature_is_read_back_as_it_was_written(folder):
    facts = {"outcome": "colposcopy", "facts": {"age": "34", "immediate_risk_percent": 4.5}}
    given = signed_as("ASC-H", "LSIL", organisms=("candida",), remark="seen twice", follow_up=facts)
    written = add_signature(folder, given)
    assert standing_signature(folder) == written
    assert written.interpretation == ("LSIL", "ASC-H")
    assert written.category == "abnormality"
    assert written.signed_at.endswith("Z")
    assert len(written.result_sha256) == len(written.cells_sha256) == 64


def test_an_amendment_stands_and_keeps_the_former(folder):
    first = add_signature(folder, signed_as("LSIL"))
    second = add_signature(folder, signed_as("HSIL", "AGC", meaning="amended"))
    assert read_signatures(folder) == (first, second)
    assert second.former_sha256 == first.sha256
    assert standing_signature(folder) == second


def test_a_later_signature_rises_with_the_same_classes_or_amends(folder):
    add_signature(folder, signed_as("LSIL", meaning="screened"))
    add_signature(folder, signed_as("LSIL", meaning="approved", reader="Dr. B"))
    for changed in (
        signed_as("HSIL", meaning="approved"),
        signed_as("LSIL", meaning="reviewed"),
        signed_as("LSIL", meaning="approved"),
    ):
        with pytest.raises(ConfigError, match="--meaning amended"):
            add_signature(folder, changed)
    assert len(read_signatures(folder)) == 2


def test_a_first_signature_amends_nothing(folder):
    with pytest.raises(ConfigError, match="no signature to amend"):
        add_signature(folder, signed_as("LSIL", meaning="amended"))
    assert not is_signed(folder)


@pytest.mark.parametrize("name", ["result.json", "cells.parquet"])
@pytest.mark.parametrize("change", ["altered", "gone"])
def test_a_signature_over_files_that_changed_since_is_an_error(folder, name, change):
    add_signature(folder, signed_as("HSIL"))
    if change == "altered":
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    else:
        (folder / name).unlink()
    with pytest.raises(OutputError, match=rf"{name} changed since Dr\. A signed it") as caught:
        standing_signature(folder)
    assert "\n" not in str(caught.value)
    assert len(read_signatures(folder)) == 1


def test_after_a_change_an_amendment_signs_the_new_files(folder):
    add_signature(folder, signed_as("HSIL"))
    (folder / "result.json").write_text('{"a": 2}')
    amended = add_signature(folder, signed_as("HSIL", meaning="amended"))
    assert standing_signature(folder) == amended


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("field", "value"),
    [("reader", "Dr. Evil"), ("interpretation", ["NILM"]), ("signed_at", "2020-01-01T00:00:00Z")],
)
def test_an_altered_record_is_refused_wherever_it_was_altered(folder, number, field, value):
    add_signature(folder, signed_as("LSIL"))
    add_signature(folder, signed_as("HSIL", meaning="amended"))
    path = folder / "signatures.json"
    record = json.loads(path.read_text())
    record["signatures"][number][field] = value
    record["signatures"][number]["category"] = "negative" if value == ["NILM"] else "abnormality"
    path.write_text(json.dumps(record))
    with pytest.raises(OutputError, match="may not be changed"):
        read_signatures(folder)


def test_a_signature_taken_out_of_the_record_is_noticed(folder):
    add_signature(folder, signed_as("LSIL"))
    add_signature(folder, signed_as("HSIL", meaning="amended"))
    path = folder / "signatures.json"
    record = json.loads(path.read_text())
    for kept in ([record["signatures"][0]], [record["signatures"][1]]):
        path.write_text(json.dumps(record | {"signatures": kept}))
        with pytest.raises(OutputError):
            read_signatures(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "signatures": []}']
)
def test_a_damaged_record_still_counts_as_signed(folder, text):
    (folder / "signatures.json").write_text(text)
    assert is_signed(folder)
    with pytest.raises(OutputError, match="not a list of koilo's signatures"):
        standing_signature(folder)
    with pytest.raises(OutputError):
        add_signature(folder, signed_as("LSIL"))


def test_a_record_of_another_slide_is_refused(folder):
    add_signature(folder, signed_as("LSIL"))
    other = folder.rename(folder.with_name("S-2"))
    with pytest.raises(OutputError, match="is of slide S-1"):
        standing_signature(other)


ALLOWED_PAIRS = {("LSIL", "ASC-H"), *((name, "AGC") for name in CYTOLOGY[1:6])}


@pytest.mark.parametrize("pair", list(combinations(CYTOLOGY, 2)))
def test_only_classes_that_do_not_contradict_each_other_are_signed_together(pair):
    if pair in ALLOWED_PAIRS:
        check_signature(signed_as(*pair))
    else:
        with pytest.raises(ConfigError, match="contradicts itself"):
            check_signature(signed_as(*pair))


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (signed_as("CIN2"), "'CIN2' is unknown. Allowed: NILM"),
        (signed_as("hsil"), "'hsil' is unknown"),
        (signed_as("LSIL", "LSIL"), "twice"),
        (signed_as(), "no --interpretation"),
        (signed_as("LSIL", adequacy="unsatisfactory"), "any abnormal cell makes it satisfactory"),
        (signed_as("LSIL", adequacy="fine"), "'fine' is unknown"),
        (signed_as("LSIL", meaning="signed"), "'signed' is unknown. Allowed: screened"),
        (signed_as("LSIL", organisms=("measles",)), "'measles' is unknown"),
        (signed_as("LSIL", reader="  "), "is empty"),
        (signed_as("LSIL", reader="A" * 500), "longer than 120"),
        (signed_as("LSIL", reader="Dr.\nA"), "control characters"),
        (signed_as("LSIL", reader="Dr. \u202eA"), "control characters"),
        (signed_as("LSIL", remark="\x00"), "control characters"),
    ],
)
def test_what_no_reader_can_mean_is_refused_in_one_line(signature, said):
    with pytest.raises(ConfigError) as caught:
        check_signature(signature)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["王丽", "د. فاطمة", "Dr. Ó Súilleabháin", "<b>", 'O"Neill', "דר כהן"]
)
def test_names_of_any_script_are_kept_as_they_are(folder, name):
    add_signature(folder, signed_as("LSIL", reader=name))
    assert read_signatures(folder)[0].reader == name


def test_the_general_category_follows_from_what_was_signed():
    assert signed_as("NILM").category == "negative"
    assert signed_as("NILM", endometrial_cells=True).category == "other"
    assert signed_as("AGC", endometrial_cells=True).category == "abnormality"
    assert replace(signed_as(), adequacy="unsatisfactory").category is None
