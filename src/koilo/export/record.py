"""What an export says of one slide: its result, who signed it, whose it is, and how final it is."""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from koilo import __version__
from koilo.errors import OutputError
from koilo.export.patients import Patient
from koilo.report.laboratory import Laboratory
from koilo.report.language import load_language
from koilo.results import RESULT, read_slide_result
from koilo.signatures import Signature, standing_signature
from koilo.types import SlideResult

Status = Literal["preliminary", "final", "amended", "corrected"]

RESEARCH = "research"
AWAITING = "Awaiting reader."

_UUIDS = uuid.uuid5(uuid.NAMESPACE_URL, "koilo:export")


@dataclass(frozen=True)
class Record:
    """One slide's result as every format writes it."""

    folder: Path
    result: SlideResult
    signature: Signature | None
    patient: Patient | None = None
    laboratory: Laboratory = field(default_factory=Laboratory)
    language: str = "en"
    test_data: bool = False

    @property
    def status(self) -> Status:
        """Preliminary until a reader signed, and always where the intended use is research."""
        if self.signature is None or self.laboratory.intended_use == RESEARCH:
            return "preliminary"
        if self.signature.meaning == "amended":
            return "amended"
        return "corrected" if self.signature.meaning == "corrected" else "final"

    @property
    def case(self) -> dict[str, str]:
        """What the manifest says of the specimen, each in one line; nothing that was not given."""
        given: dict[str, Any] = self.result.slide.get("case") or {}
        return {name: text for name, value in given.items() if (text := _one_line(value))}

    @property
    def collected_on(self) -> date | None:
        """The day of collection; None where it was not given as a date (YYYY-MM-DD)."""
        try:
            return date.fromisoformat(self.case.get("collected_on", ""))
        except ValueError:
            return None

    @property
    def issued_at(self) -> datetime:
        """When it was signed, else when the slide was read; with its zone."""
        given = self.signature.signed_at if self.signature else self.started_at
        moment = datetime.fromisoformat(given) if given else datetime.now(UTC)
        moment = moment if moment.tzinfo else moment.astimezone()
        return moment.replace(microsecond=0)

    @property
    def started_at(self) -> str | None:
        """When the slide was read, ISO 8601; None where the result does not say."""
        given = self.result.provenance.get("started_at")
        return str(given) if given else None

    @property
    def remark(self) -> str:
        """The use that it is meant for, and whether a reader signed: in English, for programs."""
        research = load_language("en").plain("use.research")
        use = research if self.laboratory.intended_use == RESEARCH else ""
        test = "TEST DATA." if self.test_data else ""
        waiting = AWAITING if self.signature is None else ""
        return " ".join(part for part in (test, use, waiting) if part)

    @property
    def software(self) -> str:
        """The version of koilo that read the slide."""
        return str(self.result.provenance.get("koilo_version") or __version__)

    @property
    def bundle(self) -> str:
        """Name of the model bundle."""
        return str(self.result.provenance.get("bundle") or "unnamed")

    @property
    def bundle_sha256(self) -> str:
        """Hash of the model bundle; empty where the result does not say."""
        return str(self.result.provenance.get("bundle_sha256") or "")

    def uuid(self, name: str) -> str:
        """The same UUID each time for one part of one slide's result."""
        return str(uuid.uuid5(_UUIDS, f"{self.result.slide_id}/{self.result.fingerprint}/{name}"))


def read_record(
    folder: Path,
    *,
    patient: Patient | None = None,
    laboratory: Laboratory | None = None,
    language: str = "en",
    test_data: bool = False,
) -> Record:
    """Read a slide's result, cells and standing signature.

    Args:
        folder: the slide's results, ``DIR/<slide_id>``.
        patient: whose slide it is, where that was given.
        laboratory: the header, and what the result is for; default: research.
        language: ``en`` or ``zh``, of the texts.
        test_data: mark what is written as test data.

    Raises:
        OutputError: there is no result, it is a failed one, or it changed since it was signed.
    """
    if not (folder / RESULT).is_file():
        raise OutputError(
            f"{folder} holds no result. A folder that `koilo screen` made is needed. Check --slide "
            "and the results folder."
        )
    result = read_slide_result(folder)
    if result.status == "failed":
        raise OutputError(
            f"{result.slide_id} failed ({(result.error or 'no reason given').rstrip('.')}). Only a "
            "slide that was read can be exported. Screen it again."
        )
    return Record(
        folder,
        result,
        standing_signature(folder),
        patient,
        laboratory or Laboratory(),
        language,
        test_data,
    )


def _one_line(value: Any) -> str:
    """A value as text without control characters; empty where there is none."""
    text = "" if value is None else str(value)
    return "".join(" " if unicodedata.category(c) == "Cc" else c for c in text).strip()
