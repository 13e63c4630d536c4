"""What `koilo find` lists, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from koilo.cli import main
from koilo.errors import BundleError, ConfigError
from koilo.language import load_descriptions
from koilo.language.verb import FindConfig, find
from koilo.results import write_slide_result
from koilo.types import Cell, SlideResult
from tests.language import toys


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from tests.pipeline import toys as pipeline_toys

    pipeline_toys.register()
    folder = tmp_path_factory.mktemp("bundle") / "toy"
    pipeline_toys.write_toy_bundle(folder)
    return toys.add_words(folder, threshold=0.5)


@pytest.fixture
def results(tmp_path, bundle):
    """Two slides: cell 1 of slide b lies on the halo text, all others opposite to it."""
    words = load_descriptions(bundle)
    on = words.model.embed([toys.HALO]).detach().numpy()
    near, far = (words.place(np.float32(sign) * on)[0].tolist() for sign in (1, -1))
    for slide_id, places in (("a", [far, far]), ("b", [far, near])):
        cells = tuple(
            Cell(10.0 * n, 20, 8, 8, 0.9 - n / 10, {"NILM": 1.0}, "NILM",
                 descriptions=(), text_space=tuple(np.float32(place).tolist()))
            for n, place in enumerate(places)
        )  # fmt: skip
        provenance = {"bundle": "toy", "bundle_sha256": bundle.sha256,
                      "settings": {"model": str(bundle.folder)}}  # fmt: skip
        result = SlideResult(slide_id, "x", "done", cells=cells, provenance=provenance)
        write_slide_result(tmp_path / slide_id, result)
    return tmp_path


def test_the_cell_that_looks_like_the_query_is_listed_with_its_place(results, capsys):
    assert find(FindConfig(results, "perinuclear halo")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 cells look like it" in lines[0]
    assert toys.HALO in lines[0]
    assert lines[2].split("\t")[:5] == ["b", "1", "14", "24", "NILM"]
    assert len(lines) == 3


def test_one_slides_folder_will_do(results, capsys):
    assert find(FindConfig(results / "a", "perinuclear halo")) == 0
    assert "0 cells look like it" in capsys.readouterr().out


def test_what_no_description_means_is_not_in_the_vocabulary(results, capsys):
    assert main(["find", str(results), "Trichomonas vaginalis"]) == 1
    assert "not in the vocabulary" in capsys.readouterr().out


def test_another_bundle_is_refused(results, bundle, tmp_path_factory):
    from tests.pipeline import toys as pipeline_toys

    other = tmp_path_factory.mktemp("other") / "toy"
    pipeline_toys.write_toy_bundle(other, top_k=8)
    toys.add_words(other)
    with pytest.raises(BundleError, match="Texts and cells must be of one bundle"):
        find(FindConfig(results, "perinuclear halo", model=str(other)))


def test_nothing_screened_nothing_described_and_no_query_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no screened slide"):
        find(FindConfig(tmp_path, "halo"))
    plain = SlideResult("a", "x", "done", cells=(Cell(1, 2, 3, 4, 0.5, {"NILM": 1.0}, "NILM"),))
    write_slide_result(tmp_path / "a", plain)
    with pytest.raises(ConfigError, match="screened with descriptions"):
        find(FindConfig(tmp_path, "halo"))
    for wrong in ({"query": " "}, {"most": 0}):
        with pytest.raises(ConfigError, match="Allowed: 1 or more, and some words"):
            dataclasses.replace(FindConfig(tmp_path, "halo"), **wrong)


def test_a_failed_slide_and_a_broken_result_do_not_stop_the_search(results, capsys):
    write_slide_result(results / "c", SlideResult("c", "x", "failed", "no"))
    (results / "d").mkdir()
    (results / "d" / "result.json").write_text("{}")
    assert find(FindConfig(results, "perinuclear halo")) == 0
    assert "1 cells look like it" in capsys.readouterr().out
