"""What the reader signed, as the report's rows: until then each of them awaits a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from koilo.report.language import Language
from koilo.signatures import Signature


@dataclass(frozen=True)
class Field:
    """One line of the reader's part; ``text`` is None while it awaits a reader."""

    key: str
    title: str
    text: str | None


@dataclass(frozen=True)
class Suggestion:
    """What a follow-up table said when the slide was signed, with the table's version."""

    headline: str
    table: str
    source: str
    facts: str
    note: str | None
    gives_advice: bool


def reader_fields(signature: Signature | None, language: Language) -> tuple[Field, ...]:
    """Adequacy, general category and interpretation; what else was signed, only where it was."""
    t = language.plain
    if signature is None:
        names = ("adequacy", "category", "interpretation")
        return tuple(Field(name, t(f"signed.{name}"), None) for name in names)
    zone = {True: "seen", False: "absent", None: "not_said"}[signature.transformation_zone]
    adequacy = t(f"adequacy.{signature.adequacy}") if signature.adequacy else t("not_said")
    category = t(f"category.{signature.category}") if signature.category else t("category.none")
    rows = {
        "adequacy": adequacy,
        "zone": t("not_said") if zone == "not_said" else t(f"zone.{zone}"),
        "category": category,
        "interpretation": interpretation_text(signature, language),
    }
    if signature.organisms:
        named = [t(f"organism.{name}") for name in signature.organisms]
        rows["organisms"] = t("list.semicolon").join(named)
    if signature.endometrial_cells:
        rows["endometrial"] = t("endometrial")
    if signature.remark:
        rows["remark"] = signature.remark
    return tuple(Field(key, t(f"signed.{key}"), text) for key, text in rows.items())


def interpretation_text(signature: Signature, language: Language) -> str:
    """The signed classes with their meaning in words."""
    if not signature.interpretation:
        return language.plain("interpretation.none")
    named = [
        language.plain("interpretation.one", name=name, meaning=language.class_name(name))
        for name in signature.interpretation
    ]
    return language.plain("list.semicolon").join(named)


def signature_line(signature: Signature, language: Language) -> str:
    """Who signed, when, and what it means."""
    return language.plain(
        "signature.line",
        meaning=language.plain(f"meaning.{signature.meaning}"),
        reader=signature.reader,
        time=signature.signed_at.replace("T", " ").replace("Z", " UTC"),
    )


def former_lines(signatures: Sequence[Signature], language: Language) -> tuple[str, ...]:
    """The signatures before the one that stands, oldest first, each with what it said."""
    return tuple(
        language.plain(
            "signature.former",
            line=signature_line(item, language),
            interpretation=", ".join(item.interpretation) or language.plain("interpretation.none"),
        )
        for item in signatures[:-1]
    )


def suggestion(signature: Signature | None, language: Language) -> Suggestion | None:
    """The follow-up that was signed with the interpretation; None where none was asked for."""
    if signature is None or signature.follow_up is None:
        return None
    said, t = signature.follow_up, language.plain
    if said["status"] == "suggested":
        headline = t(f"outcome.{said['outcome']}")
    else:
        reasons = [t(f"reason.{name}") for name in said["reasons"]]
        headline = t(f"follow_up.{said['status']}", reasons=t("list.semicolon").join(reasons))
    note = said.get("note")
    return Suggestion(
        headline=headline,
        table=t("follow_up.table", name=said["table"], version=said["version"]),
        source=str(said["source"]),
        facts=t("list.semicolon").join(
            _fact(name, value, language) for name, value in said["facts"].items()
        ),
        note=None if note is None else language.phrase(str(note)),
        gives_advice=said["status"] == "suggested",
    )


def _fact(name: str, value: Any, language: Language) -> str:
    text = language.texts.get(f"case.{name}.{value}", str(value))
    return language.plain(f"fact.{name}", value=text)
