"""What a screening does with slides that a reader signed, and with slides of one case."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from koilo.report.sign import SignConfig, sign
from koilo.results import read_slide_result
from koilo.screen import ScreenConfig, screen
from koilo.signatures import standing_signature
from tests.pipeline import toys


@pytest.fixture
def signed(good, bundle, tmp_path):
    """A configuration of two slides, screened, the first of them signed."""
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy2(good, tmp_path / "in" / f"{name}.tiff")
    config = ScreenConfig((tmp_path / "in",), tmp_path / "out", model=str(bundle.folder), workers=1)
    assert screen(config) == 0
    sign(SignConfig(config.out, "a", "Dr. A", "approved", "HSIL"))
    return config


def files_of(config, slide_id: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (config.out / slide_id).iterdir()}


@pytest.mark.parametrize(
    "change", [{"overwrite": True}, {"mpp": 0.51}], ids=["overwrite", "other setting"]
)
def test_a_signed_slide_is_refused_in_one_line_and_the_others_go_on(signed, change, caplog):
    before = files_of(signed, "a"), files_of(signed, "b")
    caplog.clear()
    assert screen(replace(signed, **change)) == 1
    lines = [line for line in caplog.messages if "signed by a reader" in line]
    assert len(lines) == 1
    assert "a is signed by a reader: not read again" in lines[0]
    assert files_of(signed, "a") == before[0]
    assert files_of(signed, "b")["result.json"] != before[1]["result.json"]
    assert standing_signature(signed.out / "a").reader == "Dr. A"
    assert "## Signed: not read again" in (signed.out / "summary.md").read_text()


def test_a_plain_rerun_keeps_a_signed_slide_and_says_what_was_signed(signed):
    assert screen(signed) == 0
    assert "HSIL (approved by Dr. A)" in (signed.out / "summary.md").read_text()
    index = (signed.out / "index.html").read_text("utf-8")
    assert "HSIL (approved)" in index
    assert "Signed by a reader when this page was written: 1" in index


def test_a_signed_slide_that_was_moved_keeps_the_place_it_was_signed_at(signed):
    moved = signed.paths[0].with_name("elsewhere")
    shutil.move(signed.paths[0], moved)
    assert screen(replace(signed, paths=(moved,))) == 0
    assert standing_signature(signed.out / "a") is not None
    assert "elsewhere" in read_slide_result(signed.out / "b").path
    assert "elsewhere" not in read_slide_result(signed.out / "a").path


def test_a_damaged_signature_file_still_guards_the_result(signed):
    (signed.out / "a" / "signatures.json").write_text("")
    before = (signed.out / "a" / "result.json").read_bytes()
    assert screen(replace(signed, overwrite=True)) == 1
    assert (signed.out / "a" / "result.json").read_bytes() == before


def test_a_signed_slide_whose_file_is_broken_since_is_not_overwritten_by_a_failure(signed):
    path = signed.paths[0] / "a.tiff"
    path.write_bytes(b"")
    toys.settle(path)
    assert screen(signed) == 1
    assert read_slide_result(signed.out / "a").status == "done"


def test_a_later_slide_names_the_earlier_one_whatever_the_order_of_reading(good, bundle, tmp_path):
    other = toys.write_slide(tmp_path / "other.tiff", toys.draw_cells((900, 700), 20, 1, seed=5))
    (tmp_path / "m.csv").write_text(
        f"slide_id,path,case_id,collected_on\nnew,{good},K,2026-01-01\nold,{other},K,2024-01-01\n"
    )
    out = tmp_path / "out"
    assert screen(ScreenConfig((tmp_path / "m.csv",), out, model=str(bundle.folder))) == 0
    assert "Earlier slides of this case" in (out / "new" / "report.html").read_text("utf-8")
    assert "Earlier slides of this case" not in (out / "old" / "report.html").read_text("utf-8")


def test_a_malformed_laboratory_header_ends_the_run_before_the_first_slide(good, bundle, tmp_path):
    from koilo.errors import ConfigError

    out = tmp_path / "out"
    out.mkdir()
    (out / "laboratory.yaml").write_text("adress: x")
    with pytest.raises(ConfigError, match="Did you mean 'address'"):
        screen(ScreenConfig((good,), out, model=str(bundle.folder)))
    assert not (out / "good").exists()
