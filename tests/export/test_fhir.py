"""The FHIR bundle: its references lead somewhere, its codes are allowed, nothing is invented."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koilo.export.codes import load_codes
from koilo.export.fhir import build_bundle, fhir_json
from koilo.export.patients import Patient
from koilo.export.record import Record, read_record
from koilo.report.laboratory import Laboratory
from koilo.types import SlideResult
from tests.export.conftest import make_result, sign, without_cells, write_results

PDF = b"%PDF-1.7 a report"
LABORATORY = Laboratory(name="Lab", intended_use="laboratory")

STATUSES = {
    "DiagnosticReport": {"registered", "partial", "preliminary", "final", "amended", "corrected",
                         "appended", "cancelled", "entered-in-error", "unknown"},
    "Observation": {"registered", "preliminary", "final", "amended", "corrected", "cancelled",
                    "entered-in-error", "unknown"},
}  # fmt: skip
BUNDLES = {"document", "message", "transaction", "transaction-response", "batch", "batch-response",
           "history", "searchset", "collection"}  # fmt: skip
GENDERS = {"male", "female", "other", "unknown"}
NARRATIVES = {"generated", "extensions", "additional", "empty"}
ROLES = {"derivation", "revision", "quotation", "source", "removal"}
DEVICE_NAMES = {"udi-label-name", "user-friendly-name", "patient-reported-name",
                "manufacturer-name", "model-name", "other"}  # fmt: skip
REQUIRED = {
    "DiagnosticReport": {"status", "code"},
    "Observation": {"status", "code"},
    "Provenance": {"target", "recorded", "agent"},
}
REFERENCES = {
    "subject": "Patient", "specimen": "Specimen", "device": "Device", "result": "Observation",
}  # fmt: skip


def problems_of(bundle: dict[str, Any]) -> list[str]:
    """What R4B's required bindings, cardinalities and references say against a bundle."""
    found = []
    if bundle["type"] not in BUNDLES:
        found.append(f"Bundle.type {bundle['type']}")
    targets = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
    if len(targets) < len(bundle["entry"]):
        found.append("a fullUrl stands twice")
    for entry in bundle["entry"]:
        resource = entry["resource"]
        kind = resource["resourceType"]
        found += [f"{kind} lacks {name}" for name in REQUIRED.get(kind, set()) - set(resource)]
        checks = [
            (resource.get("status"), STATUSES.get(kind), "status"),
            (resource.get("gender"), GENDERS, "gender"),
            (resource.get("text", {}).get("status"), NARRATIVES, "text.status"),
            *((e["role"], ROLES, "entity.role") for e in resource.get("entity", [])),
            *((n["type"], DEVICE_NAMES, "deviceName") for n in resource.get("deviceName", [])),
        ]
        found += [
            f"{kind}.{name} {value}" for value, allowed, name in checks
            if value is not None and allowed is not None and value not in allowed
        ]  # fmt: skip
        if kind == "Observation":
            values = [name for name in resource if name.startswith("value")]
            holds = [*values, *({"component", "dataAbsentReason"} & set(resource))]
            if len(holds) != 1:
                found.append(f"an Observation with {holds}")
        for place, node in walk(resource):
            if node in ([], {}, "", None):
                found.append(f"{kind}.{place} is empty")
            if isinstance(node, dict) and "reference" in node:
                target = targets.get(node["reference"])
                wanted = REFERENCES.get(place.split(".")[-1].rstrip("[]0123456789"))
                if target is None or (wanted and target != wanted):
                    found.append(f"{kind}.{place} leads to {target}")
    return found


