"""Texts as numbers of words: the small text encoder's tokenizer, with a vocabulary of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

PAD, UNKNOWN = 0, 1
_FIRST = 2
_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?|>")


def split_words(text: str) -> list[str]:
    """A text's words in lower case; numbers and ``>`` are words, hyphens part them.

    >>> split_words("Nuclear enlargement >3x, N/C")
    ['nuclear', 'enlargement', '>', '3', 'x', 'n', 'c']
    """
    return _WORD.findall(text.lower())


def collect_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Every word of some texts, in alphabetical order."""
    return tuple(sorted({word for text in texts for word in split_words(text)}))


class WordTokenizer:
    """Words to numbers; a word that is not in the list is `UNKNOWN`."""

    def __init__(self, words: Sequence[str]) -> None:
        """``words``: the known ones; their order is their number."""
        self.words = tuple(words)
        self._numbers = {word: _FIRST + i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        """How many numbers there are, those for padding and unknown words included."""
        return _FIRST + len(self.words)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Numbers (N, T) of the words of each text, filled up with `PAD`; T is at least 1."""
        rows = [[self._numbers.get(word, UNKNOWN) for word in split_words(text)] for text in texts]
        length = max([1, *map(len, rows)])
        return torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])  # (N, T)

    def known_share(self, text: str) -> float:
        """Share of a text's words that are known; 0 for a text without words."""
        words = split_words(text)
        return sum(word in self._numbers for word in words) / len(words) if words else 0.0
