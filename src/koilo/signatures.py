"""What a reader signed of a slide: who, when, meaning what, over which files; only appended.

``DIR/<slide_id>/signatures.json`` holds all signatures of a slide, oldest first. Each carries the
SHA-256 of the result and the cells that were signed and of the signature before it, so that a
change of either shows. The last one stands; an amendment keeps what it amends.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from koilo.errors import ConfigError, OutputError
from koilo.files import sha256_file, sha256_text, write_json
from koilo.results import CELLS, RESULT
from koilo.taxonomy import CYTOLOGY, NEGATIVE

SIGNATURES = "signatures.json"
FORMAT = 1

MEANINGS = ("screened", "reviewed", "approved", "amended", "corrected")
"""What a signature may mean; the first three rise, the last two change what was signed before."""
AMENDING = ("amended", "corrected")
ADEQUACIES = ("satisfactory", "unsatisfactory")
ORGANISMS = ("trichomonas", "candida", "bacterial-vaginosis", "actinomyces", "herpes", "cmv")

TOGETHER = (frozenset({"LSIL", "ASC-H"}),)
"""Squamous classes that may be signed together; AGC may stand beside any squamous class."""
ENDOMETRIAL_AGE = 45
"""Bethesda 2014 reports endometrial cells from this age on."""

_LONGEST_NAME, _LONGEST_REMARK = 120, 2_000
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
"""Control characters, and those that let a name look like another."""


@dataclass(frozen=True)
class Signature:
    """One reader's signature of one slide's result.

    ``interpretation`` holds one class or several of the Bethesda System, in koilo's order; it is
    empty only where the specimen was signed as unsatisfactory. ``former_sha256`` is the hash of the
    signature before it, None for the first.
    """

    slide_id: str
    reader: str
    meaning: str
    signed_at: str
    """UTC, ISO 8601"""
    interpretation: tuple[str, ...]
    result_sha256: str
    cells_sha256: str
    adequacy: str | None = None
    """``satisfactory``, ``unsatisfactory`` or None where the reader gave no verdict"""
    transformation_zone: bool | None = None
    """whether the reader saw its component; a remark, never a reason to repeat"""
    endometrial_cells: bool = False
    """seen, at an age of 45 or more"""
    organisms: tuple[str, ...] = ()
    remark: str | None = None
    follow_up: Mapping[str, Any] | None = None
    """what a follow-up table suggested when this was signed, with its version; None if not asked"""
    former_sha256: str | None = field(default=None)

    @property
    def category(self) -> str | None:
        """General category: ``negative``, ``abnormality``, ``other``; None if unsatisfactory."""
        if not self.interpretation:
            return None
        if self.interpretation != (NEGATIVE,):
            return "abnormality"
        return "other" if self.endometrial_cells else "negative"

    @property
    def is_amendment(self) -> bool:
        """True where it changes what was signed before it."""
        return self.meaning in AMENDING

    @property
    def sha256(self) -> str:
        """Hash of all it says: what the next signature carries as ``former_sha256``."""
        return sha256_text(json.dumps(asdict(self), sort_keys=True, ensure_ascii=False))


def read_signatures(folder: Path) -> tuple[Signature, ...]:
    """All signatures of the slide whose results are in ``folder``, oldest first; () if none.

    Raises:
        OutputError: the file is damaged, of another slide, or a signature in it was altered.
    """
    path = folder / SIGNATURES
    if not path.exists():
        return ()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError("another format")
        signatures = tuple(_from_json(item) for item in value["signatures"])
        if not signatures:
            raise ValueError("it holds none")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{path} is not a list of koilo's signatures ({error}). Its slide counts as signed and "
            "is left alone. Bring the file back from a copy."
        ) from error
    former = None
    for number, signature in enumerate(signatures, start=1):
        if signature.former_sha256 != former:
            raise OutputError(
                f"{path}: signature {number} does not follow from the one before it. A signed "
                "record may not be changed. Bring the file back from a copy."
            )
        former = signature.sha256
    if value["last_sha256"] != former:
        raise OutputError(
            f"{path}: the last signature is not as it was written. A signed record may not be "
            "changed. Bring the file back from a copy."
        )
    return signatures


def standing_signature(folder: Path) -> Signature | None:
    """The signature that stands: the last one, over the result as it is now; None if unsigned.

    Raises:
        OutputError: the signatures are damaged, or result.json or cells.parquet changed since.
    """
    signatures = read_signatures(folder)
    if not signatures:
        return None
    last = signatures[-1]
    if last.slide_id != unicodedata.normalize("NFC", folder.resolve().name):
        raise OutputError(
            f"{folder / SIGNATURES} is of slide {last.slide_id}. A signature stands for its own "
            "slide only. Take it back to that slide's folder."
        )
    for name, signed in zip((RESULT, CELLS), (last.result_sha256, last.cells_sha256), strict=True):
        if _hash(folder / name) != signed:
            raise OutputError(
                f"{folder / name} changed since {last.reader} signed it at {last.signed_at}. A "
                "signature holds for the files it was given on. Bring them back from a copy, or "
                "sign again with --meaning amended."
            )
    return last


def is_signed(folder: Path) -> bool:
    """True where the slide of ``folder`` was ever signed, even if the file was damaged since."""
    return (folder / SIGNATURES).exists()


def add_signature(folder: Path, signature: Signature) -> Signature:
    """Check ``signature`` and append it to the slide's; the former ones stay as they are.

    Its hashes and time are set here, whatever they were.

    Returns:
        the signature as it was written.

    Raises:
        ConfigError: a name, class or combination is not allowed, or the meaning hides an amendment.
        OutputError: the former signatures are damaged, or the folder cannot be written.
    """
    check_signature(signature)
    former = read_signatures(folder)
    _check_meaning(signature, former)
    values = {item.name: getattr(signature, item.name) for item in fields(Signature)}
    values |= {
        "interpretation": tuple(sorted(signature.interpretation, key=CYTOLOGY.index)),
        "signed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "result_sha256": _hash(folder / RESULT),
        "cells_sha256": _hash(folder / CELLS),
        "former_sha256": former[-1].sha256 if former else None,
    }
    written = Signature(**values)
    everything = [_to_json(item) for item in (*former, written)]
    value = {"format": FORMAT, "signatures": everything, "last_sha256": written.sha256}
    write_json(folder / SIGNATURES, value)
    return written


def check_signature(signature: Signature) -> None:
    """Refuse what no reader can mean.

    Raises:
        ConfigError: saying what is wrong, what is allowed and what to do.
    """
    _check_text("reader", signature.reader, _LONGEST_NAME)
    if signature.remark is not None:
        _check_text("remark", signature.remark, _LONGEST_REMARK)
    _check_one_of("meaning", (signature.meaning,), MEANINGS)
    _check_one_of("interpretation", signature.interpretation, CYTOLOGY)
    _check_one_of("organisms", signature.organisms, ORGANISMS)
    if signature.adequacy is not None:
        _check_one_of("adequacy", (signature.adequacy,), ADEQUACIES)
    _check_together(signature)


def _check_together(signature: Signature) -> None:
    """Refuse classes that contradict each other or the adequacy."""
    names = signature.interpretation
    shown = ", ".join(names)
    if len(set(names)) < len(names):
        raise ConfigError(f"--interpretation {shown} names a class twice. Name each once.")
    if signature.adequacy == "unsatisfactory":
        if names:
            raise ConfigError(
                f"--interpretation {shown} contradicts --adequacy unsatisfactory: such a "
                "specimen has no interpretation, and any abnormal cell makes it satisfactory. "
                "Leave out one of the two."
            )
        return
    if not names:
        raise ConfigError(
            "There is no --interpretation. One class or several are needed, or --adequacy "
            "unsatisfactory. Say what you signed."
        )
    squamous = frozenset(names) - {"AGC"}
    if (NEGATIVE in names and len(names) > 1) or (len(squamous) > 1 and squamous not in TOGETHER):
        raise ConfigError(
            f"--interpretation {shown} contradicts itself. Together may stand LSIL with ASC-H, and "
            "AGC with any squamous class; NILM stands alone. Sign the more severe class."
        )


def _check_meaning(signature: Signature, former: Sequence[Signature]) -> None:
    """After a first signature the next one rises in meaning or says that it amends."""
    if not former:
        if signature.is_amendment:
            raise ConfigError(
                f"--meaning {signature.meaning}: slide {signature.slide_id} has no signature to "
                f"amend. The first is one of {', '.join(MEANINGS[:3])}. Choose one of these."
            )
        return
    if signature.is_amendment:
        return
    last = former[-1]
    same = last.interpretation == tuple(sorted(signature.interpretation, key=CYTOLOGY.index))
    rises = not any(item.is_amendment for item in former) and MEANINGS.index(
        signature.meaning
    ) > MEANINGS.index(last.meaning)
    if not (rises and same):
        raise ConfigError(
            f"Slide {signature.slide_id} was {last.meaning} as "
            f"{', '.join(last.interpretation) or 'unsatisfactory'} by {last.reader}. A later "
            "signature says the same with a higher meaning (screened, reviewed, approved), or "
            "amends. Sign with --meaning amended (or corrected); the former stays on record."
        )


def _check_text(name: str, text: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or _FORBIDDEN.search(text):
        shown = _FORBIDDEN.sub("?", text)[:40]
        raise ConfigError(
            f"--{name} '{shown}' is empty, longer than {longest} characters or holds control "
            "characters. Any letters of any script are allowed. Write it as plain text."
        )


def _check_one_of(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = [value for value in values if value not in allowed]
    if unknown:
        raise ConfigError(
            f"--{name} '{unknown[0][:60]}' is unknown. Allowed: {', '.join(allowed)}. "
            "Choose among these."
        )


def _hash(path: Path) -> str:
    """Hash of a signed file; of a field's or slide's missing one, the empty text."""
    try:
        return sha256_file(path)
    except OSError:
        return ""


def _to_json(signature: Signature) -> dict[str, Any]:
    return asdict(signature) | {"category": signature.category}


def _from_json(item: dict[str, Any]) -> Signature:
    values = dict(item)
    category = values.pop("category")
    for name in ("interpretation", "organisms"):
        values[name] = tuple(values[name])
    signature = Signature(**values)
    if signature.category != category:
        raise ValueError(f"category {category} does not follow from the interpretation")
    return signature
