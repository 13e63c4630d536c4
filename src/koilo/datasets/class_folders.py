"""Sets whose folders are their classes: Herlev and Mendeley LBC are laid out so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from koilo.datasets.conversion import require_folder
from koilo.datasets.labels import IGNORE
from koilo.errors import ManifestError
from koilo.taxonomy import fold_members


def pictures_by_class(
    source: Path,
    classes: Mapping[str, str],
    *,
    what: str,
    suffixes: Collection[str],
    not_ending: str = "",
) -> dict[Path, str]:
    """The pictures in every folder below ``source`` that is named as a class, with that class.

    Folder names are compared by their letters alone, so that blanks, case and a number in front do
    not matter. Other folders are passed over.

    Args:
        source: folder of the set.
        classes: folder name -> the set's own class.
        what: what the set is, for messages.
        suffixes: of the pictures, in lower case.
        not_ending: stems with this ending are no pictures (masks).

    Raises:
        ManifestError: ``source`` is no folder, or has no such folder with pictures.
    """
    require_folder(source, what)
    known = {_letters(name): value for name, value in classes.items()}
    folders = [source, *sorted(path for path in source.rglob("*") if path.is_dir())]
    found = {
        path: known[_letters(folder.name)]
        for folder in folders
        if _letters(folder.name) in known
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes
        and not (not_ending and path.stem.lower().endswith(not_ending))
    }
    if not found:
        raise ManifestError(
            f"{source} has no folder of pictures named as a class. {what} Folders are named "
            f"{', '.join(dict.fromkeys(classes))}. Name the folder that holds them."
        )
    return found


def refuse_unknown(set_name: str, own: Collection[str], given: Collection[str]) -> None:
    """Refuse labels for classes that a set does not have: they would do nothing.

    Raises:
        ManifestError: naming them and the set's own.
    """
    if unknown := sorted(set(given) - set(own)):
        raise ManifestError(
            f"{set_name} has no class {', '.join(unknown)}. It has {', '.join(own)}. Mend --labels."
        )


def label_of(name: str, own: Mapping[str, str], given: Mapping[str, str]) -> str | None:
    """Bethesda class of one of a set's classes; the user's mapping wins; None is to be left out.

    Raises:
        ManifestError: the user's mapping names no Bethesda class.
    """
    label = given.get(name, own[name])
    if label == IGNORE:
        return None
    try:
        fold_members(label)
    except ValueError as error:
        raise ManifestError(f"Label {name} was given as {label}: {error} Mend --labels.") from error
    return label


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalpha())
