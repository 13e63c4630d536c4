"""oru.hl7: a slide's result as an HL7 v2.5.1 ORU^R01 message with the PDF in it, UTF-8."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, datetime

from koilo.export import statements
from koilo.export.codes import DISPLAYS, Codes
from koilo.export.patients import Patient
from koilo.export.record import Record

_STATES = {"preliminary": "P", "final": "F", "amended": "C", "corrected": "C"}
_SEXES = {"female": "F", "male": "M", "other": "O", "unknown": "U", "": ""}
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\n": "\\.br\\"}


def build_message(record: Record, codes: Codes, pdf: bytes) -> str:
    """The message, its segments parted by carriage returns.

    Without a given patient there is no PID segment, which the structure allows. OBR-25 and every
    OBX-11 are P until a reader signed, then F, and C after an amendment.
    """
    report = _coded(codes.report(record.case.get("preparation")), DISPLAYS["report"], "LN")
    state = _STATES[record.status]
    segments = [_header(record)]
    if record.patient is not None:
        segments.append(_person(record.patient))
    order = {2: escaped(record.case.get("accession", "")), 3: escaped(record.result.slide_id)}
    segments.append(_segment("ORC", {1: "RE", **order}))
    segments.append(_request(record, report, order, state))
    for number, fields in enumerate(_observations(record, codes, pdf), start=1):
        segments.append(_segment("OBX", {1: str(number), **fields, 11: state, 18: "koilo"}))
    return "\r".join(segments) + "\r"


def escaped(text: str) -> str:
    r"""A text as the inside of a field; other control characters become hexadecimal escapes.

    >>> escaped("A|B^C\n\x07")
    'A\\F\\B\\S\\C\\.br\\\\X07\\'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        _ESCAPES.get(c) or (f"\\X{ord(c):02X}\\" if ord(c) < 32 or ord(c) == 127 else c)
        for c in text
    )


def _segment(name: str, fields: dict[int, str]) -> str:
    """A segment from its fields by number; those between are empty."""
    return "|".join([name, *(fields.get(at, "") for at in range(1, max(fields) + 1))])


def _coded(code: str, text: str, system: str) -> str:
    return f"{escaped(code)}^{escaped(text)}^{system}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _day(day: date | None) -> str:
    return "" if day is None else day.strftime("%Y%m%d")


def _header(record: Record) -> str:
    moment = datetime.now().astimezone()
    # MSH-1 is the separator itself: the numbers of the other fields are one less here.
    fields = {
        1: "^~\\&",
        2: "KOILO",
        3: escaped(record.laboratory.name),
        6: _time(moment),
        8: "ORU^R01^ORU_R01",
        9: record.uuid(f"message {moment.isoformat()}").replace("-", "")[:20],
        10: "T" if record.test_data else "P",
        11: "2.5.1",
        17: "UNICODE UTF-8",
    }
    return _segment("MSH", fields)


def _person(patient: Patient) -> str:
    fields = {
        1: "1",
        3: escaped(patient.patient_id),
        5: f"{escaped(patient.family)}^{escaped(patient.given)}",
        7: _day(patient.birth_date),
        8: _SEXES[patient.sex],
    }
    return _segment("PID", fields)


def _request(record: Record, report: str, order: dict[int, str], state: str) -> str:
    fields = {
        1: "1",
        **order,
        4: report,
        7: _day(record.collected_on),
        22: _time(record.issued_at),
        24: "CP",
        25: state,
    }
    if record.signature is not None:
        fields[32] = f"&{escaped(record.signature.reader)}"
    return _segment("OBR", fields)


def _observations(record: Record, codes: Codes, pdf: bytes) -> Iterator[dict[int, str]]:
    """Fields 2, 3 and 5 (and 6, 16) of each OBX; one a section of the report."""
    texts = {
        "comment": statements.conclusion(record),
        "adequacy": statements.adequacy(record),
        "category": statements.category(record),
        "interpretation": statements.interpretation(record),
        "follow_up": statements.follow_up(record),
    }
    for name, text in texts.items():
        if text:
            code = _coded(codes.loinc(name), DISPLAYS[name], "LN")
            yield {2: "TX", 3: code, 5: escaped(text)}
    yield from _signed_codes(record, codes)
    values = {"any class but NILM": record.result.p_positive, **record.result.probabilities}
    for name, value in values.items():
        if value is not None:
            code = _coded(f"P_{name}".replace(" ", "_"), f"Probability of {name}", "99KOILO")
            yield {2: "NM", 3: code, 5: f"{value:.6f}", 6: "1^no unit^UCUM"}
    data = base64.b64encode(pdf).decode("ascii")
    yield {2: "ED", 3: "PDF^Report^L", 5: f"KOILO^AP^PDF^Base64^{data}"}


def _signed_codes(record: Record, codes: Codes) -> Iterator[dict[int, str]]:
    """Each signed class as a code, where SNOMED CT's are wanted."""
    names = record.signature.interpretation if record.signature else ()
    for number, name in enumerate(names, start=1):
        code = codes.snomed_of("interpretation", name)
        if code:
            place = _coded(codes.loinc("interpretation"), DISPLAYS["interpretation"], "LN")
            yield {2: "CE", 3: place, 4: str(number), 5: _coded(code, name, "SCT")}
