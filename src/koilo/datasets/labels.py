"""From a source's own class names to Bethesda classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from koilo.errors import ManifestError
from koilo.taxonomy import CYTOLOGY, fold_members

IGNORE = "ignore"
"""A label that stands for "leave these cells out"."""


def map_labels(path: Path, names: Iterable[str], given: Mapping[str, str]) -> dict[str, str | None]:
    """Source name -> Bethesda class or fold; None for names that are to be left out.

    A name that is a Bethesda class already needs no mapping (case and blanks do not matter).

    Args:
        path: the source, for the message.
        names: every name that occurs in it.
        given: the user's mapping; a value is a class, a fold such as ``HSIL+SCC``, or ``ignore``.

    Raises:
        ManifestError: naming every class that has no Bethesda class.
    """
    own = {_key(name): name for name in CYTOLOGY}
    result: dict[str, str | None] = {}
    unknown = []
    for name in sorted(set(names)):
        target = given.get(name, own.get(_key(name)))
        if target is None:
            unknown.append(name)
        elif target == IGNORE:
            result[name] = None
        else:
            _check(path, name, target)
            result[name] = target
    if unknown:
        raise ManifestError(
            f"{path} has classes that are not Bethesda's: {', '.join(unknown)}. Allowed: "
            f"{', '.join(CYTOLOGY)}, folds of them joined by +, or {IGNORE}. "
            'Say what each is with --labels \'{"name": "HSIL"}\'.'
        )
    return result


def _key(name: str) -> str:
    return "".join(letter for letter in name.upper() if letter.isalnum())


def _check(path: Path, name: str, target: str) -> None:
    try:
        fold_members(target)
    except ValueError as error:
        raise ManifestError(f"{path}: label {name} was given as {target}: {error}") from error
