"""fhir.json: a slide's result as a FHIR R4B bundle (of elements that R4 has, too)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from koilo.export import statements
from koilo.export.codes import DISPLAYS, SYSTEMS, Codes
from koilo.export.record import Record

Resource = dict[str, Any]

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_AI_ASSERTED = {"system": f"{_TERMINOLOGY}/v3-ObservationValue", "code": "AIAST"}
_TEST_DATA = {"system": f"{_TERMINOLOGY}/v3-ActReason", "code": "HTEST"}
_GENDERS = {"female", "male", "other", "unknown"}


def build_bundle(record: Record, codes: Codes, pdf: bytes) -> Resource:
    """The report with all that it refers to, each under the same UUID however often it is made.

    Args:
        record: the slide's result.
        codes: identifiers to name findings by.
        pdf: the report as a PDF, which is embedded.
    """
    resources: dict[str, Resource] = {
        "device": _device(record),
        "specimen": _specimen(record, codes),
        "adequacy": _adequacy(record, codes),
        "screening": _probabilities(record),
    }
    if record.patient is not None:
        resources = {"patient": _patient(record), **resources}
    if record.signature is not None:
        if statements.category(record):
            resources["category"] = _category(record, codes)
        resources["interpretation"] = _interpretation(record, codes)
        if statements.follow_up(record):
            resources["follow_up"] = _follow_up(record, codes)
    results = [name for name in resources if resources[name]["resourceType"] == "Observation"]
    resources["report"] = _report(record, codes, results, pdf)
    resources["provenance"] = _provenance(record, [*results, "report"])
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{record.uuid('bundle')}"},
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "entry": [
            {"fullUrl": _url(record, name), "resource": _labelled(record, resource)}
            for name, resource in resources.items()
        ],
    }


def fhir_json(bundle: Mapping[str, Any]) -> str:
    """The bundle as text; infinity and NaN are no JSON."""
    return json.dumps(bundle, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _url(record: Record, name: str) -> str:
    return f"urn:uuid:{record.uuid(name)}"


def _reference(record: Record, name: str) -> dict[str, str]:
    return {"reference": _url(record, name)}


def _subject(record: Record) -> dict[str, Any]:
    return {} if record.patient is None else {"subject": _reference(record, "patient")}


def _labelled(record: Record, resource: Resource) -> Resource:
    """Say in every resource that it is test data, where it is."""
    if record.test_data:
        security = resource.get("meta", {}).get("security", [])
        resource = {**resource, "meta": {"security": [*security, _TEST_DATA]}}
    return resource


def _coded(text: str, system: str, code: str | None) -> dict[str, Any]:
    """A concept in our own words, with its code where there is one.

    ``display`` would have to be the code system's own words, which are not shipped.
    """
    if code is None:
        return {"text": text}
    return {"coding": [{"system": SYSTEMS[system], "code": code}], "text": text}


def _loinc(codes: Codes, name: str) -> dict[str, Any]:
    return _coded(DISPLAYS[name], "loinc", codes.loinc(name))


def _patient(record: Record) -> Resource:
    patient = record.patient
    assert patient is not None  # asked for only where one was given
    name = {"family": patient.family, "given": [patient.given] if patient.given else []}
    name = {key: value for key, value in name.items() if value}
    found: Resource = {"resourceType": "Patient", "identifier": [{"value": patient.patient_id}]}
    if name:
        found["name"] = [name]
    if patient.sex in _GENDERS:
        found["gender"] = patient.sex
    if patient.birth_date:
        found["birthDate"] = patient.birth_date.isoformat()
    return found


def _device(record: Record) -> Resource:
    versions = [{"type": {"text": "koilo"}, "value": record.software}]
    if record.bundle_sha256:
        value = f"{record.bundle} sha256 {record.bundle_sha256}"
        versions.append({"type": {"text": "model bundle"}, "value": value})
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "koilo", "type": "model-name"}],
        "manufacturer": "koilo",
        "type": {"text": "Software that screens cervical cytology slides"},
        "version": versions,
    }


def _specimen(record: Record, codes: Codes) -> Resource:
    case = record.case
    preparation = case.get("preparation")
    found: Resource = {
        "resourceType": "Specimen",
        "identifier": [{"value": record.result.slide_id}],
        "type": _coded(
            "Cervical or vaginal cytology specimen", "snomed", codes.snomed_of("specimen")
        ),
        **_subject(record),
    }
    if case.get("accession"):
        found["accessionIdentifier"] = {"value": case["accession"]}
    collection: dict[str, Any] = {}
    if record.collected_on:
        collection["collectedDateTime"] = record.collected_on.isoformat()
    if case.get("site"):
        collection["bodySite"] = {"text": case["site"]}
    if collection:
        found["collection"] = collection
    if preparation:
        code = codes.snomed_of("procedure", preparation)
        found["processing"] = [{"procedure": _coded(f"Preparation: {preparation}", "snomed", code)}]
    return found


def _observation(record: Record, code: dict[str, Any], *, by_program: bool) -> Resource:
    found: Resource = {
        "resourceType": "Observation",
        "status": record.status,
        "category": [_category_code("observation-category", "laboratory")],
        "code": code,
        **_subject(record),
        "specimen": _reference(record, "specimen"),
        "issued": record.issued_at.isoformat(),
    }
    if by_program:
        found["device"] = _reference(record, "device")
        found["meta"] = {"security": [_AI_ASSERTED]}
    elif record.signature is not None:
        found["performer"] = [{"display": record.signature.reader}]
    return found


def _category_code(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{_TERMINOLOGY}/{system}", "code": code}]}


def _adequacy(record: Record, codes: Codes) -> Resource:
    verdict = record.signature.adequacy if record.signature else None
    found = _observation(record, _loinc(codes, "adequacy"), by_program=verdict is None)
    text = statements.adequacy(record)
    if verdict is None:
        return {**found, "valueString": text}
    words = statements.adequacy_verdict(record, verdict)
    concept = _coded(words, "snomed", codes.snomed_of("adequacy", verdict))
    return {**found, "valueCodeableConcept": concept, "note": [{"text": text}]}


def _category(record: Record, codes: Codes) -> Resource:
    found = _observation(record, _loinc(codes, "category"), by_program=False)
    return {**found, "valueCodeableConcept": {"text": statements.category(record)}}


def _interpretation(record: Record, codes: Codes) -> Resource:
    found = _observation(record, _loinc(codes, "interpretation"), by_program=False)
    return {**found, "valueString": statements.interpretation(record)}


def _follow_up(record: Record, codes: Codes) -> Resource:
    found = _observation(record, _loinc(codes, "follow_up"), by_program=False)
    return {**found, "valueString": statements.follow_up(record)}


def _probabilities(record: Record) -> Resource:
    """The program's probabilities, one component a class; none where there was no cell to judge."""
    result = record.result
    code = {"text": "Class probabilities by koilo"}
    found = _observation(record, code, by_program=True)
    found["note"] = [{"text": f"{record.remark} {statements.screening(record)}".strip()}]
    if result.p_positive is None:
        reason = {"system": f"{_TERMINOLOGY}/data-absent-reason", "code": "not-performed"}
        return {**found, "dataAbsentReason": {"coding": [reason], "text": "no cell to judge"}}
    values = {"any class but NILM": result.p_positive, **result.probabilities}
    components = [_component(name, value) for name, value in values.items()]
    if result.threshold is not None:
        text = f"review advised from {result.threshold:.4g}"
        components[0]["referenceRange"] = [{"text": text}]
    return {**found, "component": components}