def walk(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    yield place, node
    items = node.items() if isinstance(node, dict) else ()
    if isinstance(node, list):
        items = ((f"[{n}]", value) for n, value in enumerate(node))
    for name, value in items:
        inner = f"{place}{name}" if isinstance(node, list) else f"{place}.{name}"
        yield from walk(value, inner)


def record_of(out: Path, result: SlideResult | None = None, **changes: Any) -> Record:
    result = result or make_result()
    if not (out / result.slide_id).exists():
        write_results(out, result)
    values: dict[str, Any] = {"patient": None, "laboratory": Laboratory(), "test_data": False}
    return read_record(out / result.slide_id, **(values | changes))


def bundle_of(record: Record, *, snomed: bool = True) -> dict[str, Any]:
    bundle = build_bundle(record, load_codes(None, snomed=snomed), PDF)
    again = json.loads(fhir_json(bundle))
    assert again == bundle
    return bundle


def parts(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def observation(bundle: dict[str, Any], loinc: str) -> dict[str, Any] | None:
    for found in parts(bundle, "Observation"):
        if loinc in [coding["code"] for coding in found["code"].get("coding", [])]:
            return found
    return None


CASES = {
    "unsigned": (),
    "signed": ("HSIL",),
    "signed as two": ("LSIL", "ASC-H"),
    "unsatisfactory": (),
    "no cells": (),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("snomed", [True, False])
def test_every_bundle_holds_by_our_rules_and_by_an_independent_model(
    tmp_path: Path, case: str, snomed: bool
) -> None:
    from fhir.resources.R4B.bundle import Bundle

    result = without_cells(make_result()) if case == "no cells" else make_result()
    write_results(tmp_path, result)
    if case == "unsatisfactory":
        sign(tmp_path / "S-001", adequacy="unsatisfactory")
    elif CASES[case]:
        sign(tmp_path / "S-001", *CASES[case])
    patient = Patient("7", "王", "小明", None, "female")
    record = record_of(tmp_path, result, patient=patient, laboratory=LABORATORY)
    bundle = bundle_of(record, snomed=snomed)
    assert problems_of(bundle) == []
    model = Bundle.model_validate_json(fhir_json(bundle))
    assert len(model.entry) == len(bundle["entry"])
    assert ("snomed" in fhir_json(bundle)) is snomed


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("DiagnosticReport", {"status": "banana"}, "DiagnosticReport.status banana"),
        ("Observation", {"status": "banana"}, "Observation.status banana"),
        ("Observation", {"component": []}, "Observation"),
        ("DiagnosticReport", {"specimen": [{"reference": "Banana/1"}]}, "leads to None"),
        ("Observation", {"valueString": "x", "valueInteger": 1}, "an Observation with"),
    ],
)
def test_our_rules_catch_what_the_model_lets_pass(
    tmp_path: Path, kind: str, change: dict[str, Any], said: str
) -> None:
    bundle = copy.deepcopy(bundle_of(record_of(tmp_path)))
    parts(bundle, kind)[0].update(change)
    assert said in "; ".join(problems_of(bundle))


def test_a_program_alone_fills_neither_category_nor_interpretation(tmp_path: Path) -> None:
    bundle = bundle_of(record_of(tmp_path, laboratory=LABORATORY))
    [report] = parts(bundle, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert "conclusionCode" not in report
    assert "Interpretation: awaiting reader" in report["conclusion"]
    assert observation(bundle, "19762-4") is None
    assert observation(bundle, "10524-7") is None
    assert report["meta"]["security"][0]["code"] == "AIAST"
    assert {o["status"] for o in parts(bundle, "Observation")} == {"preliminary"}


@pytest.mark.parametrize(
    ("use", "meaning", "status"),
    [
        ("research", "approved", "preliminary"),
        ("laboratory", "approved", "final"),
        ("laboratory", "amended", "amended"),
        ("laboratory", "corrected", "corrected"),
    ],
)
def test_a_signature_makes_it_final_but_never_for_research(
    tmp_path: Path, use: str, meaning: str, status: str
) -> None:
    write_results(tmp_path, make_result())
    sign(tmp_path / "S-001", "LSIL")
    if meaning != "approved":
        sign(tmp_path / "S-001", "HSIL", meaning=meaning)
    record = record_of(tmp_path, laboratory=Laboratory(intended_use=use))
    bundle = bundle_of(record)
    [report] = parts(bundle, "DiagnosticReport")
    assert report["status"] == status
    assert {o["status"] for o in parts(bundle, "Observation")} == {status}
    assert ("Research use only" in report["conclusion"]) is (use == "research")
    category = observation(bundle, "19762-4")
    assert category is not None
    assert category["valueCodeableConcept"]["text"] == "epithelial cell abnormality"
    wanted = {"LSIL": "62051000119105", "HSIL": "62061000119107"}
    [code] = report["conclusionCode"]
    assert code["coding"][0]["code"] == wanted[code["text"]]
    assert report["resultsInterpreter"] == [{"display": "Dr. 王小明"}]


def test_the_probabilities_are_components_and_missing_ones_are_said_to_be(tmp_path: Path) -> None:
    [found] = [
        o for o in parts(bundle_of(record_of(tmp_path / "a")), "Observation") if "component" in o
    ]
    given = {c["code"]["text"]: c["valueQuantity"]["value"] for c in found["component"]}
    assert given["Probability of HSIL+SCC"] == 0.58
    assert len(given) == 6
    assert found["component"][0]["referenceRange"] == [{"text": "review advised from 0.2173"}]
    empty = bundle_of(record_of(tmp_path / "b", without_cells(make_result())))
    [absent] = [o for o in parts(empty, "Observation") if "dataAbsentReason" in o]
    assert "component" not in absent
    assert "NILM" not in json.dumps(empty), "no cell is never negative"


def test_the_pdf_is_inside_whole(tmp_path: Path) -> None:
    [report] = parts(bundle_of(record_of(tmp_path)), "DiagnosticReport")
    [form] = report["presentedForm"]
    assert base64.b64decode(form["data"]) == PDF
    assert form["size"] == len(PDF)
    assert base64.b64decode(form["hash"]) == hashlib.sha1(PDF).digest()
    assert report["code"]["coding"][0]["code"] == "47527-7", "a thin preparation's"


def test_no_patient_is_named_unless_one_was_given(tmp_path: Path) -> None:
    bundle = bundle_of(record_of(tmp_path))
    assert parts(bundle, "Patient") == []
    assert "subject" not in json.dumps(bundle)
    assert "/nowhere" not in json.dumps(bundle), "a path may hold a name"
    given = bundle_of(record_of(tmp_path, patient=Patient("‏שלום|1", "", "", None, "")))
    [patient] = parts(given, "Patient")
    assert set(patient) == {"resourceType", "identifier"}


def test_test_data_says_so_in_every_resource(tmp_path: Path) -> None:
    bundle = bundle_of(record_of(tmp_path, test_data=True))
    for entry in bundle["entry"]:
        codes = [label["code"] for label in entry["resource"]["meta"]["security"]]
        assert "HTEST" in codes
    assert problems_of(bundle) == []
