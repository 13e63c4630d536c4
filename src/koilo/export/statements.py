"""What an export says in words, the same in every format and in the report's language."""

from __future__ import annotations

from koilo.export.record import RESEARCH, Record
from koilo.report.facts import build_headline
from koilo.report.language import Language, load_language
from koilo.report.reasons import human_text
from koilo.report.rows import adequacy_text
from koilo.report.signed import interpretation_text, reader_fields, signature_line, suggestion

TITLE = "Cervical cytology, screening by a program"


def adequacy(record: Record) -> str:
    """The reader's verdict where there is one, and the program's estimate."""
    words = _words(record)
    parts = [f"{words.plain('row.cellularity')}: {adequacy_text(record.result, words)}"]
    verdict = record.signature.adequacy if record.signature else None
    if verdict is not None:
        parts.insert(0, adequacy_verdict(record, verdict))
    return _sentences(parts)


def adequacy_verdict(record: Record, verdict: str) -> str:
    """A reader's verdict of adequacy in words."""
    return _words(record).plain(f"adequacy.{verdict}")


def category(record: Record) -> str | None:
    """General category; None until a reader signed, and for an unsatisfactory specimen."""
    found = record.signature.category if record.signature else None
    return _words(record).plain(f"category.{found}") if found else None


def interpretation(record: Record) -> str | None:
    """The signed interpretation; None until a reader signed."""
    if record.signature is None:
        return None
    return interpretation_text(record.signature, _words(record))


def follow_up(record: Record) -> str | None:
    """What a follow-up table said when the result was signed, with the table and its version."""
    found = suggestion(record.signature, _words(record))
    return None if found is None else _sentences([found.headline, found.table, found.source])


def screening(record: Record) -> str:
    """What the program suggests for review; never a diagnosis."""
    words, result = _words(record), record.result
    headline = build_headline(result, words)
    parts = [words.plain("result", text=headline.text)]
    if headline.suggestion:
        meaning = words.class_name(headline.suggestion)
        said = words("result.suggested", name=headline.suggestion, meaning=meaning)
        parts.append(str(said.striptags()))
    if result.image_quality is not None:
        verdict = words.phrase(result.image_quality.verdict)
        parts.append(f"{words.plain('row.quality')}: {verdict}")
    if doubt := human_text(result, words):
        parts.append(f"{words.plain('reasons.human')}: {doubt}")
    return _sentences(parts)


def conclusion(record: Record) -> str:
    """The whole in a few sentences: what was signed, or that it awaits a reader."""
    words = _words(record)
    parts = ["TEST DATA"] if record.test_data else []
    if record.laboratory.intended_use == RESEARCH:
        parts.append(words.plain("use.research"))
    if record.signature is not None:
        parts.append(signature_line(record.signature, words))
    parts += [
        f"{field.title}: {field.text or words.plain('awaiting')}"
        for field in reader_fields(record.signature, words)
    ]
    parts += [text for text in (follow_up(record), screening(record)) if text]
    return _sentences(parts)


def _words(record: Record) -> Language:
    return load_language(record.language)


def _sentences(parts: list[str]) -> str:
    """Each part ends in one full stop."""
    return " ".join(part if part.endswith((".", "。")) else f"{part}." for part in parts)
