"""Text encoders: a small one trained here on words, and any pretrained one of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koilo.errors import ConfigError
from koilo.language.words import PAD, UNKNOWN, WordTokenizer

WORDS = "words"
"""The name of the small encoder; any other name is a folder of a pretrained one."""

_LONGEST = 64


class WordEncoder(nn.Module):
    """Words to one vector a text: two layers of attention, then the mean over the words.

    Args:
        words: the words it knows.
        width: of the vectors.
        dropout: in training, also the share of words that are taken for unknown, so that a text
            with a strange word still means something.
    """

    def __init__(self, words: Sequence[str], width: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.tokenizer = WordTokenizer(words)
        self.width, self.dropout = width, dropout
        self.embed = nn.Embedding(len(self.tokenizer), width, padding_idx=PAD)
        self.place = nn.Parameter(0.02 * torch.randn(_LONGEST, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=dropout, batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors (N, width) of texts; what stands after 64 words is not read."""
        numbers = self.tokenizer(texts)[:, :_LONGEST].to(self.place.device)  # (N, T)
        real = numbers != PAD
        if self.training:
            hidden = real & (torch.rand(numbers.shape, device=numbers.device) < self.dropout)
            numbers = numbers.masked_fill(hidden, UNKNOWN)
        real[:, 0] = True  # a text without words has one place all the same
        x = self.embed(numbers) + self.place[: numbers.shape[1]]  # (N, T, width)
        x = self.norm(self.layers(x, src_key_padding_mask=~real))
        weights = real.float().unsqueeze(2)
        return (x * weights).sum(1) / weights.sum(1)  # (N, width)

    def known_share(self, text: str) -> float:
        """Share of a text's words that it knows."""
        return self.tokenizer.known_share(text)


class PretrainedEncoder(nn.Module):
    """A pretrained encoder of transformers (the paper: RoBERTa-base) out of a local folder.

    Nothing is fetched. A text's vector is the mean of its last hidden states.

    Raises:
        ConfigError: the folder holds no model and tokenizer of transformers.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self.model = AutoModel.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"There is no text encoder in {folder} ({' '.join(str(error).split())[:150]}). "
                f"Allowed: {WORDS}, or a folder with a model and tokenizer of transformers. "
                "Download it beforehand: koilo fetches nothing."
            ) from error
        self.width = int(self.model.config.hidden_size)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors (N, width) of texts."""
        device = next(self.model.parameters()).device
        batch = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=_LONGEST
        ).to(device)
        states = self.model(**batch).last_hidden_state  # (N, T, width)
        weights = batch["attention_mask"].float().unsqueeze(2)
        pooled: Tensor = (states * weights).sum(1) / weights.sum(1)
        return pooled  # (N, width)

    def known_share(self, text: str) -> float:
        """1 where there is a text: its pieces of words cover every word."""
        return float(bool(text.strip()))


TextEncoder = WordEncoder | PretrainedEncoder


def build_text_encoder(name: str, words: Sequence[str], **config: Any) -> TextEncoder:
    """The small encoder for ``words``, else the pretrained one in the folder ``name``.

    Raises:
        ConfigError: the folder holds none.
    """
    return WordEncoder(words, **config) if name == WORDS else PretrainedEncoder(name)
