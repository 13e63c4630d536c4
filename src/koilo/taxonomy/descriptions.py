"""The description vocabulary as rows: which text is said of which class, in what words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from koilo.taxonomy.classes import fold_members, load_table


@dataclass(frozen=True)
class Description:
    """One option of the vocabulary.

    ``classes`` are those it may be said of. ``counts`` are the paper's annotations by class or
    fold, None where they are lost. ``learnt`` and ``held_out`` are other words for it: a text
    encoder learns from the former and is measured on the latter.
    """

    text: str
    classes: tuple[str, ...]
    counts: Mapping[str, int | None]
    learnt: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class OutsideQueries:
    """Queries that no description answers: to set the bound with, and to measure it on."""

    set_with: tuple[str, ...]
    held_out: tuple[str, ...]


@cache
def read_vocabulary() -> tuple[Description, ...]:
    """The 14 options: the 13 texts of squamous classes, and one text for all of AGC's.

    >>> [len(read_vocabulary()), read_vocabulary()[0].text, read_vocabulary()[-1].text]
    [14, 'normal cell', 'atypical glandular cells']
    """
    table, words = load_table("descriptions"), load_table("paraphrases")
    rows = [row for row in table["descriptions"] if set(row["classes"]) != {"AGC"}]
    options = [
        (
            row["text"],
            [name for name in row["classes"] if name != "AGC"],
            {name: n for name, n in row["counts"].items() if name != "AGC"},
        )
        for row in rows
    ]
    options.append((table["agc_collapsed"], ["AGC"], {"AGC": None}))
    return tuple(
        Description(
            text,
            tuple(classes),
            counts,
            tuple(words[text]["learnt"]),
            tuple(words[text]["held_out"]),
        )
        for text, classes, counts in options
    )


@cache
def outside_queries() -> OutsideQueries:
    """Things that a reader may ask for and that the vocabulary has no text for."""
    words = load_table("paraphrases")["outside"]
    return OutsideQueries(tuple(words["set_with"]), tuple(words["held_out"]))


def collapse(label: str, texts: Sequence[str]) -> tuple[str, ...]:
    """A cell's texts as options of the vocabulary: AGC's become one, whatever they were.

    >>> collapse("AGC", ["hyperchromasia", "loss of polarity"])
    ('atypical glandular cells',)
    >>> collapse("HSIL", ["hyperchromasia"])
    ('hyperchromasia',)
    """
    return (load_table("descriptions")["agc_collapsed"],) if label == "AGC" else tuple(texts)


def may_be_said(description: Description, label: str) -> bool:
    """True where the vocabulary lists the text for the class, or for a member of the fold."""
    return bool(set(fold_members(label)) & set(description.classes))
