from __future__ import annotations

from pathlib import Path

import pytest
import torch

from koilo.errors import ConfigError
from koilo.language.encoders import WORDS, WordEncoder, build_text_encoder
from koilo.language.model import AlignedTexts, DescriptionHead
from koilo.language.words import collect_words

TEXTS = ("perinuclear halo", "dark nucleus", "high ratio")


def aligned(**more: bool) -> AlignedTexts:
    torch.manual_seed(0)
    return AlignedTexts(WordEncoder(collect_words(TEXTS), width=8), torch.randn(5), **more).eval()


def test_the_mean_of_training_is_taken_off_before_the_cosine() -> None:
    model, features = aligned(), torch.randn(4, 5)
    texts = model.embed(TEXTS)
    centred = features - model.feature_mean
    expected = torch.stack(
        [torch.stack([torch.cosine_similarity(v, t, dim=0) for t in texts]) for v in centred]
    )
    assert torch.allclose(model.cosines(features, texts), expected, atol=1e-5)


def test_text_space_holds_all_that_a_cosine_depends_on() -> None:
    model, features = aligned(), torch.randn(6, 5)
    places, directions = model.text_space(features), model.text_direction(TEXTS)
    assert places.shape == (6, 9)
    expected = model.cosines(features, model.embed(TEXTS))
    assert torch.allclose(places @ directions.T, expected, atol=1e-5)


def test_padding_does_not_change_a_text() -> None:
    model = aligned()
    alone, beside = model.embed(["dark nucleus"]), model.embed(["dark nucleus", "high " * 40])
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_every_text_is_encoded_with_gradient() -> None:
    model = aligned().train()
    model.cosines(torch.randn(3, 5), model.embed(TEXTS)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_temperature_is_a_variant_and_starts_by_spreading() -> None:
    cosines = torch.tensor([[0.5]])
    assert aligned().logits(cosines) is cosines
    assert aligned(temperature=True).logits(cosines).item() == pytest.approx(0.5 * 2.718281828**2)


def test_a_text_without_words_and_a_long_one_are_read_all_the_same() -> None:
    vectors = aligned().embed(["", "halo " * 200])
    assert torch.isfinite(vectors).all()


def test_the_head_gives_a_logit_a_text() -> None:
    assert DescriptionHead(torch.zeros(5), 3)(torch.randn(2, 5)).shape == (2, 3)


def test_a_folder_without_a_text_encoder_is_refused_and_nothing_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no text encoder in .*koilo fetches nothing"):
        build_text_encoder(str(tmp_path), ())
    assert isinstance(build_text_encoder(WORDS, ("halo",)), WordEncoder)


def test_a_pretrained_encoder_comes_from_a_local_folder(tmp_path: Path) -> None:
    roberta = write_tiny_roberta(tmp_path)
    encoder = build_text_encoder(str(roberta), ())
    model = AlignedTexts(encoder, torch.zeros(5)).eval()
    vectors = model.embed(["dark nucleus", "a perinuclear halo"])
    assert vectors.shape == (2, 5)
    alone = model.embed(["dark nucleus"])
    assert torch.allclose(alone[0], vectors[0], atol=1e-4)
    assert encoder.known_share("anything") == 1
    assert encoder.known_share(" ") == 0


def write_tiny_roberta(folder: Path) -> Path:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    own = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    own.train_from_iterator([*TEXTS] * 3, vocab_size=280, special_tokens=special)
    own.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=80,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(str(folder))
    return folder
