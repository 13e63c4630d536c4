"""A slide is known again, and a changed one is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from koilo.errors import SlideOpenError
from koilo.slides.identity import identity

from .conftest import MadeSlide
from .test_raw_tiles import damage_tile


def test_the_same_file_has_the_same_identity_and_a_copy_of_it_too(
    made_slide: MadeSlide, tmp_path: Path
) -> None:
    copy = Path(shutil.copy2(made_slide.path, tmp_path / "renamed.tiff"))
    assert identity(made_slide.path) == identity(str(made_slide.path)) == identity(copy)


def test_any_change_of_the_file_changes_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "slide.bin"
    path.write_bytes(bytes(3_000_000))
    os.utime(path, (1e9, 1e9))
    known = {identity(path)}
    for at, length in ((10, 3_000_000), (2_999_990, 3_000_000), (3_000_000, 3_000_001)):
        path.write_bytes(bytes(at) + b"x" + bytes(length - at - 1))
        os.utime(path, (1e9, 1e9))
        known.add(identity(path))
    os.utime(path, (1e9, 2e9))
    known.add(identity(path))
    assert len(known) == 5


def test_moved_tiles_change_the_identity_of_a_tiff(made_slide: MadeSlide, tmp_path: Path) -> None:
    path = Path(shutil.copy2(made_slide.path, tmp_path / "a.tiff"))
    before = identity(path)
    damage_tile(path, 8)
    assert identity(path) != before


def test_a_folder_is_known_by_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"one")
    (tmp_path / "b.dcm").write_bytes(b"two")
    before = identity(tmp_path)
    assert before == identity(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"2")
    assert identity(tmp_path) != before


def test_a_missing_slide_is_a_slide_error(tmp_path: Path) -> None:
    with pytest.raises(SlideOpenError, match="cannot be read"):
        identity(tmp_path / "nowhere.svs")