def _component(name: str, value: float) -> dict[str, Any]:
    quantity = {"value": round(value, 6), "unit": "1", "system": SYSTEMS["ucum"], "code": "1"}
    return {"code": {"text": f"Probability of {name}"}, "valueQuantity": quantity}


def _report(record: Record, codes: Codes, results: Sequence[str], pdf: bytes) -> Resource:
    signature = record.signature
    code = codes.report(record.case.get("preparation"))
    text = statements.conclusion(record)
    found: Resource = {
        "resourceType": "DiagnosticReport",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div>',
        },
        "identifier": [{"value": record.case.get("accession") or record.result.slide_id}],
        "status": record.status,
        "category": [_category_code("v2-0074", "CP"), _category_code("v2-0074", "LAB")],
        "code": _coded(statements.TITLE, "loinc", code),
        **_subject(record),
        "issued": record.issued_at.isoformat(),
        "specimen": [_reference(record, "specimen")],
        "result": [_reference(record, name) for name in results],
        "conclusion": text,
        "presentedForm": [_attachment(record, pdf)],
    }
    if record.collected_on:
        found["effectiveDateTime"] = record.collected_on.isoformat()
    if record.laboratory.name:
        found["performer"] = [{"display": record.laboratory.name}]
    if signature is None:
        return {**found, "meta": {"security": [_AI_ASSERTED]}}
    found["resultsInterpreter"] = [{"display": signature.reader}]
    if signature.interpretation:
        found["conclusionCode"] = [
            _coded(name, "snomed", codes.snomed_of("interpretation", name))
            for name in signature.interpretation
        ]
    return found


def _attachment(record: Record, pdf: bytes) -> dict[str, Any]:
    return {
        "contentType": "application/pdf",
        "language": record.language,
        "data": base64.b64encode(pdf).decode("ascii"),
        "size": len(pdf),
        "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode("ascii"),
        "title": f"{statements.TITLE}: {record.result.slide_id}",
        "creation": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _provenance(record: Record, targets: Sequence[str]) -> Resource:
    slide = {"value": record.result.slide_id}
    if known := record.result.provenance.get("slide_identity"):
        slide = {"system": "urn:koilo:slide-identity:sha256", "value": str(known)}
    agents: list[dict[str, Any]] = [
        {
            "type": _category_code("provenance-participant-type", "assembler"),
            "who": {**_reference(record, "device"), "display": f"koilo, bundle {record.bundle}"},
        }
    ]
    if record.signature is not None:
        agents.append(
            {
                "type": _category_code("provenance-participant-type", "verifier"),
                "who": {"display": record.signature.reader},
            }
        )
    display = f"Whole-slide image {record.result.slide_id}"
    return {
        "resourceType": "Provenance",
        "target": [_reference(record, name) for name in targets],
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "agent": agents,
        "entity": [{"role": "source", "what": {"identifier": slide, "display": display}}],
    }
