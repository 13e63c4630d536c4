from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.errors import ManifestError
from koilo.manifest import (
    COLUMNS,
    SlideEntry,
    find_slides,
    read_manifest,
    slide_id_of,
    write_manifest,
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def ids(found) -> list[str]:
    return [entry.slide_id for entry in found.slides]


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    entries = (
        SlideEntry("a", tmp_path / "s" / "a.svs", case_id="7", mpp=0.25, preparation="thinprep"),
        SlideEntry("ä 2", Path("/elsewhere/b.svs"), hpv="16", age="34", history='a, "b"'),
    )
    write_manifest(tmp_path / "m.csv", entries)
    assert read_manifest(tmp_path / "m.csv") == entries
    header = (tmp_path / "m.csv").read_text("utf-8").splitlines()[0]
    assert header == "slide_id,path,case_id,mpp,preparation,age,hpv,history"
    assert "s/a.svs" in (tmp_path / "m.csv").read_text("utf-8")


def test_a_spreadsheets_byte_order_mark_and_capitals_are_read(tmp_path):
    (tmp_path / "m.csv").write_text(
        "slide_id,path,preparation,colour\na,a.svs,ThinPrep,blue\n", encoding="utf-8-sig"
    )
    (entry,) = read_manifest(tmp_path / "m.csv")
    assert (entry.slide_id, entry.preparation) == ("a", "thinprep")


def test_all_that_is_wrong_stands_in_one_line(tmp_path):
    (tmp_path / "m.csv").write_text(
        "slide_id,path,mpp,preparation,hpv\n"
        "a,a.svs,fine,,\n../b,b.svs,,,\nc,,,smear,\nd,d.svs,,,17\ne,e.svs,,,\ne,f.svs,,,\n"
    )
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.csv")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("row 2: mpp 'fine'", "row 3: slide_id '../b'", "row 4: path is empty",
                 "row 4: preparation 'smear'", "row 5: hpv '17'", "'e' stands twice"):  # fmt: skip
        assert part in message


def test_a_quote_that_is_never_closed_swallows_no_slides(tmp_path):
    (tmp_path / "m.csv").write_text(
        'slide_id,path,history\na,a.svs,"no complaints\nb,b.svs,\nc,c.svs,\n'
    )
    with pytest.raises(ManifestError, match="quote may not be closed"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("content", [b"", b"path\na.svs\n", b"\xff\xfe\x00broken"])
def test_what_is_no_manifest_is_refused_with_what_one_is(tmp_path, content):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError, match="slide_id and path"):
        read_manifest(tmp_path / "m.csv")


def test_folders_are_searched_downwards_and_the_rest_is_listed(tmp_path):
    touch(tmp_path / "b.SVS", tmp_path / "day 1" / "a.tiff", tmp_path / "day 1" / "notes.txt")
    touch(tmp_path / ".hidden.svs", tmp_path / "out" / "old.svs")
    found = find_slides([tmp_path], exclude=tmp_path / "out")
    assert ids(found) == ["b", "day 1__a"]
    assert sorted(path.name for path, _ in found.ignored) == [".hidden.svs", "notes.txt"]


def test_one_name_in_two_folders_gives_two_ids(tmp_path):
    touch(tmp_path / "x" / "a.svs", tmp_path / "y" / "a.svs", tmp_path / "a.svs")
    assert ids(find_slides([tmp_path])) == ["a", "x__a", "y__a"]
    named = find_slides([tmp_path / "x" / "a.svs", tmp_path / "y" / "a.svs"])
    assert ids(named) == ["a", "a-2"]


def test_one_stem_with_two_endings_gives_two_ids_in_path_order(tmp_path):
    touch(tmp_path / "a.tiff", tmp_path / "a.png", tmp_path / "a-2.png")
    found = find_slides([tmp_path])
    assert len(set(ids(found))) == 3
    assert dict(zip(ids(found), [e.path.name for e in found.slides], strict=True))["a"] == "a.png"


def test_a_slide_named_twice_is_read_once(tmp_path):
    touch(tmp_path / "a.svs")
    assert ids(find_slides([tmp_path, tmp_path / "a.svs"])) == ["a"]


def test_a_manifest_that_gives_two_slides_one_file_is_refused_since_one_would_be_missing(tmp_path):
    touch(tmp_path / "a.svs")
    (tmp_path / "m.csv").write_text("slide_id,path\nann,a.svs\nbea,./a.svs\n")
    with pytest.raises(ManifestError, match=r"slides 'ann' and 'bea' both name .*a\.svs"):
        find_slides([tmp_path / "m.csv"])


def test_data_of_another_slide_is_ignored_and_says_whose_it_is(tmp_path):
    touch(tmp_path / "m.mrxs", tmp_path / "m" / "Data0000.dat", tmp_path / "h-0.jpg")
    (tmp_path / "h.vms").write_text("[Virtual Microscope Specimen]\nImageFile = h-0.jpg\n")
    found = find_slides([tmp_path])
    assert ids(found) == ["h", "m"]
    assert sorted((path.name, reason) for path, reason in found.ignored) == [
        ("h-0.jpg", "belongs to h.vms"),
        ("m", "belongs to m.mrxs"),
    ]


def test_a_folder_of_dicom_files_is_one_slide_named_after_it(tmp_path):
    touch(tmp_path / "case 7" / "1.dcm", tmp_path / "case 7" / "2.dcm")
    assert ids(find_slides([tmp_path])) == ["case 7"]
    assert ids(find_slides([tmp_path / "case 7"])) == ["case 7"]


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"gone\.svs does not exist"):
        find_slides([tmp_path / "gone.svs"])


def test_a_manifest_among_the_paths_brings_its_slides(tmp_path):
    touch(tmp_path / "s" / "a.svs")
    (tmp_path / "m.csv").write_text("slide_id,path,mpp\nmine,s/a.svs,0.25\n")
    (entry,) = find_slides([tmp_path / "m.csv"]).slides
    assert (entry.slide_id, entry.mpp, entry.path) == ("mine", 0.25, tmp_path / "s" / "a.svs")


def test_emoji_and_spaces_stay_in_an_id_and_a_long_one_fits_a_file_system(tmp_path):
    assert slide_id_of(Path("🔬 slide é.svs")) == "🔬 slide é"
    long = slide_id_of(Path(*["宫颈涂片" * 10] * 3, "a.svs"))
    other = slide_id_of(Path(*["宫颈涂片" * 10] * 3, "b.svs"))
    assert len(long.encode()) <= 200
    assert long != other


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_every_id_is_one_safe_folder_name(parts):
    parts = [part.replace("/", "_").replace("\0", "_") for part in parts]
    slide_id = slide_id_of(Path(*parts))
    assert not set(slide_id) & set('/\\:*?"<>|')
    assert slide_id not in (".", "..", "")
    assert unicodedata.normalize("NFC", slide_id) == slide_id
    assert all(ord(character) >= 32 for character in slide_id)


def test_case_facts_hold_what_is_given_and_nothing_else():
    entry = SlideEntry("a", Path("a"), case_id="c", age="30", label="LSIL")
    assert entry.case_facts == {"case_id": "c", "age": "30"}
    assert set(entry.case_facts) <= set(COLUMNS)
