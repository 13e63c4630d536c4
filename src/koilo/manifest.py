"""The list of slides: ids, paths, labels, centres, splits; read from a CSV or found in folders."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from koilo.errors import ManifestError
from koilo.files import read_csv_rows, sha256_text, write_text

SLIDE_SUFFIXES = frozenset({".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".mrxs", ".scn"}) | {
    ".bif",
    ".svslide",
    ".czi",
    ".dcm",
}
IMAGE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg"])

_LONGEST_BYTES = 200
"""File systems take names of 255 bytes; a temporary name and ``-2`` have to fit as well."""

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')


@dataclass(frozen=True)
class SlideEntry:
    """One slide of a manifest; None where the manifest says nothing.

    ``path`` is absolute; a folder of ``.dcm`` is one slide. ``mpp`` in µm a pixel of level 0.
    """

    slide_id: str
    path: Path
    case_id: str | None = None
    centre: str | None = None
    label: str | None = None
    mpp: float | None = None
    split: str | None = None
    accession: str | None = None
    preparation: str | None = None
    site: str | None = None
    age: str | None = None
    lmp: str | None = None
    pregnant: str | None = None
    hpv: str | None = None
    history: str | None = None
    collected_on: str | None = None
    twin_of: str | None = None

    @property
    def case_facts(self) -> dict[str, str]:
        """What the manifest says of the specimen and the patient, for the report."""
        names = (
            "case_id centre accession preparation site age lmp pregnant hpv history collected_on"
        )
        return {name: str(getattr(self, name)) for name in names.split() if getattr(self, name)}


COLUMNS = tuple(field.name for field in fields(SlideEntry))

ALLOWED = {
    "preparation": ("conventional", "thinprep", "surepath", "other"),
    "site": ("cervix", "vagina", "post-hysterectomy"),
    "pregnant": ("yes", "no", "unknown"),
    "hpv": ("negative", "16", "18", "other", "positive", "unknown"),
}


@dataclass(frozen=True)
class Found:
    """The slides that some paths name, and the files beside them that are none, with the reason."""

    slides: tuple[SlideEntry, ...]
    ignored: tuple[tuple[Path, str], ...] = ()


def read_manifest(path: Path) -> tuple[SlideEntry, ...]:
    """Read a manifest CSV; relative paths are relative to the manifest's folder.

    Columns that koilo does not know are passed over.

    Raises:
        ManifestError: naming every row and column that is wrong, in one line.
    """
    try:
        columns, rows = read_csv_rows(path)
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read as a manifest ({error}). A manifest is a UTF-8 CSV with "
            "slide_id and path. Check the file."
        ) from error
    missing = {"slide_id", "path"} - set(columns)
    if missing:
        raise ManifestError(
            f"{path} has no column {' and '.join(sorted(missing))}. A manifest is a CSV with "
            "slide_id and path. Add the column, or name the slides themselves."
        )
    entries: list[SlideEntry] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=2):
        entry, wrong = _entry(row, path.parent)
        problems += [f"row {number}: {problem}" for problem in wrong]
        if entry:
            entries.append(entry)
    doubled = [i for i, n in Counter(entry.slide_id for entry in entries).items() if n > 1]
    problems += [f"slide_id '{slide_id}' stands twice" for slide_id in doubled]
    if problems:
        shown = "; ".join(problems[:8]) + (
            f"; and {len(problems) - 8} more" if problems[8:] else ""
        )
        raise ManifestError(f"{path} is no valid manifest: {shown}. Mend these and run again.")
    return tuple(entries)


def write_manifest(path: Path, entries: Iterable[SlideEntry]) -> None:
    """Write a manifest CSV with the columns in use; paths below its folder become relative."""
    rows = list(entries)
    used = [
        name
        for name in COLUMNS
        if name in ("slide_id", "path") or any(getattr(e, name) for e in rows)
    ]
    folder = path.parent.resolve()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(used)
    for entry in rows:
        place = entry.path.resolve()
        shown = place.relative_to(folder) if place.is_relative_to(folder) else place
        row = {**{name: getattr(entry, name) for name in used}, "path": shown.as_posix()}
        writer.writerow(["" if row[name] is None else row[name] for name in used])
    write_text(path, buffer.getvalue())


def find_slides(paths: Sequence[Path], *, exclude: Path | None = None) -> Found:
    """The slides that ``paths`` name: files, folders searched downwards, manifests (``.csv``).

    Args:
        paths: what the user named.
        exclude: a folder that is not searched (the results).

    Raises:
        ManifestError: a path does not exist, a manifest is malformed, or names a file twice.
    """
    slides: list[SlideEntry] = []
    ignored: list[tuple[Path, str]] = []
    for path in paths:
        if not path.exists():
            raise ManifestError(
                f"{path} does not exist. Name slides, folders or a manifest (.csv). Check the path."
            )
        if path.suffix.lower() == ".csv" and path.is_file():
            slides += _refuse_doubled_files(path, read_manifest(path))
        elif path.is_dir() and not _is_dicom_folder(path):
            inside = _search(path, exclude.resolve() if exclude else None)
            slides += [SlideEntry(slide_id_of(p.relative_to(path)), p) for p in inside[0]]
            ignored += inside[1]
        else:
            slides.append(SlideEntry(slide_id_of(Path(path.resolve().name)), path))
    unique = list({entry.path.resolve(): entry for entry in reversed(slides)}.values())[::-1]
    return Found(tuple(_without_collisions(unique)), tuple(ignored))


def _refuse_doubled_files(path: Path, entries: Sequence[SlideEntry]) -> Sequence[SlideEntry]:
    """Refuse two slides on one file: read once, the other would be missing from the results.

    Raises:
        ManifestError: naming both.
    """
    first: dict[Path, str] = {}
    for entry in entries:
        other = first.setdefault(entry.path.resolve(), entry.slide_id)
        if other != entry.slide_id:
            raise ManifestError(
                f"{path}: slides '{other}' and '{entry.slide_id}' both name {entry.path}. Each "
                "slide has a file of its own. Correct the path of one, or leave it out."
            )
    return entries


def slide_id_of(relative: Path) -> str:
    """The id of a slide at ``relative`` below the named folder.

    The path without its ending, joined by ``__``, NFC; characters that no file system likes
    become ``_``, and what no file system is long enough for ends in a hash of the whole.

    >>> slide_id_of(Path("day 1/a:b.svs"))
    'day 1__a_b'
    """
    stem = relative.with_suffix("") if _has_suffix(relative) else relative
    text = unicodedata.normalize("NFC", "__".join(stem.parts))
    text = _FORBIDDEN.sub("_", text)
    text = text if text.strip(". ") else "_" + text.replace(".", "_")
    if len(text.encode("utf-8", "replace")) <= _LONGEST_BYTES:
        return text
    cut = text.encode("utf-8", "replace")[: _LONGEST_BYTES - 9].decode("utf-8", "ignore")
    return f"{cut}~{sha256_text(text)[:8]}"


def given_slide_id(row: Mapping[str, str]) -> str:
    """The id that a row gives, NFC, since programs write the same letters in two ways; or empty."""
    return unicodedata.normalize("NFC", row["slide_id"].strip())


def _has_suffix(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES | IMAGE_SUFFIXES


def _without_collisions(entries: Sequence[SlideEntry]) -> list[SlideEntry]:
    taken: set[str] = set()
    result = []
    for entry in entries:
        slide_id, number = entry.slide_id, 1
        while slide_id in taken:
            number += 1
            slide_id = f"{entry.slide_id}-{number}"
        taken.add(slide_id)
        result.append(replace(entry, slide_id=slide_id))
    return result


def _search(folder: Path, exclude: Path | None) -> tuple[list[Path], list[tuple[Path, str]]]:
    slides: list[Path] = []
    ignored: list[tuple[Path, str]] = []
    pending = [folder]
    while pending:
        here = pending.pop(0)
        children = sorted(here.iterdir())
        owned = _owned(children)
        for child in children:
            if exclude and child.resolve() == exclude:
                continue
            if child in owned:
                ignored.append((child, f"belongs to {owned[child].name}"))
            elif child.is_dir():
                if _is_dicom_folder(child):
                    slides.append(child)
                elif not child.is_symlink():
                    pending.append(child)
            elif not child.is_file():
                ignored.append((child, "not a regular file"))
            elif _has_suffix(child) and not child.name.startswith("."):
                slides.append(child)
            else:
                ignored.append((child, "not a slide or image by its ending"))
    return sorted(slides), ignored


def _owned(children: Sequence[Path]) -> dict[Path, Path]:
    """Files and folders that belong to a slide among ``children``: child -> that slide."""
    owned: dict[Path, Path] = {}
    by_name = {child.name: child for child in children}
    for child in children:
        suffix = child.suffix.lower()
        if suffix == ".mrxs" and child.stem in by_name:
            owned[by_name[child.stem]] = child
        elif suffix in (".vms", ".vmu"):
            text = child.read_bytes()[:1_000_000].decode("utf-8", "replace")
            for name in re.findall(r"=\s*(\S+\.(?:jpg|ngr))", text, re.IGNORECASE):
                if name in by_name:
                    owned[by_name[name]] = child
    owned.update(_dicom_siblings([c for c in children if c.suffix.lower() == ".dcm"]))
    return owned


def _dicom_siblings(files: Sequence[Path]) -> dict[Path, Path]:
    """DICOM files beside other slides: all of a series but the first belong to the first."""
    if not files:
        return {}
    import pydicom

    first: dict[str, Path] = {}
    owned: dict[Path, Path] = {}
    for file in files:
        try:
            header = pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"])
            series = str(header.SeriesInstanceUID)
        except Exception:  # a broken file stays a slide of its own, and its reading says why
            continue
        if series in first:
            owned[file] = first[series]
        else:
            first[series] = file
    return owned


def _is_dicom_folder(path: Path) -> bool:
    """True for a folder whose slide files are all ``.dcm``: one DICOM series, one slide."""
    if not path.is_dir():
        return False
    suffixes = {child.suffix.lower() for child in path.iterdir() if child.is_file()}
    return ".dcm" in suffixes and not suffixes & (SLIDE_SUFFIXES | IMAGE_SUFFIXES - {".dcm"}) - {
        ".dcm"
    }


def _entry(row: dict[str, str], folder: Path) -> tuple[SlideEntry | None, list[str]]:
    values = {name: row.get(name, "").strip() or None for name in COLUMNS}
    wrong: list[str] = []
    slide_id = given_slide_id(row)
    if not slide_id.strip(". ") or _FORBIDDEN.search(slide_id):
        wrong.append(f"slide_id '{slide_id}' is empty or holds one of / \\ : * ? \" < > |")
    if len(slide_id.encode("utf-8", "replace")) > _LONGEST_BYTES:
        wrong.append(f"slide_id '{slide_id[:20]}…' is longer than {_LONGEST_BYTES} bytes")
    if not values["path"]:
        wrong.append("path is empty")
    mpp: float | None = None
    if values["mpp"]:
        try:
            mpp = float(values["mpp"])
        except ValueError:
            wrong.append(f"mpp '{values['mpp']}' is not a number (µm a pixel, such as 0.25)")
    for name, allowed in ALLOWED.items():
        value = values[name]
        if value and value.lower() not in allowed:
            wrong.append(f"{name} '{value}' is not one of {', '.join(allowed)}")
        values[name] = value.lower() if value else None
    if wrong:
        return None, wrong
    plain = {
        name: value for name, value in values.items() if name not in ("slide_id", "path", "mpp")
    }
    return SlideEntry(slide_id, folder / (values["path"] or ""), mpp=mpp, **plain), []
