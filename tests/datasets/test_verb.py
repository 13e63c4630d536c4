"""koilo data, from the command line to the two files."""

from __future__ import annotations

from pathlib import Path

import pytest

from koilo.cli import main
from koilo.datasets.cells_csv import read_cells
from koilo.datasets.verb import DATASETS, DataConfig, data
from koilo.errors import ConfigError, ManifestError
from koilo.manifest import read_manifest
from tests.datasets.conftest import write_picture


def test_the_command_converts_splits_and_can_be_repeated(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "converted"
    command = ["data", "coco", str(coco), "--out", str(out), "--labels", '{"koilocyte": "LSIL"}',
               "--split-by", "block", "--block-size", "1", "--shares", "[0.5, 0.5, 0]"]  # fmt: skip
    assert main(command) == 0
    entries = read_manifest(out / "manifest.csv")
    assert {entry.split for entry in entries} == {"train", "validation"}
    assert len(read_cells(out / "cells.csv", [entry.slide_id for entry in entries])) == 2
    before = (out / "manifest.csv").read_bytes(), (out / "cells.csv").read_bytes()
    assert main(command) == 0
    assert before == ((out / "manifest.csv").read_bytes(), (out / "cells.csv").read_bytes())


def test_a_wrong_source_ends_in_status_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in DATASETS:
        assert main(["data", name, str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "gone" in said
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_a_folder_without_pictures_gives_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("NILM\n")
    assert main(["data", "yolo", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_crop_stores_do_not_show_yet() -> None:
    with pytest.raises(ConfigError, match="no data set 'bags'"):
        DataConfig("bags", Path("x"), Path("y"))


def test_all_wrong_settings_are_named_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sipakmed.*split_by.*preparation.*mpp"):
        DataConfig("sipakmet", tmp_path, tmp_path, split_by="x", preparation="smear", mpp=50)


@pytest.mark.parametrize("given", [{"mpp": 0.2}, {"labels": {"SCC": "HSIL"}}, {"box_um": 30.0}])
def test_what_cric_says_itself_cannot_be_given(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="cannot be given to cric"):
        DataConfig("cric", Path("x"), Path("y"), **given)  # type: ignore[arg-type]


def test_a_label_for_a_class_that_a_set_does_not_have_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "light_dysplastic" / "a.png")
    write_picture(tmp_path / "LSIL" / "a.png")
    for name in ("herlev", "mendeley_lbc"):
        config = DataConfig(name, tmp_path, tmp_path / "out", labels={"light": "ASC-US"})
        with pytest.raises(ManifestError, match="has no class light"):
            data(config)


def test_cric_and_the_generic_formats_give_manifests_of_one_form(tmp_path: Path) -> None:
    write_picture(tmp_path / "cric" / "fields" / "2.png")
    (tmp_path / "cric" / "cells.csv").write_text(
        "field,field_id,cell_id,bethesda,x_px,y_px,mpp\nfields/2.png,2,1,HSIL,20,15,0.25\n"
    )
    data(DataConfig("cric", tmp_path / "cric", tmp_path / "out"))
    [entry] = read_manifest(tmp_path / "out" / "manifest.csv")
    [cell] = read_cells(tmp_path / "out" / "cells.csv", [entry.slide_id])
    assert (cell.label, cell.w_px0) == ("HSIL", 82.0)
