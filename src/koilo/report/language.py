"""The words of a report by language: one table a language, the same keys in each.

``texts`` are koilo's own sentences; they may hold simple markup, and what is put into them is
escaped. ``phrases`` translate the fixed English texts that stand in results and bundles (verdicts,
flags, descriptions); a text that is not among them is data of others and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup

from koilo.errors import ConfigError
from koilo.taxonomy import CYTOLOGY, fold_members

LANGUAGES = ("en", "zh")

_WORD = re.compile("[a-z]")
"""Class codes and numbers hold no small letter; what holds one and is not known is others' text."""


@dataclass(frozen=True)
class Language:
    """One language's tables; called with a key it gives the text as safe markup."""

    code: str
    texts: Mapping[str, str]
    phrases: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]

    def __call__(self, key: str, **values: Any) -> Markup:
        """The text of ``key`` with ``values`` put in, escaped.

        Raises:
            KeyError: there is no such text: a mistake of the program's.
        """
        return Markup(self.texts[key]).format(**values)

    def plain(self, key: str, **values: Any) -> str:
        """The text of ``key`` as plain text, for attributes and for texts put into others."""
        return self.texts[key].format(**values)

    def phrase(self, text: str) -> str:
        """A fixed text of a result or a bundle in this language; any other text as it is.

        A verdict is read in its parts: ``rescan: this; that``.
        """
        if text in self.phrases or not self.phrases:
            return self.phrases.get(text, text)
        for pattern, translated in self.patterns:
            found = pattern.fullmatch(text)
            parts = found.groups() if found else ()
            said = [self.phrase(part) for part in parts]
            if found and all(
                a != b or not _WORD.search(a) for a, b in zip(parts, said, strict=True)
            ):
                return translated.format(*said)
        head, colon, rest = text.partition(": ")
        if colon and f"{head}:" in self.phrases:
            listed = self.texts["list.semicolon"].join(map(self.phrase, rest.split("; ")))
            return self.phrases[f"{head}:"] + listed
        return text

    def class_name(self, label: str) -> str:
        """The words behind a class or a fold; the label itself where it is none of koilo's."""
        parts = label.split("+")
        if not all(part in CYTOLOGY for part in parts):
            return label
        return self.texts["list.or"].join(
            self.texts[f"class.{part}"] for part in fold_members(label)
        )


@cache
def load_language(code: str) -> Language:
    """The tables of a language.

    Raises:
        ConfigError: there is no report in that language.
    """
    if code not in LANGUAGES:
        raise ConfigError(
            f"There is no report in language {code!r}. Known: {', '.join(LANGUAGES)}. "
            "Choose one of these."
        )
    text = files("koilo.report").joinpath("texts", f"{code}.yaml").read_text(encoding="utf-8")
    tables = yaml.safe_load(text)
    phrases: dict[str, str] = tables.get("phrases", {})
    return Language(
        code=code,
        texts=tables["texts"],
        phrases={key: value for key, value in phrases.items() if "{}" not in key},
        patterns=tuple((_pattern(key), value) for key, value in phrases.items() if "{}" in key),
    )


def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(re.escape(part) for part in phrase.split("{}")))
