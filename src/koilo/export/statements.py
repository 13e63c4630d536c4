"""What an export says in words, the same in every format: adequacy, category, interpretation."""

from __future__ import annotations

from koilo.export.codes import CATEGORIES
from koilo.export.record import Record
from koilo.taxonomy import meaning

TITLE = "Cervical cytology, screening by a program"


def adequacy(record: Record) -> str:
    """The reader's verdict where there is one, with the program's estimate."""
    estimate = f"Estimate by the program: {_estimate(record)}."
    verdict = record.signature.adequacy if record.signature else None
    return f"{verdict.capitalize()} for evaluation. {estimate}" if verdict else estimate


def category(record: Record) -> str | None:
    """General category; None until a reader signed, and for an unsatisfactory specimen."""
    found = record.signature.category if record.signature else None
    return CATEGORIES[found] if found else None


def interpretation(record: Record) -> str | None:
    """The signed interpretation in words; None until a reader signed."""
    if record.signature is None:
        return None
    if not record.signature.interpretation:
        return "Unsatisfactory specimen: no interpretation."
    return "; ".join(f"{name}: {meaning(name)}" for name in record.signature.interpretation) + "."


def screening(record: Record) -> str:
    """What the program suggests for review; never a diagnosis."""
    result = record.result
    quality = result.image_quality
    picture = f" Image quality: {quality.verdict}." if quality else ""
    if result.positive is None:
        return f"Screening by the program: no result, no cell was there to judge.{picture}"
    if not result.positive:
        return f"Screening by the program: below the review threshold.{picture}"
    return f"Screening by the program: review advised. Class suggested: {result.label}.{picture}"


def conclusion(record: Record) -> str:
    """The whole in a few sentences: what was signed, or that it awaits a reader."""
    parts = [record.remark, category(record), interpretation(record)]
    if record.signature is not None and record.signature.remark:
        parts.append(record.signature.remark)
    parts.append(screening(record))
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)


def signed_by(record: Record) -> str | None:
    """Who signed, what it means and when; None if nobody did."""
    signature = record.signature
    if signature is None:
        return None
    return f"{signature.meaning.capitalize()} by {signature.reader} at {signature.signed_at}"


def _estimate(record: Record) -> str:
    found = record.result.adequacy
    if found is None:
        return "not estimated"
    if found.n_squamous is None or found.low is None or found.high is None:
        return found.verdict
    return (
        f"{found.verdict}, about {found.n_squamous:,.0f} squamous cells "
        f"(95 % interval {found.low:,.0f} to {found.high:,.0f})"
    )
