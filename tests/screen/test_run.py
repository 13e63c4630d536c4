"""The verb screen: resume, locks, growing files, full disks, Ctrl-C, kill -9."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from koilo.errors import BundleError, ConfigError, ManifestError, OutputError
from koilo.files import folder_lock
from koilo.results import read_slide_result
from koilo.screen import ScreenConfig, arrival, screen
from tests.pipeline import toys

DRIVER = (
    "import sys; from tests.pipeline import toys; toys.register(); "
    "from koilo.cli import main; sys.exit(main(sys.argv[1:]))"
)
ROOT = Path(__file__).parents[2]


def koilo(*arguments, **more):
    """The command line in a process of its own that knows the toy models."""
    command = [sys.executable, "-c", DRIVER, *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was started in the background ignores Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **more,
    )


@pytest.fixture
def setup(good, bundle, tmp_path):
    """A configuration for one slide of its own."""
    slide = tmp_path / "in" / "a.tiff"
    slide.parent.mkdir()
    shutil.copy2(good, slide)
    return ScreenConfig((slide.parent,), tmp_path / "out", model=str(bundle.folder), workers=1)


def started_at(config) -> str:
    path = config.out / "a" / "result.json"
    return path.read_text() if path.exists() else ""


def screened_again(config, change) -> bool:
    """Whether a second run, after ``change``, reads the slide again."""
    assert screen(config) == 0
    path = config.out / "a" / "result.json"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    changed = change(config) or config
    assert screen(changed) == 0
    return (path.stat().st_mtime_ns, path.stat().st_ino) != before


def test_a_done_slide_is_not_read_again(setup):
    assert not screened_again(setup, lambda config: None)


def change_the_slide(config):
    toys.write_slide(config.paths[0] / "a.tiff", toys.draw_cells((900, 700), 21, 1))


def change_the_bundle(config):
    folder = config.out.parent / "other"
    spec = toys.toy_spec("max", 1024)
    spec["operating_points"]["sens95"]["threshold"] = 0.6
    from koilo.bundle import load_bundle, write_bundle

    old = load_bundle(config.model)
    write_bundle(folder, spec, {s: old.tensors(s) for s in spec["stages"]}, "")
    return replace(config, model=str(folder))


def lose_the_report(config):
    (config.out / "a" / "report.html").unlink()


@pytest.mark.parametrize(
    "change",
    [
        change_the_slide,
        change_the_bundle,
        lose_the_report,
        lambda config: replace(config, mpp=0.51),
        lambda config: replace(config, overwrite=True),
    ],
    ids=["slide", "bundle", "report lost", "mpp", "overwrite"],
)
def test_a_changed_slide_bundle_or_setting_is_read_again(setup, change):
    assert screened_again(setup, change)


def test_what_a_run_computes_on_does_not_change_the_key(setup):
    assert not screened_again(setup, lambda c: replace(c, workers=2, device="cpu"))


def test_a_moved_slide_is_not_read_again_but_its_new_place_is_written_down(setup):
    def move(config):
        new = config.paths[0].parent / "moved & gone"
        shutil.move(config.paths[0], new)
        return replace(config, paths=(new,))

    assert screen(setup) == 0
    fingerprint = read_slide_result(setup.out / "a").fingerprint
    assert screen(move(setup)) == 0
    result = read_slide_result(setup.out / "a")
    assert (Path(result.path).parent.name, result.fingerprint) == ("moved & gone", fingerprint)
    assert len(result.cells) == 20
    report = (setup.out / "a" / "report.html").read_text("utf-8")
    assert "moved &amp; gone/a.tiff" in report
    assert str(setup.paths[0]) not in report


def test_a_failed_slide_is_tried_again_and_forgotten_once_it_succeeds(setup, good):
    slide = setup.paths[0] / "a.tiff"
    slide.write_bytes(b"")
    toys.settle(slide)
    assert screen(setup) == 1
    shutil.copy2(good, slide)
    assert screen(setup) == 0
    assert read_slide_result(setup.out / "a").error is None


def test_scant_cells_never_push_a_suspicious_slide_down_the_list(bundle, tmp_path):
    """800 cells with 5 HSIL, scant for its preparation, stand first in summary.md."""
    size = (3000, 3000)
    toys.write_slide(tmp_path / "scant.tiff", toys.draw_cells(size, 800, 5))
    toys.write_slide(tmp_path / "calm.tiff", toys.draw_cells((900, 700), 20, 0, seed=2))
    (tmp_path / "m.csv").write_text(
        "slide_id,path,preparation\ncalm,calm.tiff,\nscant,scant.tiff,thinprep\n"
    )
    out = tmp_path / "out"
    assert screen(ScreenConfig((tmp_path / "m.csv",), out, model=str(bundle.folder))) == 0
    lines = (out / "summary.md").read_text().splitlines()
    first, second = [line for line in lines if line.startswith(("| 1 ", "| 2 "))]
    assert "| scant |" in first
    assert "review advised | HSIL+SCC" in first
    assert "scant, abnormal cells suspected" in first
    assert "| calm | below the review threshold" in second
    index = (out / "index.html").read_text()
    assert index.index("scant/report.html") < index.index("calm/report.html")


def test_a_laboratorys_own_limit_judges_adequacy_and_makes_another_key(bundle, good, tmp_path):
    (tmp_path / "m.csv").write_text(f"slide_id,path,preparation\none,{good},thinprep\n")
    out = tmp_path / "out"

    def run(**limits: int) -> dict:
        config = ScreenConfig(
            (tmp_path / "m.csv",), out, model=str(bundle.folder), adequacy_limits=limits
        )
        assert screen(config) == 0
        return json.loads((out / "one" / "result.json").read_text())

    table, own = run(), run(thinprep=1)
    assert table["adequacy"]["verdict"].startswith("scant")
    assert own["adequacy"]["verdict"] == "adequate"
    assert own["fingerprint"] != table["fingerprint"]
    with pytest.raises(ConfigError, match="thinprepp"):
        run(thinprepp=1)


def test_a_second_run_into_a_folder_in_use_is_refused(setup):
    setup.out.mkdir()
    with folder_lock(setup.out), pytest.raises(OutputError, match="in use by another koilo run"):
        screen(setup)


def test_a_growing_file_is_left_for_the_next_run_and_named(setup, good, monkeypatch):
    monkeypatch.setattr(arrival, "PAUSE_S", 0.6)
    growing = setup.paths[0] / "b.tiff"
    growing.write_bytes(good.read_bytes()[:1000])
    stop = threading.Event()

    def copy():
        while not stop.wait(0.05):
            with open(growing, "ab") as handle:
                handle.write(b"more")

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        assert screen(setup) == 0
    finally:
        stop.set()
        thread.join()
    assert not (setup.out / "b").exists()
    assert (setup.out / "a" / "result.json").exists()
    summary = (setup.out / "summary.md").read_text()
    assert "Left for the next run" in summary
    assert "b.tiff" in summary
    shutil.copy2(good, growing)
    assert screen(setup) == 0
    assert read_slide_result(setup.out / "b").status == "done"


def test_a_slide_that_changes_while_it_is_read_is_left_for_the_next_run(setup, monkeypatch):
    import koilo.pipeline

    real = koilo.pipeline.read_one

    def touched(entry, *rest):
        reading = real(entry, *rest)
        os.utime(entry.path, (1, 1))
        return reading

    monkeypatch.setattr(koilo.pipeline, "read_one", touched)
    assert screen(setup) == 0
    assert not (setup.out / "a").exists()
    assert "a.tiff" in (setup.out / "summary.md").read_text()


@pytest.mark.parametrize("blocked", ["out", "slide"])
def test_a_file_in_a_folders_place_ends_the_run_with_one_line(setup, blocked, capfd):
    if blocked == "out":
        setup.out.write_text("a file")
    else:
        setup.out.mkdir()
        (setup.out / "a").write_text("a file")
    with pytest.raises(OutputError, match="a file stands where a folder is needed") as caught:
        screen(setup)
    assert "\n" not in str(caught.value)


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(setup):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="run the same command again"):
            screen(setup)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (setup.out / "a" / "result.json").exists()
    assert not [path for path in setup.out.rglob("*") if path.name.endswith(".part")]
    assert screen(setup) == 0


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"mpp": 0.0}, ConfigError, "--mpp 0 is outside"),
        ({"mpp": 50.0}, ConfigError, "--mpp 50 is outside"),
        ({"workers": -1}, ConfigError, "--workers -1"),
        ({"model": "cytologie"}, BundleError, "no bundle"),
        ({"paths": (Path("/nowhere/x.svs"),)}, ManifestError, "does not exist"),
    ],
)
def test_wrong_settings_are_refused_before_any_slide(setup, change, error, reason):
    with pytest.raises(error, match=reason):
        screen(replace(setup, **change))
    assert not (setup.out / "slides.csv").exists()


def test_a_folder_without_slides_is_refused(setup, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ManifestError, match="There is no slide in"):
        screen(replace(setup, paths=(tmp_path / "nothing",)))


def test_results_inside_the_searched_folder_are_not_taken_for_slides(setup):
    inside = replace(setup, out=setup.paths[0] / "results")
    assert screen(inside) == 0
    (inside.out / "picture.png").write_bytes(b"x")
    assert screen(inside) == 0
    assert {p.parent.name for p in inside.out.glob("*/result.json")} == {"a"}


def test_a_kill_in_the_middle_of_a_slide_costs_nothing_but_time(setup, good):
    shutil.copy2(good, setup.paths[0] / "b.tiff")
    shutil.copy2(good, setup.paths[0] / "c.tiff")
    flags = ("screen", setup.paths[0], "--out", setup.out, "--model", setup.model)
    with koilo(*flags) as process:
        wait_for(lambda: (setup.out / ".koilo-reading").exists(), process)
        process.kill()
    assert screen(setup) == 0
    uninterrupted = replace(setup, out=setup.out.parent / "whole")
    assert screen(uninterrupted) == 0
    for slide_id in ("a", "b", "c"):
        assert essence(setup.out / slide_id) == essence(uninterrupted.out / slide_id)
    assert not [path for path in setup.out.rglob("*.part")]
    assert not (setup.out / ".koilo-reading").exists()


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(setup, good):
    for name in "bcdefgh":
        shutil.copy2(good, setup.paths[0] / f"{name}.tiff")
    flags = ("screen", setup.paths[0], "--out", setup.out, "--model", setup.model)
    with koilo(*flags) as process:
        wait_for(lambda: (setup.out / "a" / "result.json").exists(), process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again" in said
    assert "Traceback" not in said
    n_done = len(list(setup.out.glob("*/result.json")))
    assert len((setup.out / "slides.csv").read_text().splitlines()) == 1 + n_done
    assert screen(setup) == 0
    assert len(list(setup.out.glob("*/result.json"))) == 8


def test_the_slide_that_a_run_died_in_is_read_last(setup, good):
    shutil.copy2(good, setup.paths[0] / "b.tiff")
    setup.out.mkdir()
    (setup.out / ".koilo-reading").write_text("a")
    assert screen(setup) == 0
    text = (setup.out / "run.log").read_text()
    assert text.index("1 of 2 b:") < text.index("2 of 2 a:")


def wait_for(condition, process) -> None:
    """Until ``condition`` holds; pytest's own time limit ends a wait in vain."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def essence(folder: Path) -> dict:
    """A result without its times, and the bytes of its cells."""
    value = json.loads((folder / "result.json").read_text())
    del value["seconds"], value["provenance"]["started_at"], value["provenance"]["settings"]
    return value | {
        "parquet": (folder / "cells.parquet").read_bytes(),
        "geojson": (folder / "cells.geojson").read_bytes(),
    }
