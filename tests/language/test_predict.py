from __future__ import annotations

import numpy as np
import pytest
import torch

from koilo.bundle import load_bundle
from koilo.errors import BundleError
from koilo.language import Describer, load_descriptions
from koilo.language.predict import choose_query_threshold, text_similarity
from koilo.taxonomy import read_vocabulary
from koilo.taxonomy.descriptions import outside_queries
from tests.language import toys

TEXTS = toys.TEXTS[:4]


def describer(thresholds=(0.9,) * 4, query_threshold=0.9) -> Describer:
    return Describer(
        toys.toy_model(16), texts=TEXTS, thresholds=thresholds, query_threshold=query_threshold
    )


def cells_like(words: Describer, texts) -> np.ndarray:
    """Features of cells that lie on texts."""
    with torch.no_grad():
        return 7 * words.model.embed(texts).numpy()


def test_a_cell_on_a_text_is_described_by_it_and_one_opposite_by_none():
    words = describer()
    features = cells_like(words, TEXTS)
    for text, said in zip(TEXTS, words.describe(words.place(features)), strict=True):
        assert text in said
    assert words.describe(words.place(-features)) == [()] * 4


def test_each_text_has_a_threshold_of_its_own():
    words = describer(thresholds=(2.0, -2.0, 2.0, -2.0))
    places = words.place(np.random.default_rng(0).normal(size=(3, 16)))
    assert words.describe(places) == [(TEXTS[1], TEXTS[3])] * 3


def test_a_slide_without_cells_has_no_descriptions():
    words = describer()
    places = words.place(np.zeros((0, 16), np.float32))
    assert places.shape == (0, 9)
    assert words.describe(places) == []


def test_a_query_in_other_words_finds_its_description():
    words = describer()
    for row, text in enumerate(TEXTS):
        for wording in read_vocabulary()[row].learnt[:3]:
            meaning = words.understand(wording)
            assert meaning.similarity == pytest.approx(1, abs=1e-4)
            assert meaning.text == text
            assert meaning.known
    assert words.understand(TEXTS[0]).threshold == pytest.approx(0.9)


def test_strange_words_count_against_a_query():
    words = describer()
    assert words.understand("Trichomonas vaginalis").similarity == 0
    assert not words.understand("Trichomonas vaginalis").known
    whole, half = (words.understand(q).similarity for q in ("normal cell", "normal xyz"))
    assert half <= 0.5 < whole


def test_matching_equals_the_cosine_of_the_features():
    words = describer()
    features = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    expected = words.model.cosines(
        torch.from_numpy(features), words.model.embed(["dark nucleus"])
    ).detach()
    cosines = words.match("dark nucleus", words.place(features))
    assert cosines == pytest.approx(expected.numpy()[:, 0], abs=1e-5)


def test_the_query_threshold_parts_what_it_was_set_with():
    model = toys.toy_model(16)
    bound = choose_query_threshold(model, toys.TEXTS, outside_queries().set_with)
    assert 0 < bound < 1
    strange = [text for text in outside_queries().set_with if model.encoder.known_share(text) == 0]
    assert strange
    words = Describer(model, texts=toys.TEXTS, thresholds=[0.5] * 14, query_threshold=bound)
    assert not any(words.understand(text).known for text in strange)


def test_similarities_are_symmetric_and_one_with_oneself():
    both = text_similarity(toys.toy_model(16), TEXTS, TEXTS)
    assert both == pytest.approx(both.T, abs=1e-5)
    assert both.diagonal() == pytest.approx(1, abs=1e-5)


def test_the_shipped_bundle_says_something_of_a_cell_and_is_small():
    bundle = load_bundle("cytology")
    words = load_descriptions(bundle)
    assert words.texts == toys.TEXTS[:-1]  # it has no class AGC, and says nothing of it
    assert (bundle.folder / "descriptions.safetensors").stat().st_size < 5e6
    for option in read_vocabulary()[:-1]:
        assert words.understand(option.text).text == option.text
        assert words.understand(option.text).known


def test_a_bundle_without_descriptions_or_with_unfit_ones_is_refused(tmp_path):
    from tests.pipeline import toys as pipeline_toys

    pipeline_toys.register()
    bundle = pipeline_toys.write_toy_bundle(tmp_path / "b")
    with pytest.raises(BundleError, match="has no descriptions stage"):
        load_descriptions(bundle)
    bundle = toys.add_words(tmp_path / "b")
    assert load_descriptions(bundle).texts == toys.TEXTS
    bundle.spec["stages"]["descriptions"]["thresholds"].pop()
    with pytest.raises(BundleError, match="14 texts have 13 thresholds"):
        load_descriptions(bundle)
    bundle.spec["stages"]["descriptions"]["config"]["width"] = 12
    with pytest.raises(BundleError, match="do not fit together"):
        load_descriptions(bundle)
